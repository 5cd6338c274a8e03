#include "observer/spans.h"

#include <stdio.h>
#include <string.h>

#include "observer/exposition.h"
#include "observer/json.h"

#define SPANS_SHOWN_MAX 256
#define RANDOM          (UINT64_C(1) << 56) /* of a trace id its last 56 bits decide (W3C Trace Context 2, "random-trace-id") */

static bool on_state(void *ctx, struct channel *c, struct ipc_msg *m) {
    struct spans *s = ctx;
    (void)c;
    return server_view_take(&s->collector, m);
}

void spans_start(struct spans *s, const struct conf *conf, struct child *child, struct loop *loop, unsigned kind) {
    static const struct channel_ops ops = {.rules = exporting_to_observer,
                                           .message = on_state}; /* a new peer reports it again */
    *s = (struct spans){.conf = conf, .child = child};
    channel_init(&s->exporter, 1, loop, kind, &ops, s);
}

int spans_take_link(struct spans *s, int fd) {
    return channel_open(&s->exporter, fd);
}

/* ---- events ---- */

static const struct conf_otlp *otlp_of(const struct spans *s) {
    return s->conf && s->conf->otlp.endpoint ? &s->conf->otlp : NULL;
}

bool spans_want(const struct spans *s, const struct event *e) {
    const struct conf_otlp *o = otlp_of(s);
    uint64_t random = 0, left_out = o ? (CONF_OTLP_SAMPLE_ALL - o->sample_ppm) * (RANDOM / CONF_OTLP_SAMPLE_ALL) : 0;
    if (!o || !o->sample_ppm || (e->kind != EVENT_SESSION && e->kind != EVENT_FAILURE))
        return false;
    for (size_t i = CONN_INFO_UNIQUE_ID_LEN - 7; i < CONN_INFO_UNIQUE_ID_LEN; i++)
        random = random << 8 | e->conn_info.unique_id[i];
    return random >= left_out;
}

static void report_drops(struct spans *s, uint64_t now_ms) {
    if (!s->unreported || !log_pause_over(&s->drops, now_ms))
        return;
    log_msg(&s->child->log, LOG_LEVEL_WARNING, "%llu spans dropped: the exporter is away, or too slow",
            (unsigned long long)s->unreported);
    s->unreported = 0;
}

static void drop(struct spans *s, uint32_t n, uint64_t now_ms) {
    if (n)
        stats_process_add(&s->child->stats, STATS_SPANS_DROPPED, n);
    s->unreported += n;
    report_drops(s, now_ms);
}

void spans_put(struct spans *s, const struct event *e, uint64_t now_ms) {
    if (exporting_add(&s->batch, e))
        return;
    spans_flush(s, now_ms);
    if (!exporting_add(&s->batch, e))
        drop(s, 1, now_ms);
}

void spans_flush(struct spans *s, uint64_t now_ms) {
    if (s->batch.n > 0 && s->exporter.fd >= 0)
        (void)!exporting_send(s->exporter.fd, &s->batch); /* what cannot be sent now is sent later */
    report_drops(s, now_ms);
}

void spans_fini(struct spans *s) {
    if (s->child) {
        s->drops = (struct log_pause){.next_ms = 0};
        spans_flush(s, 0);
        drop(s, s->batch.n, 0);
    }
    channel_close(&s->exporter);
}

/* ---- how it stands ---- */

void spans_status(const struct spans *s, struct stats_view *v, json_t *top) {
    char shown[SPANS_SHOWN_MAX];
    struct text t = text_of(shown, sizeof(shown));
    json_t *o = otlp_of(s) ? json_put_object(top, "traces") : NULL;
    if (!o) {
        (void)json_object_set_new(top, "traces", json_null()); /* when out of memory it is missing */
        return;
    }
    text_add_span(&t, span_of(s->conf->otlp.endpoint, strcspn(s->conf->otlp.endpoint, "?"))); /* a key may be behind it */
    json_put_text(o, "endpoint", shown);
    server_view_put(&s->collector, s->exporter.fd >= 0, o);
    json_put_real(o, "sample", (double)s->conf->otlp.sample_ppm / CONF_OTLP_SAMPLE_ALL);
    json_put_u64(o, "exported_total", stats_view_process_sum(v, STATS_SPANS_EXPORTED));
    json_put_u64(o, "refused_total", stats_view_process_sum(v, STATS_SPANS_REFUSED));
    json_put_u64(o, "dropped_total", stats_view_process_sum(v, STATS_SPANS_DROPPED));
}

void spans_degraded(const struct spans *s, json_t *list) {
    char line[SERVER_WHY_MAX + 64];
    if (!server_view_away(&s->collector))
        return;
    (void)snprintf(line, sizeof(line), "the collector of traces takes no spans: %s", s->collector.why);
    json_append_text(list, line);
}

void spans_metrics(const struct spans *s, struct stats_view *v, struct exposition *x) {
    static const struct {
        enum stats_process value;
        const char *result;
    } results[] = {{STATS_SPANS_EXPORTED, "exported"}, {STATS_SPANS_REFUSED, "refused"}, {STATS_SPANS_DROPPED, "dropped"}};
    if (!otlp_of(s))
        return;
    exposition_family(x, EXPOSE_GAUGE, "spans_collector_up", "Whether the collector of traces takes spans.");
    exposition_number(x, NULL, s->collector.up && s->exporter.fd >= 0);
    exposition_family(x, EXPOSE_COUNTER, "spans", "Spans of sessions, by what became of them.");
    for (size_t i = 0; i < ARRAY_LEN(results); i++) {
        const struct exposition_label labels[] = {{"result", results[i].result}, {NULL, NULL}};
        exposition_number(x, labels, stats_view_process_sum(v, results[i].value));
    }
}
