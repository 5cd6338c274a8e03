#include "observer/status.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "observer/access_lists.h"
#include "observer/certificates.h"
#include "observer/json.h"
#include "observer/sink.h"
#include "observer/status_parts.h"
#include "observer/tracing.h"

#define LOG_PATIENCE_MS 1000 /* a burst of lines may wait so long for a slow reader */

#define STATUS_SECONDS 60    /* of history */
#define CROWDED_MS     10000 /* since a handshake was last evicted */

static bool has_ready(const struct proctab *r, enum role role) {
    for (size_t i = 0; i < PROCTAB_PROCESSES && r->processes[i].state != PROCTAB_NO_PROCESS; i++) {
        const struct proctab_process *p = &r->processes[i];
        if (p->role == role && p->generation == r->generation && p->state == PROCTAB_READY)
            return true;
    }
    return false;
}

/* Whether new sessions are served, if perhaps by fewer processes than there should be. */
static bool is_serving(const struct admin *a) {
    const struct proctab *r = &a->stats_view.proctab;
    return (r->phase == PROCTAB_SERVING || r->phase == PROCTAB_RELOADING) && has_ready(r, ROLE_RELAY) &&
           has_ready(r, ROLE_HANDSHAKER);
}

const char *status_state(const struct admin *a) {
    const struct proctab *r = &a->stats_view.proctab;
    if (!a->stats_view.has_proctab)
        return "unknown";
    if (r->phase == PROCTAB_SERVING && (r->degraded > 0 || !is_serving(a)))
        return "degraded";
    return proctab_phase_name(r->phase);
}

void ready_answer(struct admin *a, const struct http_request *q, struct http_reply *r) {
    (void)q;
    stats_view_refresh(&a->stats_view, a->loop->now_ms);
    bool ready = !a->stats_view.has_proctab || is_serving(a);
    http_reply_line(r, ready ? 200 : 503, ready ? "ready" : status_state(a));
}

static void put_head(struct admin *a, json_t *top) {
    const struct proctab *r = &a->stats_view.proctab;
    uint64_t wall_ms = clock_wall_us() / 1000;
    char host[256] = "";
    (void)gethostname(host, sizeof(host) - 1); /* no name is a name as well */
    json_put_real(top, "time", (double)wall_ms / 1000);
    json_put_text(top, "version", a->stats_view.has_proctab ? r->version : TLS_OFF_VERSION);
    json_put_text(top, "hostname", host);
    json_put_text(top, "state", status_state(a));
    bool own = a->conf->handshake == HANDSHAKE_AUTO && !stats_view_process_sum(&a->stats_view, STATS_OWN_FAILED);
    json_put_text(top, "tls13_handshakes", own ? "own" : "libssl");
    if (!a->stats_view.has_proctab)
        return;
    json_put_u64(top, "pid", (uint64_t)MAX(r->pid, 0));
    json_put_u64(top, "generation", r->generation);
    json_put_real(top, "started", (double)r->started_ms / 1000);
    json_put_real(top, "uptime_seconds", wall_ms > r->started_ms ? (double)(wall_ms - r->started_ms) / 1000 : 0);
    json_put_text(top, "binary", r->binary);
    json_put_u64(top, "restarts_total", r->restarts);
    json_put_u64(top, "reloads_total", r->reloads);
    json_put_u64(top, "reloads_refused_total", r->reloads_refused);
    if (r->drain_until_ms)
        json_put_real(top, "drain_until", (double)r->drain_until_ms / 1000);
}

/* The latest that has ended, or runs. */
static const struct proctab_command *last_reload(const struct proctab *r) {
    const struct proctab_command *last = NULL;
    for (size_t i = 0; i < PROCTAB_COMMANDS; i++)
        if (r->commands[i].kind == COMMAND_RELOAD)
            last = &r->commands[i];
    return last;
}

static void put_reload(struct admin *a, json_t *top) {
    const struct proctab_command *c = a->stats_view.has_proctab ? last_reload(&a->stats_view.proctab) : NULL;
    json_t *o = c ? json_put_object(top, "last_reload") : NULL;
    if (!c) {
        (void)json_object_set_new(top, "last_reload", json_null()); /* when out of memory it is missing */
        return;
    }
    char text[PROCTAB_TEXT_MAX + 1];
    struct text t = text_of(text, sizeof(text));
    text_add_span(&t, span_of(c->text, strnlen(c->text, sizeof(c->text))));
    json_put_real(o, "time", (double)c->asked_ms / 1000);
    json_put_text(o, "result", proctab_result_name(c->result));
    json_put_lines(o, "text", text);
    if (c->ended_ms >= c->asked_ms)
        json_put_u64(o, "duration_ms", c->ended_ms - c->asked_ms);
}

static void put_totals(struct admin *a, json_t *top) {
    struct stats_view *f = &a->stats_view;
    json_t *o = json_put_object(top, "totals");
    json_put_u64(o, "sessions", stats_view_sum(f, STATS_SERVICE, STATS_SESSIONS_NOW));
    json_put_u64(o, "sessions_total", stats_view_sum(f, STATS_SERVICE, STATS_SESSIONS));
    json_put_u64(o, "sessions_failed_total", stats_view_sum(f, STATS_SERVICE, STATS_SESSIONS_FAILED));
    json_put_u64(o, "truncations_total", stats_view_sum(f, STATS_SERVICE, STATS_TRUNCATIONS));
    json_put_u64(o, "bytes_in_total", stats_view_sum(f, STATS_SERVICE, STATS_BYTES_IN));
    json_put_u64(o, "bytes_out_total", stats_view_sum(f, STATS_SERVICE, STATS_BYTES_OUT));
    json_put_u64(o, "connections_accepted_total", stats_view_process_sum(f, STATS_ACCEPTED));
    json_put_u64(o, "sessions_migrated_total", stats_view_process_sum(f, STATS_MIGRATED_IN));
    json_put_u64(o, "own_handshakes_total", stats_view_process_sum(f, STATS_BY_OWN));
    json_put_u64(o, "libssl_handshakes_total", stats_view_process_sum(f, STATS_BY_LIBSSL));
    status_handshakes(a, json_put_object(o, "handshakes"), NULL);
}

static const char *const rate_names[RATE_COUNT] = {"bytes_in",   "bytes_out", "sessions",
                                                   "handshakes", "failed",    "sessions_failed"};

static void put_rates(struct admin *a, json_t *top) {
    json_t *o = json_put_object(top, "rates");
    for (unsigned v = 0; v < RATE_COUNT; v++) {
        double rates[RATES_SPANS];
        for (unsigned i = 0; i < RATES_SPANS; i++)
            rates[i] = stats_view_total_rate(&a->stats_view, (enum rate_kind)v, i);
        json_put_rates(o, rate_names[v], rates);
    }
}

/* Second by second, the last one last. */
static void put_history(struct admin *a, json_t *top) {
    const struct stats_view *f = &a->stats_view;
    json_t *o = json_put_object(top, "history");
    for (unsigned v = 0; v < RATE_COUNT; v++) {
        json_t *list = json_put_array(o, rate_names[v]);
        for (uint64_t i = stats_view_past(f, STATUS_SECONDS); i < f->seconds; i++)
            (void)json_array_append_new(list, json_integer((json_int_t)stats_view_growth(f, i, (enum rate_kind)v)));
    }
}

/* All roles have the same limit. */
static uint64_t descriptors(void) {
    struct rlimit files = {0};
    (void)getrlimit(RLIMIT_NOFILE, &files); /* cannot fail with these arguments */
    return files.rlim_cur;
}

uint64_t status_sessions_max(const struct admin *a) {
    return (uint64_t)scoreboard_relay_cap(descriptors(), (uint16_t)a->conf->workers) * a->conf->workers;
}

static void put_limits(struct admin *a, json_t *top) {
    const struct stats_view *f = &a->stats_view;
    json_t *o = json_put_object(top, "limits");
    json_put_u64(o, "descriptors_a_process", descriptors());
    json_put_u64(o, "sessions_max", status_sessions_max(a));
    json_put_u64(o, "buffer_bytes", stats_view_process_sum(f, STATS_POOL_BYTES));
    json_put_u64(o, "buffer_bytes_max", a->conf->buffer_memory * a->conf->workers);
    json_put_u64(o, "handshake_bytes", stats_view_process_sum(f, STATS_HANDSHAKE_BYTES));
    json_put_u64(o, "handshake_bytes_max", a->conf->handshake_memory * a->conf->workers);
}

static void put_log(struct admin *a, json_t *top) {
    const struct log_counts *c = a->log;
    json_t *o = json_put_object(top, "log");
    json_put_u64(o, "events_total", c->events);
    json_put_u64(o, "events_sampled_total", c->sampled);
    json_put_u64(o, "events_dropped_total", c->dropped);
    json_put_u64(o, "events_broken_total", c->broken);
    json_put_u64(o, "lines_lost_total", c->lost);
}

static void put_clients(struct admin *a, json_t *top) {
    const struct stats_clients *c = &a->stats_view.clients;
    json_t *o = json_put_object(top, "clients");
    json_put_u64(o, "tracked", c->n);
    json_put_u64(o, "floor_bytes", c->floor);
    json_put_u64(o, "evicted_total", c->evicted);
    json_put_u64(o, "traced", tracing_count(a->tracing));
}

/* Handshakers whose budget was used up a moment ago. */
static void put_crowded(struct admin *a, json_t *list) {
    char line[128];
    for (size_t i = 0; i < a->stats_view.sums.nprocesses; i++) {
        const struct stats_process_row *p = &a->stats_view.sums.processes[i];
        uint64_t last_ms = p->values[STATS_GAVE_WAY_MS];
        if (!last_ms || a->loop->now_ms > last_ms + CROWDED_MS)
            continue;
        (void)snprintf(line, sizeof(line), "%s.%u: memory or descriptors for handshakes are used up",
                       role_name((enum role)p->role), p->index);
        json_append_text(list, line);
    }
}

/* What keeps a backend from being of use to a relay; NULL. */
static const char *backend_trouble(const struct admin *a, const struct stats_row *b) {
    if (b->values[STATS_NO_ADDRESS_NOW] > 0)
        return "has no address: its name does not resolve";
    if (b->values[STATS_EJECTED_NOW] >= a->conf->workers)
        return "is ejected";
    return b->values[STATS_FULL_NOW] > 0 ? "has a full queue of connections" : NULL;
}

static void put_without_own(struct admin *a, json_t *list) {
    char line[128];
    for (size_t i = 0; i < a->stats_view.sums.nprocesses; i++) {
        const struct stats_process_row *p = &a->stats_view.sums.processes[i];
        if (!p->values[STATS_OWN_FAILED])
            continue;
        (void)snprintf(line, sizeof(line), "%s.%u: the self-test of our own handshake failed, libssl makes all of them",
                       role_name((enum role)p->role), p->index);
        json_append_text(list, line);
    }
}

/* Null where nothing is shared. */
static void put_store(const struct admin *a, json_t *top) {
    const struct shared_store *s = &a->store;
    json_t *o = a->conf->store.socket ? json_put_object(top, "store") : NULL;
    if (!o) {
        (void)json_object_set_new(top, "store", json_null()); /* when out of memory it is missing */
        return;
    }
    json_put_text(o, "socket", a->conf->store.socket);
    json_put_text(o, "cluster", a->conf->store.cluster);
    server_view_put(&s->server, s->fleet.fd >= 0, o);
    (void)json_object_set_new(o, "clients", instances_status(&a->instances, a->loop->now_ms)); /* as above */
}

static void put_store_away(const struct admin *a, json_t *list) {
    char line[SERVER_WHY_MAX + 64];
    if (!shared_store_away(&a->store))
        return;
    (void)snprintf(line, sizeof(line), "the store of the fleet is away: %s", a->store.server.why);
    json_append_text(list, line);
}

/* What an operator should look at, in sentences. */
static void put_degraded(struct admin *a, json_t *top) {
    const struct proctab *r = &a->stats_view.proctab;
    json_t *list = json_put_array(top, "degraded");
    char line[STATS_NAME_MAX + STATS_SERVICE_MAX + 128];
    if (a->log->waits_since_ms && a->loop->now_ms >= a->log->waits_since_ms + LOG_PATIENCE_MS) {
        (void)snprintf(line, sizeof(line), "the log takes no lines: its reader does not read; %llu events dropped so far",
                       (unsigned long long)a->log->dropped);
        json_append_text(list, line);
    }
    if (a->log->lost_unreported > 0) {
        (void)snprintf(line, sizeof(line), "the log is losing lines, %llu so far: %s",
                       (unsigned long long)a->log->lost_unreported, sink_error_text(a->log->lost_error));
        json_append_text(list, line);
    }
    for (size_t i = 0; a->stats_view.has_proctab && i < PROCTAB_PROCESSES && r->processes[i].state != PROCTAB_NO_PROCESS; i++) {
        const struct proctab_process *p = &r->processes[i];
        bool bad = p->state == PROCTAB_DOWN || p->state == PROCTAB_HUNG;
        if (!bad || p->generation != r->generation)
            continue;
        (void)snprintf(line, sizeof(line), "%s.%u is %s", role_name((enum role)p->role), p->index,
                       proctab_state_name(p->state));
        json_append_text(list, line);
    }
    for (size_t i = 0; i < a->stats_view.sums.nrows; i++) {
        const struct stats_row *b = &a->stats_view.sums.rows[i];
        const char *what = backend_trouble(a, b);
        if (b->kind != STATS_BACKEND || !what)
            continue;
        (void)snprintf(line, sizeof(line), "backend %s of %s %s", b->name, b->service, what);
        json_append_text(list, line);
    }
    status_failing_lists(a, list);
    managed_view_alarms(&a->managed, list);
    put_crowded(a, list);
    put_without_own(a, list);
    keylog_notice_status(a, list);
    put_store_away(a, list);
    spans_degraded(&a->spans, list);
    for (size_t i = 0; i < a->stats_view.sums.nprocesses; i++) {
        const struct stats_process_row *p = &a->stats_view.sums.processes[i];
        if (!p->values[STATS_MEMORY_SHORT])
            continue;
        (void)snprintf(line, sizeof(line), "buffer_memory of %s.%u is used up: those who hold most of it lose sessions",
                       role_name((enum role)p->role), p->index);
        json_append_text(list, line);
    }
}

json_t *status_json(struct admin *a, enum status_extent extent) {
    json_t *top = json_object();
    stats_view_refresh(&a->stats_view, a->loop->now_ms);
    stats_view_refresh_clients(&a->stats_view, a->loop->now_ms);
    put_head(a, top);
    put_degraded(a, top);
    put_reload(a, top);
    put_totals(a, top);
    put_rates(a, top);
    if (extent == STATUS_WHOLE)
        put_history(a, top);
    status_histograms(a, json_put_object(top, "histograms"), STATS_SERVICE, NULL, NULL);
    status_services(a, json_put_array(top, "services"), extent);
    if (extent == STATUS_WHOLE)
        status_certificates(a, json_put_array(top, "certificates"), STATUS_CERTIFICATES_MAX);
    if (extent == STATUS_WHOLE)
        status_access(a, json_put_array(top, "access"));
    status_processes(a, json_put_array(top, "processes"));
    put_store(a, top);
    spans_status(&a->spans, &a->stats_view, top);
    put_clients(a, top);
    put_limits(a, top);
    put_log(a, top);
    return top;
}

void status_answer(struct admin *a, const struct http_request *q, struct http_reply *r) {
    (void)q;
    json_reply(r, status_json(a, STATUS_WHOLE));
}
