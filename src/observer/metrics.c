/*
 * /metrics: every counter under the names and units that Prometheus' conventions ask for. The number of time series is bounded
 * by the tables behind it (wire/stats_table.h): names chosen by strangers never become labels.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "observer/admin.h"
#include "observer/exposition.h"
#include "observer/status.h"

#define CERTIFICATES_SHOWN 100
#define BUCKETS_BY         2 /* of our buckets one of so many is told: powers of two */

/* A value of labelled blocks as a metric. Rows of one name stand together; WHAT tells them apart (label, value). */
static const struct metric {
    enum stats_kind kind;
    enum stats_value value;
    const char *name, *unit, *help;
    struct exposition_label what;
} metrics[] = {
    {STATS_SERVICE, STATS_SESSIONS_NOW, "service_active_sessions", "", "Sessions now.", {NULL, NULL}},
    {STATS_SERVICE, STATS_SESSIONS, "service_sessions", "", "Sessions that relays have taken.", {NULL, NULL}},
    {STATS_SERVICE, STATS_SESSIONS_FAILED, "service_failed_sessions", "", "Sessions that ended with a reason.", {NULL, NULL}},
    {STATS_SERVICE,
     STATS_TRUNCATIONS,
     "service_truncations",
     "",
     "Sessions whose client ended TCP without close_notify.",
     {NULL, NULL}},
    {STATS_SERVICE, STATS_BYTES_IN, "service_received_bytes", "bytes", "Plain bytes from clients.", {NULL, NULL}},
    {STATS_SERVICE, STATS_BYTES_OUT, "service_sent_bytes", "bytes", "Plain bytes to clients.", {NULL, NULL}},
    {STATS_SERVICE,
     STATS_HANDSHAKES_NOW,
     "service_active_handshakes",
     "",
     "Connections that are no session yet.",
     {NULL, NULL}},
    {STATS_SERVICE, STATS_HANDSHAKES_FULL, "service_handshakes", "", "Handshakes that succeeded.", {"kind", "full"}},
    {STATS_SERVICE, STATS_HANDSHAKES_RESUMED, "service_handshakes", "", "", {"kind", "resumed"}},
    {STATS_SERVICE, STATS_PASSED_THROUGH, "service_passed_through", "", "Connections passed on undecrypted.", {NULL, NULL}},
    {STATS_SERVICE, STATS_KEY_UPDATES_IN, "service_key_updates", "", "KeyUpdates.", {"direction", "in"}},
    {STATS_SERVICE, STATS_KEY_UPDATES_OUT, "service_key_updates", "", "", {"direction", "out"}},
    {STATS_SERVICE,
     STATS_THROTTLED,
     "service_throttled",
     "",
     "Times a session waited for its client's byte rate.",
     {NULL, NULL}},
    {STATS_REASON,
     STATS_COUNT,
     "service_failed_handshakes",
     "",
     "Connections that became no session, by reason.",
     {NULL, NULL}},
    {STATS_END, STATS_COUNT, "service_session_faults", "", "Sessions that ended with a reason, by reason.", {NULL, NULL}},
    {STATS_BACKEND, STATS_SESSIONS_NOW, "backend_active_sessions", "", "Sessions of a backend now.", {NULL, NULL}},
    {STATS_BACKEND, STATS_SESSIONS, "backend_sessions", "", "Sessions of a backend.", {NULL, NULL}},
    {STATS_BACKEND, STATS_BYTES_IN, "backend_received_bytes", "bytes", "Plain bytes from clients, by backend.", {NULL, NULL}},
    {STATS_BACKEND, STATS_BYTES_OUT, "backend_sent_bytes", "bytes", "Plain bytes to clients, by backend.", {NULL, NULL}},
    {STATS_BACKEND, STATS_CONNECTS_FAILED, "backend_failed_connects", "", "Connects that failed.", {NULL, NULL}},
    {STATS_BACKEND,
     STATS_BACKLOG_FULL,
     "backend_full_backlogs",
     "",
     "Sessions that met a full queue of the backend.",
     {NULL, NULL}},
    {STATS_BACKEND, STATS_EJECTED, "backend_left_out", "", "Times it was left out after failed connects.", {NULL, NULL}},
    {STATS_BACKEND,
     STATS_EJECTED_NOW,
     "backend_relays_without",
     "",
     "Relays that leave this backend out at present.",
     {NULL, NULL}},
    {STATS_BACKEND,
     STATS_FULL_NOW,
     "backend_relays_finding_it_full",
     "",
     "Relays that found its queue of connections full and have had no success since.",
     {NULL, NULL}},
    {STATS_BACKEND,
     STATS_NO_ADDRESS_NOW,
     "backend_relays_without_address",
     "",
     "Relays that know no address of its name.",
     {NULL, NULL}},
    {STATS_NAME, STATS_SESSIONS, "name_sessions", "", "Sessions by server name, as a certificate has it.", {NULL, NULL}},
    {STATS_NAME, STATS_BYTES_IN, "name_received_bytes", "bytes", "Plain bytes from clients, by server name.", {NULL, NULL}},
    {STATS_NAME, STATS_BYTES_OUT, "name_sent_bytes", "bytes", "Plain bytes to clients, by server name.", {NULL, NULL}},
    {STATS_CERT, STATS_HANDSHAKES_FULL, "certificate_handshakes", "", "Handshakes by certificate.", {"kind", "full"}},
    {STATS_CERT, STATS_HANDSHAKES_RESUMED, "certificate_handshakes", "", "", {"kind", "resumed"}},
    {STATS_SUITE, STATS_SESSIONS, "suite_sessions", "", "Sessions by TLS version and cipher suite.", {NULL, NULL}},
    {STATS_SUITE, STATS_BYTES_IN, "suite_received_bytes", "bytes", "Plain bytes from clients, by cipher suite.", {NULL, NULL}},
    {STATS_SUITE, STATS_BYTES_OUT, "suite_sent_bytes", "bytes", "Plain bytes to clients, by cipher suite.", {NULL, NULL}},
};

/* What a row's name is, as a label; NULL: the service says it all. */
static const char *const name_labels[STATS_KIND_COUNT] = {
    [STATS_BACKEND] = "backend", [STATS_NAME] = "name",     [STATS_CERT] = "certificate",
    [STATS_SUITE] = "suite",     [STATS_REASON] = "reason", [STATS_END] = "reason",
};

#define LABELS_MAX 5

/* "TLSv1.3/TLS_AES_128_GCM_SHA256" is told as two labels; VERSION holds the first. */
static void labels_of(const struct stats_row *row, char version[static 16], struct exposition_label labels[static LABELS_MAX]) {
    const char *slash = row->kind == STATS_SUITE ? strchr(row->name, '/') : NULL;
    if (row->kind != STATS_SUITE)
        *labels++ = (struct exposition_label){"service", row->service};
    if (slash) {
        (void)snprintf(version, 16, "%.*s", (int)MIN(slash - row->name, 15), row->name);
        *labels++ = (struct exposition_label){"version", version};
    }
    if (name_labels[row->kind])
        *labels++ = (struct exposition_label){name_labels[row->kind], slash ? slash + 1 : row->name};
    *labels = (struct exposition_label){NULL, NULL};
}

static void with(struct exposition_label labels[static LABELS_MAX], struct exposition_label more) {
    size_t n = 0;
    while (labels[n].name)
        n++;
    if (!more.name || n + 1 == LABELS_MAX)
        return;
    labels[n] = more;
    labels[n + 1].name = NULL;
}

static void put_rows(struct admin *a, struct exposition *x, const struct metric *m) {
    const struct stats_sums *s = &a->stats_view.sums;
    for (size_t i = 0; i < s->nrows; i++) {
        struct exposition_label labels[LABELS_MAX];
        char version[16];
        if (s->rows[i].kind != m->kind)
            continue;
        labels_of(&s->rows[i], version, labels);
        with(labels, m->what);
        exposition_number(x, labels, s->rows[i].values[m->value]);
    }
}

static void put_labelled(struct admin *a, struct exposition *x) {
    for (size_t i = 0; i < ARRAY_LEN(metrics); i++) {
        const struct metric *m = &metrics[i];
        if (i == 0 || strcmp(metrics[i - 1].name, m->name) != 0)
            exposition_family(x, stats_value_is_gauge(m->value) ? EXPOSE_GAUGE : EXPOSE_COUNTER, m->name, m->unit, m->help);
        put_rows(a, x, m);
    }
}

/* ---- distributions ---- */

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

static const struct {
    enum stats_kind kind;
    enum stats_hist hist;
    const char *name, *help;
} distributions[] = {
    {STATS_SERVICE, STATS_HANDSHAKE_US, "service_handshake_seconds", "From accept to the end of the handshake."},
    {STATS_SERVICE, STATS_CONNECT_US, "service_connect_seconds", "From the choice of a backend to its connection."},
    {STATS_SERVICE, STATS_FIRST_BYTE_US, "service_first_byte_seconds", "From a session's begin to the backend's first byte."},
    {STATS_BACKEND, STATS_CONNECT_US, "backend_connect_seconds", "From the choice of a backend to its connection."},
    {STATS_BACKEND, STATS_FIRST_BYTE_US, "backend_first_byte_seconds", "From a session's begin to the backend's first byte."},
};

/* Services with their buckets; of the many backends only what an average takes. */
static void put_distributions(struct admin *a, struct exposition *x) {
    const struct stats_sums *s = &a->stats_view.sums;
    for (size_t d = 0; d < ARRAY_LEN(distributions); d++) {
        bool whole = distributions[d].kind == STATS_SERVICE;
        exposition_family(x, whole ? EXPOSE_HISTOGRAM : EXPOSE_SUMMARY, distributions[d].name, "seconds",
                          distributions[d].help);
        for (size_t i = 0; i < s->nrows; i++) {
            struct exposition_label labels[LABELS_MAX];
            char version[16];
            if (s->rows[i].kind != distributions[d].kind || !s->rows[i].hists)
                continue;
            labels_of(&s->rows[i], version, labels);
            (whole ? put_buckets : put_short)(x, labels, &s->rows[i].hists[distributions[d].hist]);
        }
    }
}

/* ---- processes ---- */

static const struct {
    enum stats_process value;
    const char *name, *unit, *help;
    double scale;
} process_metrics[] = {
    {STATS_CPU_US, "process_cpu_seconds", "seconds", "CPU time used.", 1e-6},
    {STATS_RSS_BYTES, "process_resident_memory_bytes", "bytes", "Resident memory.", 1},
    {STATS_SLAB_BYTES, "process_object_bytes", "bytes", "Memory of session or connection structs.", 1},
    {STATS_OBJECTS, "process_objects", "", "Sessions (relay) or connections (handshaker) in memory.", 1},
    {STATS_POOL_BYTES, "process_buffer_bytes", "bytes", "Memory of bytes that wait for their sink.", 1},
    {STATS_POOL_PEAK_BYTES, "process_buffer_peak_bytes", "bytes", "The most of it so far.", 1},
    {STATS_HANDSHAKE_BYTES, "process_handshake_bytes", "bytes", "Memory of connections that are no session yet.", 1},
    {STATS_LIBSSL_NOW, "process_libssl_handshakes", "", "Handshakes for which libssl is at work.", 1},
    {STATS_QUEUE, "process_hand_over_queue", "", "Finished handshakes that wait for a relay.", 1},
    {STATS_BACKLOG_WAITERS, "process_backlog_waiters", "", "Sessions that wait: no backend has room for them.", 1},
    {STATS_EVICTED, "process_evicted_sessions", "", "Sessions ended because buffer_memory was used up.", 1},
    {STATS_MEMORY_SHORT, "process_memory_short", "", "1 while buffer_memory is used up, or nearly.", 1},
    {STATS_THROTTLED_NOW, "process_throttled_sessions", "", "Sessions that wait for their client's byte rate.", 1},
    {STATS_ACCEPTED, "process_accepted_connections", "", "Connections accepted.", 1},
    {STATS_ACCEPT_PAUSES, "process_accept_pauses", "", "Times accepting paused for want of descriptors or memory.", 1},
    {STATS_GAVE_WAY, "process_evicted_handshakes", "", "Unfinished handshakes that gave way to others.", 1},
    {STATS_HANDED_OVER, "process_handed_over_sessions", "", "Sessions a handshaker gave to relays.", 1},
    {STATS_TAKEN, "process_taken_sessions", "", "Sessions a relay took from handshakers.", 1},
    {STATS_MIGRATED_OUT, "process_moved_out_sessions", "", "Sessions a relay gave to another relay.", 1},
    {STATS_MIGRATED_IN, "process_moved_in_sessions", "", "Sessions a relay took from another relay.", 1},
    {STATS_REFUSED, "process_refused_sessions", "", "Sessions that could not be taken over.", 1},
    {STATS_CONNECT_SHORT, "process_short_connects", "",
     "Sessions that waited: no descriptor, memory or port was left to connect.", 1},
};

/* A place's figures over both generations: they go on when one follows the other. False when an earlier row has told them. */
static bool place_sum(const struct stats_sums *s, size_t at, enum stats_process v, uint64_t *ret) {
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

static void put_processes(struct admin *a, struct exposition *x) {
    const struct stats_sums *s = &a->stats_view.sums;
    for (size_t m = 0; m < ARRAY_LEN(process_metrics); m++) {
        bool gauge = stats_process_is_gauge(process_metrics[m].value);
        exposition_family(x, gauge ? EXPOSE_GAUGE : EXPOSE_COUNTER, process_metrics[m].name, process_metrics[m].unit,
                          process_metrics[m].help);
        for (size_t i = 0; i < s->nprocesses; i++) {
            char index[8];
            uint64_t v;
            (void)snprintf(index, sizeof(index), "%u", s->processes[i].index);
            const struct exposition_label labels[] = {
                {"role", role_name(s->processes[i].role)}, {"index", index}, {NULL, NULL}};
            if (!place_sum(s, i, process_metrics[m].value, &v))
                continue;
            if (process_metrics[m].scale == 1)
                exposition_number(x, labels, v);
            else
                exposition_real(x, labels, (double)v * process_metrics[m].scale);
        }
    }
}

/* ---- the proxy as a whole ---- */

static void put_one(struct exposition *x, enum exposition_type type, const char *name, const char *unit, const char *help,
                    uint64_t v) {
    exposition_family(x, type, name, unit, help);
    exposition_number(x, NULL, v);
}

static void put_states(struct admin *a, struct exposition *x) {
    static const char *const states[] = {"starting", "serving", "degraded", "reloading", "draining", "stopping"};
    exposition_family(x, EXPOSE_GAUGE, "state", "", "1 for the state the proxy is in.");
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        const struct exposition_label labels[] = {{"state", states[i]}, {NULL, NULL}};
        exposition_number(x, labels, strcmp(status_state(a), states[i]) == 0);
    }
}

static void put_proctab(struct admin *a, struct exposition *x) {
    const struct proctab *r = &a->stats_view.proctab;
    const struct exposition_label build[] = {{"version", a->stats_view.has_proctab ? r->version : TLS_OFF_VERSION},
                                             {NULL, NULL}};
    exposition_family(x, EXPOSE_INFO, "build", "", "What serves.");
    exposition_number(x, build, 1);
    if (!a->stats_view.has_proctab)
        return;
    put_states(a, x);
    exposition_family(x, EXPOSE_GAUGE, "start_time_seconds", "seconds", "When the proxy was started, since 1970.");
    exposition_real(x, NULL, (double)r->started_ms / 1000);
    exposition_family(x, EXPOSE_GAUGE, "generation_start_time_seconds", "seconds", "When the serving generation took over.");
    exposition_real(x, NULL, (double)r->reload_ms / 1000);
    put_one(x, EXPOSE_GAUGE, "generation", "", "Number of the serving generation.", r->generation);
    put_one(x, EXPOSE_GAUGE, "degraded_processes", "", "Processes that should serve and do not.", r->degraded);
    put_one(x, EXPOSE_COUNTER, "reloads", "", "Reloads that were done.", r->reloads);
    put_one(x, EXPOSE_COUNTER, "refused_reloads", "", "Reloads that were refused.", r->reloads_refused);
    put_one(x, EXPOSE_COUNTER, "restarts", "", "Processes that died and were started anew.", r->restarts);
    put_one(x, EXPOSE_COUNTER, "moved_sessions", "", "Sessions handed from old generations to new ones.", r->moved);
}

static void put_limits(struct admin *a, struct exposition *x) {
    put_one(x, EXPOSE_GAUGE, "max_sessions", "", "The most sessions that all relays together take.", status_sessions_max(a));
    put_one(x, EXPOSE_GAUGE, "max_buffer_bytes", "bytes", "The most memory of bytes that wait, all relays together.",
            a->conf->buffer_memory * a->conf->workers);
    put_one(x, EXPOSE_GAUGE, "max_handshake_bytes", "bytes",
            "The most memory of unfinished handshakes, all handshakers together.",
            a->conf->handshake_memory * a->conf->workers);
}

static void put_observer(struct admin *a, struct exposition *x) {
    const struct stats_clients *c = &a->stats_view.clients;
    struct http_counts h = http_counts(a->http);
    put_one(x, EXPOSE_GAUGE, "tracked_clients", "", "Clients whose figures are kept.", c->n);
    put_one(x, EXPOSE_GAUGE, "clients_floor_bytes", "bytes", "No client that is not tracked has moved more.", c->floor);
    put_one(x, EXPOSE_COUNTER, "evicted_clients", "", "Clients whose place was given to another one.", c->evicted);
    put_one(x, EXPOSE_COUNTER, "log_events", "", "Events taken from the processes, by this observer.", a->log->events);
    put_one(x, EXPOSE_COUNTER, "log_sampled_events", "", "Repeated failures told as one number.", a->log->sampled);
    put_one(x, EXPOSE_COUNTER, "log_dropped_events", "", "Events that found no room in their ring.", a->log->dropped);
    put_one(x, EXPOSE_COUNTER, "log_broken_events", "", "Events that could not be read.", a->log->broken);
    put_one(x, EXPOSE_COUNTER, "log_lost_lines", "", "Lines that could not be written.", a->log->lost);
    put_one(x, EXPOSE_GAUGE, "admin_connections", "", "Connections to the admin sockets now.", h.connections);
    put_one(x, EXPOSE_COUNTER, "admin_requests", "", "Requests on the admin sockets.", h.requests_total);
    put_one(x, EXPOSE_COUNTER, "admin_refused_requests", "", "Requests that were refused.", h.refused_total);
    put_one(x, EXPOSE_COUNTER, "admin_evicted_connections", "", "Idle connections that made room for others.", h.evicted_total);
}

static void put_certificates(struct admin *a, struct exposition *x) {
    uint32_t list[CERTIFICATES_SHOWN];
    const struct creds *c = &a->stats_view.creds;
    size_t n = c->head ? status_expiring(c, list, CERTIFICATES_SHOWN) : 0;
    exposition_family(x, EXPOSE_GAUGE, "certificate_expiry_seconds", "seconds",
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
    put_labelled(a, &x);
    put_distributions(a, &x);
    put_processes(a, &x);
    put_certificates(a, &x);
    put_limits(a, &x);
    put_observer(a, &x);
    exposition_end(&x);
    if (x.bad)
        http_reply_line(r, 500, "more metrics than there is room for");
}
