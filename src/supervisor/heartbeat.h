/*
 * Whether the roles respond: the supervisor pings each at intervals, and it answers from its event loop. One that does not is
 * reported in the log and the process table. It is killed and restarted after a longer time when no session is lost by that. A
 * relay's sessions would be, and it may only be stopped in a debugger: it is killed only when a service manager's watchdog
 * would otherwise end the whole proxy. Time in which a role waited for a CPU is not held against it.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "base/wheel.h"
#include "shm/roles.h"

struct super;
struct worker;

struct heartbeat {
    struct wtimer timer;
    uint64_t ask_ms; /* when the next pings are due */
};

/* All from the last answer on. */
struct heartbeat_patience {
    uint64_t ping_ms; /* between pings; the same for all roles */
    uint64_t hung_ms; /* then it is reported, and no watchdog is fed */
    uint64_t kill_ms;
};

/* WATCHDOG_MS: the service manager's, or 0. */
struct heartbeat_patience heartbeat_patience(enum role role, uint64_t watchdog_ms);

/* The proxy serves: pings from now on. */
void heartbeat_begin(struct super *s);
void heartbeat_timer(void *ctx, struct wtimer *t);

/* Microseconds a process has waited for a CPU, of its /proc/PID/schedstat (NULL: there is none); 0 = not known. */
uint64_t heartbeat_read_waited(FILE *schedstat);

/* W has answered. */
void heartbeat_answer(struct super *s, struct worker *w);
