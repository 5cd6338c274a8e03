#include "exporter/exporter.h"

#include <string.h>
#include <unistd.h>

#include "base/channel.h"
#include "base/clock.h"
#include "base/err.h"
#include "conf/otlp_keys.h"
#include "exporter/collector.h"
#include "exporter/delivery.h"
#include "exporter/otlp_span.h"
#include "wire/exporting.h"

#define DNS_PORT        53
#define IDLE_MS         60000 /* the collector's connection is kept so long */
#define EXPORTER_END_MS 1500  /* for what is left at the end; the supervisor kills after 2000 */

enum exporter_kind { EXPORTER_OBSERVER = ROLE_CONTROL + 1, EXPORTER_HTTP };

struct exporter {
    struct child child;
    struct conf *conf;
    struct loop loop;
    struct channel observer;
    struct http_out http;
    struct delivery delivery;
    struct otlp_headers headers;
    uint16_t ports[2]; /* that the sandbox lets us connect to */
    char head[OTLP_HEAD_MAX];
    struct collector collector;
    bool ending;
    struct alarm_clock end;
};

/* ---- how the collector stands ---- */

static void report_collector(struct exporter *e) {
    struct server_state s;
    if (e->observer.fd >= 0 && collector_state(&e->collector, &s) && server_state_send(e->observer.fd, EXPORTING_STATE, &s) < 0)
        channel_close(&e->observer); /* the supervisor links its successor */
}

static void add_to_count(struct exporter *e, enum stats_process what, uint32_t n) {
    if (n)
        stats_process_add(&e->child.stats, what, n);
}

static void on_result(void *ctx, const struct delivery_result *r) {
    struct exporter *e = ctx;
    add_to_count(e, STATS_SPANS_EXPORTED, r->taken);
    add_to_count(e, STATS_SPANS_REFUSED, r->refused);
    add_to_count(e, STATS_SPANS_DROPPED, r->dropped);
    if (collector_answered(&e->collector, r, e->loop.now_ms))
        report_collector(e);
}

static void drop_spans(struct exporter *e, uint32_t n) {
    add_to_count(e, STATS_SPANS_DROPPED, n);
    collector_dropped(&e->collector, n);
}

/* ---- the observer ---- */

static bool on_events(void *ctx, struct channel *c, struct ipc_msg *m) {
    static char json[OTLP_SPAN_MAX];
    struct exporter *e = ctx;
    struct event event;
    int err;
    (void)c;
    for (struct span left = m->body; exporting_next(&left, &event, &err);) {
        struct text t = text_of(json, sizeof(json));
        if (otlp_span_write(&t, &event) && !delivery_add(&e->delivery, span_of(json, t.len)))
            drop_spans(e, 1);
    }
    return err == 0;
}

static int link_exporter_to_observer(void *ctx, const struct control_peer *peer, int fd) {
    struct exporter *e = ctx;
    (void)peer;
    int err = channel_open(&e->observer, fd);
    if (err == 0)
        report_collector(e);
    return err;
}

/* ---- life ---- */

static void write_batch_head(struct exporter *e) {
    char host[256] = "", instance[17];
    struct text i = text_of(instance, sizeof(instance)), head = text_of(e->head, sizeof(e->head));
    (void)gethostname(host, sizeof(host) - 1); /* without a name the attribute is missing */
    text_addf(&i, "%016llx", (unsigned long long)stats_instance(&e->child.stats));
    otlp_head_write(&head, &(struct otlp_resource){e->conf->otlp.service_name, host, instance});
    MUST(!head.cut);
}

/* Files are read with the rights that the role is started with: they need not be its user's. */
static int begin_delivery(struct exporter *e, const char *scheme, struct text *why) {
    const struct conf_otlp *conf = &e->conf->otlp;
    struct http_out_question q = {.method = HTTP_OUT_POST,
                                  .scheme = scheme,
                                  .url = conf->endpoint,
                                  .type = "Content-Type: application/json",
                                  .fields = e->headers.fields,
                                  .timeout_ms = (uint32_t)conf->timeout_ms};
    int err = conf->headers_file ? otlp_headers_read(conf->headers_file, &e->headers, why) : 0;
    if (err == 0 && strcmp(scheme, "https") == 0)
        err = http_out_trust(conf->ca_file, &q.ca, why);
    if (err == 0)
        err = http_out_init(&e->http, &e->loop, EXPORTER_HTTP, IDLE_MS, why);
    if (err == 0)
        delivery_init(&e->delivery, &e->loop, &e->http, &q, span_str(e->head), on_result, e);
    return err;
}

static void stop_now(void *ctx) {
    struct exporter *e = ctx;
    e->loop.stop = true;
}

static int exporter_prepare(void *ctx, struct sandbox *sandbox, struct text *why) {
    static const struct channel_ops ops = {.rules = exporting_to_exporter, .message = on_events};
    struct exporter *e = ctx;
    struct otlp_endpoint endpoint;
    if (!otlp_endpoint_parse(e->conf->otlp.endpoint, &endpoint)) {
        text_add(why, "\"otlp.endpoint\" is no URL that this version takes");
        return ERR_FORMAT;
    }
    collector_init(&e->collector, &e->child.log, e->conf->otlp.endpoint);
    e->ports[0] = endpoint.port;
    e->ports[1] = DNS_PORT;
    sandbox->ports = e->ports;
    sandbox->nports = ARRAY_LEN(e->ports);
    e->end = (struct alarm_clock){.loop = &e->loop, .fn = stop_now, .ctx = e};
    channel_init(&e->observer, 1, &e->loop, EXPORTER_OBSERVER, &ops, e);
    write_batch_head(e);
    return begin_delivery(e, endpoint.scheme, why);
}

static bool exporter_turn_end(void *ctx) {
    struct exporter *e = ctx;
    collector_log(&e->collector, e->loop.now_ms, false);
    if (e->ending && e->observer.fd < 0 && delivery_done(&e->delivery))
        e->loop.stop = true;
    return false;
}

/* The observer reads the last events meanwhile, and closes its end behind them. */
static void exporter_finish(void *ctx) {
    struct exporter *e = ctx;
    e->ending = true;
    e->loop.stop = false;
    e->loop.now_ms = clock_mono_ms();
    alarm_clock_set(&e->end, EXPORTER_END_MS);
    delivery_hurry(&e->delivery);
    (void)!exporter_turn_end(e);
    if (!e->loop.stop)
        (void)!loop_run(&e->loop); /* it is the end anyway */
    drop_spans(e, delivery_stop(&e->delivery));
    collector_log(&e->collector, e->loop.now_ms, true);
    channel_close(&e->observer);
    otlp_headers_free(&e->headers);
}

static struct exporter exporter_process;
static const struct role_link exporter_links[] = {{ROLE_OBSERVER, link_exporter_to_observer}, {0, NULL}};
static const struct loop_timer exporter_timers[] = {{0, alarm_clock_ring, 0}, {0, NULL, 0}};

const struct role_table exporter_role = {
    .self = &exporter_process,
    .child = &exporter_process.child,
    .loop = &exporter_process.loop,
    .conf = &exporter_process.conf,
    .links = exporter_links,
    .timers = exporter_timers,
    .prepare = exporter_prepare,
    .turn_end = exporter_turn_end,
    .finish = exporter_finish,
};
