/*
 * /metrics: every row of the tables in shm/stats_table.h, then what the supervisor and the observer itself know. The number of
 * time series is bounded by those tables: names chosen by clients never become labels.
 */
#include "observer/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "observer/access_lists.h"
#include "observer/admin.h"
#include "observer/certificates.h"
#include "observer/exposition.h"
#include "observer/status.h"
#include "observer/tracing.h"

#define CERTIFICATES_SHOWN  100
#define METRIC_NAME_MAX_LEN 64
#define BUCKETS_BY          2 /* of our buckets one of so many is shown: powers of two */

#define LABELS_MAX 5

/* "TLSv1.3/TLS_AES_128_GCM_SHA256" becomes two labels; VERSION holds the first. */
static void labels_of(const struct stats_row *row, char version[static 16], struct exposition_label labels[static LABELS_MAX]) {
    const char *slash = row->kind == STATS_SUITE ? strchr(row->name, '/') : NULL;
    if (row->kind != STATS_SUITE)
        *labels++ = (struct exposition_label){"service", row->service};
    if (slash) {
        (void)snprintf(version, 16, "%.*s", (int)MIN(slash - row->name, 15), row->name);
        *labels++ = (struct exposition_label){"version", version};
    }
    if (stats_kinds[row->kind].label[0])
        *labels++ = (struct exposition_label){stats_kinds[row->kind].label, slash ? slash + 1 : row->name};
    *labels = (struct exposition_label){NULL, NULL};
}

static void add_label(struct exposition_label labels[static LABELS_MAX], const struct stats_metric *m) {
    size_t n = 0;
    while (labels[n].name)
        n++;
    if (!m->label[0] || n + 1 == LABELS_MAX)
        return;
    labels[n] = (struct exposition_label){m->label, m->label_value};
    labels[n + 1].name = NULL;
}

/* Begins the family of M, unless the row before it had the same name. NAME holds the name while the family is written. */
static void begin_family(struct exposition *x, char name[static METRIC_NAME_MAX_LEN], const char *prefix,
                         const struct stats_metric *m) {
    char next[METRIC_NAME_MAX_LEN];
    (void)snprintf(next, sizeof(next), "%s_%s", prefix, m->name);
    if (strcmp(name, next) == 0)
        return;
    memcpy(name, next, sizeof(next));
    exposition_family(x, m->type == STATS_GAUGE ? EXPOSE_GAUGE : EXPOSE_COUNTER, name, m->help);
}

static void put_rows(struct admin *a, struct exposition *x, enum stats_kind kind, enum stats_value value) {
    const struct stats_sums *s = &a->stats_view.sums;
    for (size_t i = 0; i < s->nrows; i++) {
        struct exposition_label labels[LABELS_MAX];
        char version[16];
        if (s->rows[i].kind != kind)
            continue;
        labels_of(&s->rows[i], version, labels);
        add_label(labels, &stats_values[value]);
        exposition_number(x, labels, s->rows[i].values[value]);
    }
}

static void put_labeled(struct admin *a, struct exposition *x) {
    char name[METRIC_NAME_MAX_LEN] = "";
    for (unsigned kind = 0; kind < STATS_KIND_COUNT; kind++) {
        for (unsigned v = 0; v < STATS_VALUE_COUNT; v++) {
            if (!(stats_values[v].kinds & STATS_IN(kind)))
                continue;
            begin_family(x, name, stats_kinds[kind].prefix, &stats_values[v]);
            put_rows(a, x, (enum stats_kind)kind, (enum stats_value)v);
        }
    }
}

/* ---- histograms ---- */

static void put_buckets(struct exposition *x, const struct exposition_label *labels, const struct stats_hist_row *h) {
    uint64_t count = 0;
    for (unsigned i = 0; i < STATS_BUCKETS; i++) {
        char le[32];
        count += h->buckets[i];
        if (i + 1 == STATS_BUCKETS)
            (void)snprintf(le, sizeof(le), "+Inf");
        else if (i % BUCKETS_BY == 0)
            (void)snprintf(le, sizeof(le), "%.9g", (double)stats_bucket_bound(i) / 1e6);
        else
            continue;
        exposition_part(x, "_bucket", labels, le, count);
    }
    exposition_part(x, "_count", labels, NULL, count);
    exposition_sum(x, labels, (double)h->sum / 1e6);
}

static void put_short(struct exposition *x, const struct exposition_label *labels, const struct stats_hist_row *h) {
    uint64_t count = 0;
    for (unsigned i = 0; i < STATS_BUCKETS; i++)
        count += h->buckets[i];
    exposition_part(x, "_count", labels, NULL, count);
    exposition_sum(x, labels, (double)h->sum / 1e6);
}

/* Services with their buckets; of the many backends only what an average takes. */
static void put_histogram_family(struct admin *a, struct exposition *x, enum stats_kind kind, enum stats_hist hist) {
    const struct stats_sums *s = &a->stats_view.sums;
    bool whole = kind == STATS_SERVICE;
    char name[METRIC_NAME_MAX_LEN];
    (void)snprintf(name, sizeof(name), "%s_%s", stats_kinds[kind].prefix, stats_hists[hist].name);
    exposition_family(x, whole ? EXPOSE_HISTOGRAM : EXPOSE_SUMMARY, name, stats_hists[hist].help);
    for (size_t i = 0; i < s->nrows; i++) {
        struct exposition_label labels[LABELS_MAX];
        char version[16];
        if (s->rows[i].kind != kind || !s->rows[i].hists)
            continue;
        labels_of(&s->rows[i], version, labels);
        (whole ? put_buckets : put_short)(x, labels, &s->rows[i].hists[hist]);
    }
}

static void put_histograms(struct admin *a, struct exposition *x) {
    for (unsigned kind = 0; kind < STATS_KIND_COUNT; kind++)
        for (unsigned h = 0; h < STATS_HIST_COUNT; h++)
            if (stats_hists[h].kinds & STATS_IN(kind))
                put_histogram_family(a, x, (enum stats_kind)kind, (enum stats_hist)h);
}

/* ---- processes ---- */

/* The sum over both generations of a role and index: counters go on in the next. False when an earlier row showed it. */
static bool slot_sum(const struct stats_sums *s, size_t at, enum stats_process v, uint64_t *ret) {
    const struct stats_process_row *p = &s->processes[at];
    uint64_t sum = 0;
    for (size_t i = 0; i < s->nprocesses; i++) {
        if (s->processes[i].role != p->role || s->processes[i].index != p->index)
            continue;
        if (i < at)
            return false;
        sum += s->processes[i].values[v];
    }
    *ret = sum;
    return true;
}

static void put_process_rows(struct admin *a, struct exposition *x, enum stats_process v) {
    const struct stats_sums *s = &a->stats_view.sums;
    for (size_t i = 0; i < s->nprocesses; i++) {
        char index[8];
        uint64_t sum;
        if (!slot_sum(s, i, v, &sum))
            continue;
        (void)snprintf(index, sizeof(index), "%u", s->processes[i].index);
        struct exposition_label labels[LABELS_MAX] = {{"role", role_name(s->processes[i].role)}, {"index", index}};
        add_label(labels, &stats_processes[v]);
        if (stats_processes[v].scale < 1)
            exposition_real(x, labels, (double)sum * stats_processes[v].scale);
        else
            exposition_number(x, labels, sum);
    }
}

static void put_processes(struct admin *a, struct exposition *x) {
    char name[METRIC_NAME_MAX_LEN] = "";
    for (unsigned v = 0; v < STATS_PROCESS_COUNT; v++) {
        if (!stats_processes[v].name[0])
            continue;
        begin_family(x, name, "process", &stats_processes[v]);
        put_process_rows(a, x, (enum stats_process)v);
    }
}

/* ---- the proxy as a whole ---- */

static void put_one(struct exposition *x, enum exposition_type type, const char *name, const char *help, uint64_t v) {
    exposition_family(x, type, name, help);
    exposition_number(x, NULL, v);
}

static void put_states(struct admin *a, struct exposition *x) {
    static const char *const states[] = {"starting", "serving", "degraded", "reloading", "draining", "stopping"};
    exposition_family(x, EXPOSE_GAUGE, "state", "1 for the state the proxy is in.");
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        const struct exposition_label labels[] = {{"state", states[i]}, {NULL, NULL}};
        exposition_number(x, labels, strcmp(status_state(a), states[i]) == 0);
    }
}

static void put_reloads(struct exposition *x, const struct proctab *r) {
    const struct exposition_label done[] = {{"result", "done"}, {NULL, NULL}},
                                  refused[] = {{"result", "refused"}, {NULL, NULL}};
    exposition_family(x, EXPOSE_COUNTER, "reloads", "Reloads, by result.");
    exposition_number(x, done, r->reloads);
    exposition_number(x, refused, r->reloads_refused);
}

static void put_proctab(struct admin *a, struct exposition *x) {
    const struct proctab *r = &a->stats_view.proctab;
    const struct exposition_label build[] = {{"version", a->stats_view.has_proctab ? r->version : TLS_OFF_VERSION},
                                             {NULL, NULL}};
    exposition_family(x, EXPOSE_INFO, "build", "What serves.");
    exposition_number(x, build, 1);
    if (!a->stats_view.has_proctab)
        return;
    put_states(a, x);
    exposition_family(x, EXPOSE_GAUGE, "start_time_seconds", "When the proxy was started, since 1970.");
    exposition_real(x, NULL, (double)r->started_ms / 1000);
    exposition_family(x, EXPOSE_GAUGE, "generation_start_time_seconds", "When the serving generation took over.");
    exposition_real(x, NULL, (double)r->reload_ms / 1000);
    put_one(x, EXPOSE_GAUGE, "generation", "Number of the serving generation.", r->generation);
    put_one(x, EXPOSE_GAUGE, "degraded_processes", "Processes that should serve and do not.", r->degraded);
    put_reloads(x, r);
    put_one(x, EXPOSE_COUNTER, "restarts", "Processes that died and were started again.", r->restarts);
    put_one(x, EXPOSE_COUNTER, "reload_sessions_migrated", "Sessions that migrated from an old generation to a new one.",
            r->migrated);
}

static void put_limit_families(struct admin *a, struct exposition *x) {
    put_one(x, EXPOSE_GAUGE, "max_sessions", "The most sessions that all relays together take.", status_sessions_max(a));
    put_one(x, EXPOSE_GAUGE, "max_buffer_bytes", "The most memory of bytes that wait, all relays together.",
            a->conf->buffer_memory * a->conf->workers);
    put_one(x, EXPOSE_GAUGE, "max_handshake_bytes", "The most memory of unfinished handshakes, all handshakers together.",
            a->conf->handshake_memory * a->conf->workers);
}

static void put_observer(struct admin *a, struct exposition *x) {
    const struct stats_clients *c = &a->stats_view.clients;
    struct http_counts h = http_counts(a->http);
    put_one(x, EXPOSE_GAUGE, "clients_tracked", "Clients that are tracked.", c->n);
    put_one(x, EXPOSE_GAUGE, "clients_floor_bytes", "No client that is not tracked has moved more.", c->floor);
    put_one(x, EXPOSE_COUNTER, "clients_evicted", "Clients that are no longer tracked, to make room for others.", c->evicted);
    put_one(x, EXPOSE_COUNTER, "log_events", "Events taken from the processes, by this observer.", a->log->events);
    put_one(x, EXPOSE_COUNTER, "log_events_sampled", "Repeated failures logged as a number only.", a->log->sampled);
    put_one(x, EXPOSE_COUNTER, "log_events_dropped", "Events that found no room in their ring.", a->log->dropped);
    put_one(x, EXPOSE_COUNTER, "log_events_broken", "Events that could not be read.", a->log->broken);
    put_one(x, EXPOSE_COUNTER, "log_lines_lost", "Lines that could not be written.", a->log->lost);
    put_one(x, EXPOSE_GAUGE, "clients_traced", "Clients whose events somebody follows live.", tracing_count(a->tracing));
    put_one(x, EXPOSE_GAUGE, "admin_connections", "Connections to the admin sockets now.", h.connections);
    put_one(x, EXPOSE_COUNTER, "admin_connections_accepted", "Connections accepted on the admin sockets.", h.accepted);
    put_one(x, EXPOSE_COUNTER, "admin_requests", "Requests on the admin sockets.", h.requests);
    put_one(x, EXPOSE_COUNTER, "admin_requests_refused", "Requests and connections that were refused.", h.refused);
    put_one(x, EXPOSE_COUNTER, "admin_connections_evicted", "Idle connections that made room for others.", h.evicted);
    put_one(x, EXPOSE_COUNTER, "admin_connections_timed_out", "Connections whose client did not take its answer in time.",
            h.timed_out);
}

static void put_expiry(struct admin *a, struct exposition *x) {
    uint32_t list[CERTIFICATES_SHOWN];
    const struct creds *c = &a->stats_view.creds;
    size_t n = c->head ? status_expiring(c, list, CERTIFICATES_SHOWN) : 0;
    exposition_family(x, EXPOSE_GAUGE, "certificate_expiry_timestamp_seconds",
                      "When a certificate ends, since 1970; those that end first.");
    for (size_t i = 0; i < n; i++) {
        struct creds_entry e = creds_entry(c, list[i]);
        int64_t end = creds_cert(c, list[i], 0).not_after;
        const char *service = e.service < creds_services(c) ? creds_service(c, e.service).name : "";
        const struct exposition_label labels[] = {{"service", service},
                                                  {"name", e.nnames ? creds_name(c, list[i], 0) : ""},
                                                  {"serial", e.serial},
                                                  {"key", creds_kind_name(e.kind)},
                                                  {NULL, NULL}};
        if (end > 0)
            exposition_number(x, labels, (uint64_t)end);
    }
}

static bool wants_open_metrics(const struct http_request *q) {
    const char *accept = http_header(q, "Accept");
    return accept && strstr(accept, "application/openmetrics-text");
}

void metrics_answer(struct admin *a, const struct http_request *q, struct http_reply *r) {
    struct exposition x = {.to = &r->body, .open_metrics = wants_open_metrics(q)};
    r->type = x.open_metrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                             : "text/plain; version=0.0.4; charset=utf-8";
    stats_view_refresh(&a->stats_view, a->loop->now_ms);
    stats_view_refresh_clients(&a->stats_view, a->loop->now_ms);
    put_proctab(a, &x);
    put_labeled(a, &x);
    put_histograms(a, &x);
    put_processes(a, &x);
    put_expiry(a, &x);
    access_lists_expose(a, &x);
    managed_view_metrics(&a->managed, &x);
    shared_store_metrics(&a->store, &x);
    spans_metrics(&a->spans, &a->stats_view, &x);
    if (a->conf->store.socket)
        instances_metrics(&a->instances, &x);
    put_limit_families(a, &x);
    put_observer(a, &x);
    exposition_end(&x);
    if (x.bad)
        http_reply_line(r, 500, "more metrics than there is room for");
}
