/*
 * What goes to the exporter: events of sessions, as many as its link takes, and how the collector stands, as it reports.
 * Nothing here waits: while the exporter is away or slow, one message's worth of events is kept, and the rest is dropped and
 * counted.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/channel.h"
#include "base/defs.h"
#include "base/log_pause.h"
#include "conf/conf.h"
#include "observer/server_view.h"
#include "observer/stats_view.h"
#include "process/child.h"
#include "wire/exporting.h"

struct exposition;

struct spans {
    const struct conf *conf;
    struct child *child; /* its counters and its log */
    struct channel exporter;
    struct exporting_batch batch;
    uint64_t unreported; /* dropped since that was logged */
    struct log_pause drops;
    struct server_view collector;
};

void spans_start(struct spans *s, const struct conf *conf, struct child *child, struct loop *loop, unsigned kind);

/* Sends what is there, if there is room. */
void spans_fini(struct spans *s);

/* Takes over the link to the exporter, in place of an earlier one. As channel_open(). */
MUST_CHECK int spans_take_link(struct spans *s, int fd);

/* Whether E becomes a span: it is of a session, and among those that the configuration samples. */
bool spans_want(const struct spans *s, const struct event *e);

void spans_put(struct spans *s, const struct event *e, uint64_t now_ms);

/* After a sweep: what has gathered leaves. */
void spans_flush(struct spans *s, uint64_t now_ms);

/* The status' "traces"; null where nothing is exported. A line in LIST while the collector takes none. */
void spans_status(const struct spans *s, struct stats_view *v, json_t *top);
void spans_degraded(const struct spans *s, json_t *list);
void spans_metrics(const struct spans *s, struct stats_view *v, struct exposition *x);
