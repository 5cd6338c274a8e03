/*
 * The relay role: owns established sessions, relays their bytes between client and backend, and passes on each end and each
 * reset as it came. The state of the process; nothing here but the role is used outside this directory.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/channel.h"
#include "base/list.h"
#include "base/log_pause.h"
#include "base/loop.h"
#include "base/pool.h"
#include "base/slab.h"
#include "conf/conf.h"
#include "process/role.h"
#include "relay/arrivals.h"
#include "relay/backends.h"
#include "relay/hold.h"
#include "shm/buckets.h"
#include "shm/scoreboard.h"
#include "tls/engine.h"

/* Kinds of timers; 0 is what there is most of. */
enum relay_timer {
    RELAY_TIMER_SESSION,
    RELAY_TIMER_BACKLOG,
    RELAY_TIMER_DRAIN,
    RELAY_TIMER_PAUSE,
    RELAY_TIMER_STATS,
    RELAY_TIMER_RATE,
    RELAY_TIMER_EXPORT,
    RELAY_TIMER_IMPORT,
};

enum relay_kind {
    RELAY_LINK = ROLE_CONTROL + 1,
    RELAY_CLIENT,
    RELAY_BACKEND,
    RELAY_RESOLVER,
    RELAY_OBSERVER,
    RELAY_EXPORT,
    RELAY_IMPORT,
    RELAY_LIVENESS
};

/* See services.h. */
struct relay_service {
    const struct conf_service *conf; /* NULL = this place is free */
    struct backends backends;
    struct list *waiters; /* sessions for which no backend has room, in order of arrival */
    uint64_t full;        /* backends that had none when WAITERS were last looked at */
    struct inherited *inherited;
};

struct exporting; /* migrate_out.c */
struct importing; /* migrate_in.c */

struct relay {
    struct child child;
    struct loop loop;
    struct conf *conf;
    struct relay_service *services; /* conf->nservices of the configuration, then inherited ones */
    size_t nservices;
    struct scoreboard_row row;
    struct slab sessions;
    struct pool pool;
    struct engine_contexts contexts;
    struct list ready, dead;
    struct arrivals arrivals;
    struct channel resolver;
    struct channel observer;  /* asks for our sessions */
    uint32_t backlog_waiters; /* sessions in the queues of all services */
    uint64_t retry_ms;        /* they are not looked at before */
    uint16_t short_errno;     /* what we lack for any connect; 0 = nothing, as far as known */
    uint32_t room;            /* sessions at the most */
    uint16_t *ports;          /* of backends: the sandbox lets us connect there */
    bool draining;
    enum drain_how drain_how;
    uint64_t drain_until_ms;
    uint64_t cut; /* sessions ended by force in a drain */
    struct log_pause short_log;
    struct wtimer backlog_timer, drain_timer, stats_timer;
    bool published; /* this turn: the metrics of the process */
    struct buckets rate_buckets;
    struct slab rate_limiters;
    struct rate_limiter **rate_chains;
    struct list rate_refilled;   /* limiters with something left for queued sessions */
    struct holders holders;      /* of memory for waiting bytes */
    uint8_t *in, *out;           /* SCRATCH_LEN each, shared by all sessions */
    struct exporting *exporting; /* NULL = none */
    bool session_came;           /* since an export last looked for one to give away */
    struct list importing;
};

/* Everything that can fail before a relay may report ready. CONF, ROW, the loop and the number of workers are set.
 * False: errno, as far as it is known. */
MUST_CHECK bool relay_make(struct relay *r);

extern const struct role_table relay_role;
