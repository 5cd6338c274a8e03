/*
 * A generation: all processes that were started for one configuration from one binary, with what they share. A reload makes a
 * second one beside the first; there are never more than two.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/defs.h"
#include "base/wheel.h"
#include "conf/conf.h"
#include "supervisor/creds.h"
#include "supervisor/keys.h"
#include "supervisor/refresh.h"
#include "wire/control.h"

struct super;
struct generation;

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
    uint64_t counted; /* sessions moved by the present EXPORT, as last reported */
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
    uint32_t taken;        /* the last set they have taken */
    struct keys_owed owed; /* answers to sets it was sent */
};

#define VERSION_MAX            64
#define GENERATION_WORKERS_MAX (3 * WORKERS_MAX + ROLE_COUNT)

struct generation {
    bool used;
    uint32_t number;
    char version[VERSION_MAX]; /* of its binary */
    int exe_fd;                /* its binary: all its processes are of the same file, whatever happens on disk */
    struct conf *conf;
    int snapshot_fd, secrets_fd, scoreboard_fd;
    int log_fd;             /* the log file; -1 = the log goes elsewhere */
    struct creds_set creds; /* in use, as the next one */
    struct access_set access;
    uint64_t read_s; /* when its files began to be read, seconds since 1970 */
    struct worker *workers;
    size_t nworkers;
};

/*
 * The file the next one is started from. Our own for the first one, which is there even when it has been replaced on disk
 * since; the file on disk for all others.
 */
const char *generation_binary(const struct super *s);

/* The next one, with its binary opened; NULL (errno) when that fails. */
struct generation *generation_new(struct super *s);

/* Takes the answer of the config role: descriptors of M are owned from here; warnings borrow it. 0, or the error. */
MUST_CHECK int generation_configure(struct super *s, struct generation *g, const struct ipc_msg *m, struct span *ret_warnings);

/* Starts and wires all its processes and sends them GO. False: errno. */
MUST_CHECK bool generation_start(struct super *s, struct generation *g);

/* It must have no process left. */
void generation_free(struct super *s, struct generation *g);

/* Every process of ROLE that runs is in this state or further. */
bool generation_all(const struct generation *g, enum role role, enum child_state at_least);

/* No process of ROLE (ROLE_COUNT: at all) runs. */
bool generation_gone(const struct generation *g, enum role role);

/* All places of ROLE (ROLE_COUNT: of all roles) have a process that is ready. */
bool generation_ready(const struct generation *g, enum role role);
struct worker *generation_worker(struct generation *g, enum role role, uint16_t index);
