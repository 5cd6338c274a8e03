/* The longer parts of the status: services with their backends, processes. */
#include "observer/status_parts.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "observer/json.h"
#include "observer/status.h"
#include "wire/backend_fault.h"

void status_handshakes(struct admin *a, json_t *object, const char *service) {
    const struct stats_sums *s = &a->stats_view.sums;
    json_t *failed = json_object();
    uint64_t full = 0, resumed = 0, now = 0;
    for (size_t i = 0; i < s->nrows; i++) {
        const struct stats_row *row = &s->rows[i];
        if (service && strcmp(row->service, service) != 0)
            continue;
        if (row->kind == STATS_SERVICE) {
            full += row->values[STATS_HANDSHAKES_FULL];
            resumed += row->values[STATS_HANDSHAKES_RESUMED];
            now += row->values[STATS_HANDSHAKES_NOW];
        } else if (row->kind == STATS_REASON) {
            json_int_t before = json_integer_value(json_object_get(failed, row->name));
            json_put_u64(failed, row->name, (uint64_t)before + row->values[STATS_HANDSHAKES_FAILED]);
        }
    }
    json_put_u64(object, "now", now);
    json_put_u64(object, "full", full);
    json_put_u64(object, "resumed", resumed);
    (void)json_object_set_new_nocheck(object, "failed", failed);
}

static void put_histogram(json_t *object, const char *name, const struct stats_hist_row *h) {
    json_t *o = json_put_object(object, name), *buckets = json_put_array(o, "buckets");
    uint64_t count = 0;
    for (unsigned i = 0; i < STATS_BUCKETS; i++) {
        count += h->buckets[i];
        if (h->buckets[i] == 0 || i + 1 == STATS_BUCKETS)
            continue;
        json_t *pair = json_array();
        (void)json_array_append_new(pair, json_real((double)stats_bucket_bound(i) / 1e6));
        (void)json_array_append_new(pair, json_integer((json_int_t)count));
        (void)json_array_append_new(buckets, pair);
    }
    json_put_real(o, "sum", (double)h->sum / 1e6);
    json_put_u64(o, "count", count);
    static const struct {
        const char *name;
        double share;
    } quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}};
    struct stats_hist_row whole = *h;
    whole.count = count;
    for (size_t i = 0; i < ARRAY_LEN(quantiles); i++)
        json_put_real(o, quantiles[i].name, (double)stats_quantile(&whole, quantiles[i].share) / 1e6);
}

void status_histograms(struct admin *a, json_t *object, enum stats_kind kind, const char *service, const char *name) {
    const struct stats_sums *s = &a->stats_view.sums;
    struct stats_hist_row sums[STATS_HIST_COUNT] = {0};
    for (size_t i = 0; i < s->nrows; i++) {
        const struct stats_row *row = &s->rows[i];
        if (row->kind != kind || !row->hists || (service && strcmp(row->service, service) != 0) ||
            (name && strcmp(row->name, name) != 0))
            continue;
        for (size_t h = 0; h < STATS_HIST_COUNT; h++) {
            sums[h].sum += row->hists[h].sum;
            for (size_t b = 0; b < STATS_BUCKETS; b++)
                sums[h].buckets[b] += row->hists[h].buckets[b];
        }
    }
    for (unsigned h = 0; h < STATS_HIST_COUNT; h++)
        put_histogram(object, stats_hists[h].name, &sums[h]);
}

static uint64_t value(const struct stats_row *row, enum stats_value v) {
    return row ? row->values[v] : 0;
}

static void put_traffic(struct admin *a, json_t *o, enum stats_kind kind, const char *service, const char *name,
                        const struct stats_row *row) {
    json_put_u64(o, "sessions", value(row, STATS_SESSIONS_NOW));
    json_put_u64(o, "sessions_total", value(row, STATS_SESSIONS));
    json_put_u64(o, "sessions_failed_total", value(row, STATS_SESSIONS_FAILED));
    json_put_u64(o, "bytes_in_total", value(row, STATS_BYTES_IN));
    json_put_u64(o, "bytes_out_total", value(row, STATS_BYTES_OUT));
    double in[RATES_SPANS], out[RATES_SPANS], sessions[RATES_SPANS];
    for (unsigned i = 0; i < RATES_SPANS; i++) {
        in[i] = stats_view_row_rate(&a->stats_view, kind, service, name, RATE_IN, i);
        out[i] = stats_view_row_rate(&a->stats_view, kind, service, name, RATE_OUT, i);
        sessions[i] = stats_view_row_rate(&a->stats_view, kind, service, name, RATE_SESSIONS, i);
    }
    json_put_rates(o, "rate_in", in);
    json_put_rates(o, "rate_out", out);
    json_put_rates(o, "rate_sessions", sessions);
}

static const char *backend_state(const struct admin *a, const struct stats_row *row) {
    uint64_t out = MAX(value(row, STATS_EJECTED_NOW), value(row, STATS_NO_ADDRESS_NOW));
    if (out > 0)
        return out < a->conf->workers ? "partly" : "down";
    return value(row, STATS_FULL_NOW) > 0 ? "full" : "up";
}

const char *status_backend_state(const struct admin *a, const char *service, const char *backend) {
    return backend_state(a, stats_sums_find(&a->stats_view.sums, STATS_BACKEND, service, backend));
}

static void put_backend(struct admin *a, json_t *o, const char *service, const char *name, enum status_extent extent) {
    const struct stats_row *row = stats_sums_find(&a->stats_view.sums, STATS_BACKEND, service, name);
    json_put_text(o, "name", name);
    json_put_text(o, "state", backend_state(a, row));
    put_traffic(a, o, STATS_BACKEND, service, name, row);
    json_put_u64(o, "connects_failed_total", value(row, STATS_CONNECTS_FAILED));
    json_put_u64(o, "backlog_full_total", value(row, STATS_BACKLOG_FULL));
    json_put_u64(o, "ejections_total", value(row, STATS_EJECTED));
    uint64_t fault = value(row, STATS_LAST_FAULT);
    if (fault) {
        json_put_text(o, "last_fault", backend_fault_text(backend_fault_error(fault)));
        json_put_real(o, "last_fault_time", (double)backend_fault_ms(fault) / 1000);
    }
    if (extent == STATUS_LIVE)
        return;
    struct stats_hist_row connect = {0};
    if (row && row->hists)
        connect = row->hists[STATS_CONNECT_US];
    put_histogram(o, "connect_seconds", &connect);
}

static void put_service(struct admin *a, json_t *o, const struct conf_service *s, enum status_extent extent) {
    const struct stats_row *row = stats_sums_find(&a->stats_view.sums, STATS_SERVICE, s->name, "");
    json_put_text(o, "name", s->name);
    json_put_text(o, "mode", s->mode == MODE_PASSTHROUGH ? "passthrough" : "terminate");
    json_t *listen = json_put_array(o, "listen");
    for (size_t i = 0; i < s->nlisteners; i++)
        json_append_text(listen, a->conf->listeners[s->listeners[i]].name);
    put_traffic(a, o, STATS_SERVICE, s->name, "", row);
    json_put_u64(o, "truncations_total", value(row, STATS_TRUNCATIONS));
    json_put_u64(o, "throttled_total", value(row, STATS_THROTTLED));
    status_handshakes(a, json_put_object(o, "handshakes"), s->name);
    if (extent == STATUS_WHOLE)
        status_histograms(a, json_put_object(o, "histograms"), STATS_SERVICE, s->name, NULL);
    json_t *backends = json_put_array(o, "backends");
    for (size_t i = 0; i < s->nbackends; i++)
        put_backend(a, json_append_object(backends), s->name, s->backends[i].text, extent);
}

void status_services(struct admin *a, json_t *list, enum status_extent extent) {
    for (size_t i = 0; i < a->conf->nservices; i++)
        put_service(a, json_append_object(list), &a->conf->services[i], extent);
}

/* ---- processes ---- */

static const struct stats_process_row *stats_view_of(const struct admin *a, const struct proctab_process *p) {
    const struct stats_sums *s = &a->stats_view.sums;
    for (size_t i = 0; i < s->nprocesses; i++)
        if (s->processes[i].role == (enum role)p->role && s->processes[i].index == p->index &&
            s->processes[i].parity == (p->generation & 1))
            return &s->processes[i];
    return NULL;
}

static void put_last_end(json_t *o, const struct proctab_process *p) {
    char text[128];
    if (p->last_end_ms == 0)
        return;
    if (WIFSIGNALED(p->last_status))
        (void)snprintf(text, sizeof(text), "killed by signal %d (%s)", WTERMSIG(p->last_status),
                       strsignal(WTERMSIG(p->last_status)));
    else
        (void)snprintf(text, sizeof(text), "ended with status %d", WEXITSTATUS(p->last_status));
    json_put_text(o, "last_end", text);
    json_put_real(o, "last_end_time", (double)p->last_end_ms / 1000);
}

static void put_process(struct admin *a, json_t *o, const struct proctab_process *p) {
    const struct stats_process_row *row = stats_view_of(a, p);
    json_put_text(o, "role", role_name((enum role)p->role));
    json_put_u64(o, "index", p->index);
    json_put_u64(o, "generation", p->generation);
    json_put_u64(o, "pid", (uint64_t)MAX(p->pid, 0));
    json_put_text(o, "state", proctab_state_name(p->state));
    json_put_u64(o, "restarts_total", p->restarts);
    json_put_real(o, "started", (double)p->started_ms / 1000);
    if (p->cpu >= 0)
        json_put_u64(o, "cpu", (uint64_t)p->cpu);
    put_last_end(o, p);
    if (!row)
        return;
    json_put_real(o, "cpu_seconds_total", (double)row->values[STATS_CPU_US] / 1e6);
    json_put_u64(o, "memory_bytes", row->values[STATS_RSS_BYTES]);
    json_put_u64(o, p->role == ROLE_HANDSHAKER ? "handshakes" : "sessions", row->values[STATS_OBJECTS]);
    json_put_u64(o, "queue", row->values[STATS_QUEUE]);
    json_put_u64(o, "backlog_waiters", row->values[STATS_BACKLOG_WAITERS]);
    json_put_u64(o, "buffer_bytes", row->values[STATS_POOL_BYTES]);
}

void status_processes(struct admin *a, json_t *list) {
    const struct proctab *r = &a->stats_view.proctab;
    for (size_t i = 0; a->stats_view.has_proctab && i < PROCTAB_PROCESSES && r->processes[i].state != PROCTAB_NO_PROCESS; i++)
        put_process(a, json_append_object(list), &r->processes[i]);
}
