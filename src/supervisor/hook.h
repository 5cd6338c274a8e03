/*
 * Programs of the operator that put DNS records into place and remove them, for the acme role. One at a time, with a deadline;
 * each has a user, a session and an environment of its own, no descriptor of ours but a pipe for what it writes, and no shell
 * between.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/ipc.h"
#include "base/wheel.h"
#include "supervisor/hook_output.h"

struct super;
struct worker;

struct hook {
    pid_t pid;            /* 0 = none runs */
    struct worker *asker; /* an acme role; it gets the answer */
    bool late;
    struct wtimer timer;
    struct hook_output output;
    char what[512]; /* "/etc/hook present _acme-challenge.example.org" */
};

/* A request of W's. False: it is none that W's configuration allows. */
bool hook_ask(struct super *s, struct worker *w, const struct ipc_msg *m);

/* Takes the end of a child when it is that of the program. */
void hook_ended(struct super *s, pid_t pid, int status);
void hook_timer(void *ctx, struct wtimer *t);

/* Of the loop: it has written something. */
void hook_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);

/* Ends it, before the supervisor's code is replaced: the successor knows nothing of it. */
void hook_interrupt(struct super *s);

/* The asker has ended: so does what it has asked for. */
void hook_drop(struct super *s, const struct worker *w);
