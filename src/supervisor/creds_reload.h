/*
 * Credentials while the proxy runs: the files that the configuration names are watched; what has changed is read by the config
 * role, its keys are taken by the signers, and then handshakers use it, all of it or nothing. No process is restarted for it
 * and no session notices. A set that cannot be used is logged, the one in use stays, and the files are read again after a
 * growing pause: what was missing may exist by then.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/wheel.h"
#include "supervisor/sets.h"

struct super;
struct worker;

enum creds_stage {
    CREDS_IDLE,
    CREDS_READING, /* the config role reads the files */
    CREDS_TAKING,  /* the signers read the keys */
};

struct creds_reload {
    enum creds_stage stage;
    struct creds_set next; /* being taken */
    uint64_t signature;    /* of the files as they were last checked */
    uint64_t asked_s;      /* when they were, seconds since 1970 */
    uint64_t look_cost_ms; /* duration of the last check of the files */
    uint64_t looked_ms;
    uint64_t first_ms;      /* of the events that wait for quiet; 0 = none */
    int64_t logged_s;       /* when expiry was last checked */
    int64_t logged_day;     /* and logged */
    uint32_t last;          /* number of a set: each try has its own, so no old answer is mistaken for a new one */
    uint32_t retry_ms;      /* the last pause before a refused set was tried again; 0 = none was refused */
    int inotify;            /* -1 = none */
    struct wtimer quiet;    /* events have stopped */
    struct wtimer poll;     /* checks even without events */
    struct wtimer deadline; /* of the stage */
    struct wtimer retry;    /* what was refused is tried again */
};

/* Before anything else. */
void creds_reload_init(struct creds_reload *c);

/* A generation serves: its files are watched from now on. */
void creds_reload_serve(struct super *s);

/* A transition or the stop begins: an unfinished reload of credentials is dropped. */
void creds_reload_cancel(struct super *s);

/* Registers the handlers of the timers above. */
void creds_reload_timers(struct super *s);

/* The loop's handler of SUPER_CREDS. */
void creds_reload_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);

/* A signer has taken the keys of SET, or cannot. */
void creds_reload_taken(struct super *s, struct worker *w, uint32_t set);
void creds_reload_refused(struct super *s, struct worker *w, uint32_t set, struct span text);
