/*
 * What the resources of the admin sockets look at. Each resource is a file of its own, and a row in resources.c. None changes
 * anything but by a command sent to the supervisor.
 */
#pragma once

#include "base/loop.h"
#include "conf/conf.h"
#include "observer/http.h"
#include "observer/instances.h"
#include "observer/keylog_notice.h"
#include "observer/managed_view.h"
#include "observer/observer.h"
#include "observer/sessions.h"
#include "observer/shared_store.h"
#include "observer/spans.h"
#include "observer/stats_view.h"
#include "process/child.h"

#define ADMIN_ASKED 16

/* What this process has done for the log, since it began. */
struct log_counts {
    uint64_t events, sampled, dropped, broken, lost;
    uint64_t waits_since_ms;  /* it takes nothing since then; 0 = it does */
    uint64_t lost_unreported; /* of LOST: since they were last logged */
    int lost_error;           /* errno of these */
};

/* A command sent to the supervisor, which may not be in the process table yet. */
struct asked {
    uint64_t id, at_ms;
    enum command_kind kind;
};

/* Everything a resource may look at. */
struct admin {
    struct http *http;
    const struct conf *conf;
    struct child *child;
    struct loop *loop;
    const struct format_names *names;
    const struct log_counts *log;
    struct stats_view stats_view;
    struct keylog_notice keylog;
    struct live *live; /* the dashboard's streams */
    struct tracing *tracing;
    struct sessions sessions;
    struct managed_view managed;
    struct shared_store store;
    struct spans spans;
    struct instances instances;
    struct asked asked[ADMIN_ASKED]; /* a ring */
    unsigned nasked;
};
