/*
 * What a child process has of the supervisor's, and does first: its identity, what it shares with others, its CPU, and later
 * its sandbox. How its life goes on: process/role.h.
 */
#pragma once

#include <sched.h>

#include "base/defs.h"
#include "base/ipc.h"
#include "base/slab.h"
#include "process/sandbox.h"
#include "shm/scoreboard.h"
#include "shm/stats.h"
#include "shm/tracers.h"
#include "wire/control.h"
#include "wire/event.h"

#define CHILD_SCRATCH_LEN (IPC_BODY_MAX + 2)

struct child {
    int control;  /* to the supervisor */
    int spare_fd; /* for a message that brings one when no more may be opened; -1 = in use */
    bool serving; /* GO has come */
    bool ready;   /* and READY was sent */
    bool stop;    /* STOP has come, or the supervisor is gone */
    bool failed;  /* the exit status says so */
    bool unlocked_logged;
    struct control_setup setup;
    cpu_set_t cpus;  /* that we may run on */
    int snapshot_fd; /* the configuration: snapshot_read() it, then close it */
    struct scoreboard scoreboard;
    struct stats_page stats; /* our own counters */
    int stats_fd; /* all areas: for the observer to read, for a relay's byte rates; they close it. -1 in other roles */
    struct tracers *tracers; /* to write for observers, to read for handshakers and relays; NULL = nobody is traced here */
    struct log log;
    uint8_t scratch[CHILD_SCRATCH_LEN]; /* for control messages */
};

/*
 * Waits for SETUP on CONTROL and applies it. ERR_FORMAT, ERR_CLOSED, ERR_SYSTEM (errno). C is large: static storage.
 */
MUST_CHECK int child_begin(struct child *c, int control);

/*
 * The next message of the supervisor, as by ipc_recv(). Behind one that cannot be taken for want of descriptors there may be
 * one that frees some, or asks whether we live: it is taken with a descriptor that is kept for it, and when that is not enough
 * it is lost, which is ERR_OUT_OF_FDS with its type in RET.
 */
enum step child_recv(struct child *c, struct ipc_msg *ret, int *ret_err);

/* Until there is one, or its end: for the time before the event loop. */
void child_wait(const struct child *c);

/* CONTROL_CPU: binds to that CPU. ERR_FORMAT. */
MUST_CHECK int child_take_cpu(const struct child *c, const struct ipc_msg *m);

/* A line, once, when secrets in S could not be locked in memory. */
void child_warn_unlocked(struct child *c, const struct slab *s);

/*
 * Gives up every right the role does not need, for good (sandbox.h): to be called when all is open that has to be. On failure
 * the supervisor has been notified. ERR_NOT_FOUND, ERR_SYSTEM.
 */
MUST_CHECK int child_enter_sandbox(struct child *c, const struct sandbox *sandbox);

/* Reports to the supervisor why this child cannot serve; the caller then exits. */
void child_refuse(struct child *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
