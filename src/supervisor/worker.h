/* One child process, or its place: watched, stopped, killed. workers.h starts them and notices their ends. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/defs.h"
#include "base/wheel.h"
#include "shm/roles.h"
#include "supervisor/keys.h"

struct super;
struct generation;

#define WORKER_BACKOFF_MIN_MS 100 /* before a restart */

enum child_state {
    CHILD_NONE,     /* not running; may wait for its restart */
    CHILD_STARTING, /* GO was sent, not ready yet */
    CHILD_READY,
    CHILD_SERVING, /* handshakers: accepts */
    CHILD_DRAINED, /* finished with its work */
};

/* How far the migration of an old relay's sessions is. */
struct migration {
    bool started;     /* an EXPORT is under way */
    uint32_t tries;   /* links that broke */
    uint64_t counted; /* sessions migrated by the present EXPORT, as last reported */
    uint32_t shares;  /* given to new relays so far, when their number differs */
    uint32_t share;   /* sessions, each */
    bool all;         /* the EXPORT is of all that remain */
};

/* One child process, or its slot. */
struct worker {
    struct generation *gen;
    enum role role;
    uint16_t index;
    enum child_state state;
    pid_t pid;
    int control; /* -1 = none */
    int ring;    /* memfd of its ring; survives restarts */
    int words;   /* what it writes to standard error; -1 = nothing is kept */
    int32_t cpu;
    uint32_t tag; /* of this process in the event loop */
    uint32_t restarts;
    uint32_t backoff_ms; /* before the next restart */
    uint64_t started_ms;
    uint64_t started_wall_ms;
    uint64_t last_end_ms; /* wall clock; 0 = never */
    int start_err;        /* why it was killed at its start, enum err; 0 = it was not */
    int start_errno;      /* with ERR_SYSTEM */
    int last_status;      /* as from waitpid() */
    uint64_t silent_ms;   /* for which it has not answered though it could have run */
    uint64_t waited_us;   /* for a CPU in its life, at the last check; only while it is silent */
    bool asked;           /* the last ping has no answer yet */
    bool hung;
    bool stopping; /* STOP was sent: its end is no fault */
    struct migration migration;
    uint64_t cut;          /* sessions, as it has reported */
    struct wtimer timer;   /* restart, or the deadline of a stop */
    struct keys_pump keys; /* signers: what they are still to be sent */
    uint32_t first_set;    /* the one they were given first */
    uint32_t lost_set;     /* the one whose keys they could not take when they were started; 0 = none */
    uint32_t taken;        /* the last set they have taken */
    struct keys_owed owed; /* answers to sets it was sent */
};

static inline bool worker_runs(const struct worker *w) {
    return w->state != CHILD_NONE;
}

/* Who goes on until all others have ended, and reports their ends. */
static inline bool worker_is_last(const struct worker *w) {
    return w->role == ROLE_OBSERVER || w->role == ROLE_EXPORTER;
}

/* Over all workers of both generations, from NULL to NULL. */
struct worker *worker_next(struct super *s, struct worker *w);

/* The one whose event has KEY and GEN; NULL when that process is gone. */
struct worker *worker_of_event(struct super *s, uint32_t key, uint32_t gen);

/* Watches its control socket; also after a re-exec. ERR_SYSTEM (errno). */
MUST_CHECK int worker_attach(struct super *s, struct worker *w);

/* Watches for room in its queue too while keys are to be sent. ERR_SYSTEM (errno). */
MUST_CHECK int worker_watch(struct super *s, struct worker *w);

/* Sends STOP, and kills it when it is still there after a time; one that does not run is not restarted. */
void worker_stop(struct super *s, struct worker *w);

/* Kills it at once. */
void worker_kill(struct worker *w);

/* CUT sessions of this worker in total have been cut in a stop: a later number replaces an earlier one. */
void worker_count_cut(struct super *s, struct worker *w, uint64_t cut);
