#include "handshaker/conn_metrics.h"

#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"
#include "base/trace_points.h"
#include "handshaker/conn.h"
#include "handshaker/conn_report.h"
#include "handshaker/conn_trace.h"
#include "handshaker/handshaker.h"
#include "tls/suite.h"

#define PUBLISH_MS 1000

static struct stats_page *handshaker_page(struct handshaker *h) {
    return &h->child.stats;
}

static struct span service_of(const struct handshaker *h, const struct conn *c) {
    return span_str(h->services[c->service].conf->name);
}

static struct stats_block *block_of_kind(struct handshaker *h, enum stats_kind kind, struct span service, struct span name) {
    return stats_block(handshaker_page(h), kind, service, name);
}

/* ---- tracing ---- */

struct traced {
    char id[TRACE_ID_MAX], client[ADDR_TEXT_MAX];
    uint64_t us; /* since accept */
};

static struct traced traced(const struct conn *c) {
    struct traced t = {.us = clock_mono_us() - c->accepted_us};
    trace_id(c->unique_id, t.id);
    addr_ip_text(&c->client, t.client);
    return t;
}

void conn_metrics_accepted(struct handshaker *h, const struct conn *c) {
    if (STATS_OFF)
        return;
    stats_process_add(handshaker_page(h), STATS_ACCEPTED, 1);
    if (tracers_any(h->child.tracers))
        conn_trace(h, c, TRACED_ACCEPT, NULL);
    if (TRACE_ON(accept)) {
        struct traced t = traced(c);
        TRACE(accept, &t.id[0], &t.client[0], c->client.port);
    }
}

void conn_metrics_hello(struct handshaker *h, const struct conn *c) {
    if (STATS_OFF)
        return;
    if (tracers_any(h->child.tracers))
        conn_trace(h, c, TRACED_HELLO, NULL);
    if (TRACE_ON(hello)) {
        struct traced t = traced(c);
        TRACE(hello, &t.id[0], &t.client[0], conn_sni(c), t.us);
    }
}

void conn_metrics_handed_over(struct handshaker *h, const struct conn *c, uint16_t relay) {
    if (STATS_OFF)
        return;
    stats_process_add(handshaker_page(h), STATS_HANDED_OVER, 1);
    if (TRACE_ON(handoff)) {
        struct traced t = traced(c);
        TRACE(handoff, &t.id[0], &t.client[0], h->services[c->service].conf->name, t.us, relay);
    }
}

/* ---- clients ---- */

static struct sketch_ref track_in_sketch(struct sketch *k, struct span client) {
    struct sketch_ref ref = sketch_find(k, client);
    sketch_live(k, ref, 1);
    sketch_add(k, ref, SKETCH_HANDSHAKES, 1);
    return ref;
}

void conn_metrics_client(struct handshaker *h, struct conn *c) {
    if (STATS_OFF)
        return;
    uint8_t key[16];
    addr_client_key(&c->client, key);
    c->tracked = track_in_sketch(&handshaker_page(h)->clients, span_of(key, sizeof(key)));
}

/*
 * Only a finished handshake has proved the name, by the client's signature or by its ticket. Before that anyone could show
 * another client's certificate: failures there, refusals by the rules too, count for the address alone.
 */
static void track_name(struct handshaker *h, struct conn *c) {
    struct sketch *k = &handshaker_page(h)->names;
    const struct client_id *id = c->result->client;
    uint8_t key[SKETCH_KEY_MAX];
    if (id && id->name_len)
        c->hello_info->named = track_in_sketch(k, sketch_name_key(k, span_of(id->name, id->name_len), key));
}

/* Not when the entry went to another client meanwhile: what was lost is in the error of the next one. */
static void add_to_client(struct handshaker *h, const struct conn *c, enum sketch_value v) {
    struct sketch *clients = &handshaker_page(h)->clients, *names = &handshaker_page(h)->names;
    if (sketch_holds(clients, c->tracked))
        sketch_add(clients, c->tracked, v, 1);
    if (c->hello_info && sketch_holds(names, c->hello_info->named))
        sketch_add(names, c->hello_info->named, v, 1);
}

void conn_metrics_let_in(struct handshaker *h, const struct conn *c) {
    if (!STATS_OFF && sketch_holds(&handshaker_page(h)->clients, c->tracked))
        sketch_add(&handshaker_page(h)->clients, c->tracked, SKETCH_LIMITED, 1);
}

/* ---- connections ---- */

void conn_metrics_service(struct handshaker *h, struct conn *c) {
    if (STATS_OFF)
        return;
    struct stats_block *b = block_of_kind(h, STATS_SERVICE, service_of(h, c), span_of("", 0));
    c->counted_at = stats_handle(handshaker_page(h), b);
    stats_change(b, STATS_HANDSHAKES_NOW, 1);
}

void conn_metrics_access(struct handshaker *h, const struct conn *c, const char *by, bool admitted) {
    if (STATS_OFF)
        return;
    struct span list = span_str(by);
    size_t over = list.len > STATS_NAME_MAX ? list.len - STATS_NAME_MAX : 0;
    struct stats_block *b = block_of_kind(h, STATS_ACCESS, service_of(h, c), span_of(list.p + over, list.len - over));
    stats_add(b, admitted ? STATS_ADMITTED : STATS_DENIED, 1);
}

void conn_metrics_leave(struct handshaker *h, struct conn *c) {
    if (STATS_OFF)
        return;
    if (c->counted_at)
        stats_change(stats_at(handshaker_page(h), c->counted_at), STATS_HANDSHAKES_NOW, -1);
    sketch_live(&handshaker_page(h)->clients, c->tracked, -1);
    c->counted_at = 0;
    c->tracked = (struct sketch_ref){0};
    if (!c->hello_info)
        return;
    sketch_live(&handshaker_page(h)->names, c->hello_info->named, -1);
    c->hello_info->named = (struct sketch_ref){0};
}

static struct stats_block *name_block(struct handshaker *h, struct conn *c, enum matched_name as) {
    char name[MATCHED_NAME_MAX];
    return block_of_kind(h, STATS_NAME, service_of(h, c), conn_info_served_name(as, span_str(conn_sni(c)), name));
}

static struct stats_block *suite_block(struct handshaker *h, const struct conn *c) {
    char name[96];
    struct text t = text_of(name, sizeof(name));
    suite_label(c->result ? suite_by_id(c->result->suite) : NULL, &t);
    return block_of_kind(h, STATS_SUITE, span_of("", 0), span_of(name, t.len));
}

void conn_metrics_done(struct handshaker *h, struct conn *c) {
    if (STATS_OFF)
        return;
    struct stats_block *service = block_of_kind(h, STATS_SERVICE, service_of(h, c), span_of("", 0)), *suite = suite_block(h, c);
    if (!c->result) {
        stats_add(service, STATS_PASSED_THROUGH, 1);
        stats_add(suite, STATS_PASSED_THROUGH, 1);
        return;
    }
    stats_process_add(handshaker_page(h), handshake_is_own(c->handshake) ? STATS_BY_OWN : STATS_BY_LIBSSL, 1);
    stats_process_add(handshaker_page(h), STATS_CERTS_COMPRESSED, c->result->cert_compression != 0);
    enum stats_value v = c->result->resumed ? STATS_HANDSHAKES_RESUMED : STATS_HANDSHAKES_FULL;
    stats_add(service, v, 1);
    stats_add(suite, v, 1);
    struct conn_info served = {0};
    conn_fill_served(h, c, &served);
    stats_add(name_block(h, c, (enum matched_name)served.matched_name), v, 1);
    if (served.cert_file.len)
        stats_add(block_of_kind(h, STATS_CERT, service_of(h, c), served.cert_file), v, 1);
    stats_observe(service, STATS_HANDSHAKE_US, c->handshake_us);
    stats_observe(suite, STATS_HANDSHAKE_US, c->handshake_us);
    track_name(h, c);
    add_to_client(h, c, c->result->resumed ? SKETCH_RESUMED : SKETCH_FULL);
    if (tracers_any(h->child.tracers))
        conn_trace(h, c, TRACED_HANDSHAKE, NULL);
    if (TRACE_ON(handshake)) {
        struct traced t = traced(c);
        TRACE(handshake, &t.id[0], &t.client[0], h->services[c->service].conf->name, c->handshake_us, c->result->resumed,
              c->result->suite);
    }
}

void conn_metrics_failed(struct handshaker *h, struct conn *c) {
    if (STATS_OFF)
        return;
    struct span service = service_of(h, c);
    stats_add(block_of_kind(h, STATS_SERVICE, service, span_of("", 0)), STATS_HANDSHAKES_FAILED, 1);
    stats_add(block_of_kind(h, STATS_REASON, service, span_str(err_name(c->reason))), STATS_HANDSHAKES_FAILED, 1);
    uint32_t entries[CREDS_SLOTS];
    if (c->hello_info)
        stats_add(name_block(h, c, conn_matched_name(h, c, entries)), STATS_HANDSHAKES_FAILED, 1);
    add_to_client(h, c, SKETCH_FAILED);
    if (TRACE_ON(failed)) {
        struct traced t = traced(c);
        TRACE(failed, &t.id[0], &t.client[0], h->services[c->service].conf->name, t.us, err_name(c->reason));
    }
}

/* ---- the process ---- */

void conn_metrics_publish(void *ctx, struct wtimer *t) {
    struct handshaker *h = ctx;
    struct stats_page *p = handshaker_page(h);
    uint32_t slot = 0;
    uint64_t libssl = 0, queue = 0, bytes = 0;
    for (struct conn *c; (c = slab_next(&h->conns, &slot));) {
        libssl += c->handshake != NULL;
        queue += c->state == CONN_QUEUED;
        bytes += conn_bytes(c);
    }
    stats_process_set(p, STATS_OBJECTS, h->conns.used);
    stats_process_set(p, STATS_SLAB_BYTES, (uint64_t)h->conns.used * sizeof(struct conn));
    stats_process_set(p, STATS_LIBSSL_NOW, libssl);
    stats_process_set(p, STATS_OWN_FAILED, h->own_failed);
    stats_process_set(p, STATS_QUEUE, queue);
    stats_process_set(p, STATS_HANDSHAKE_BYTES, bytes);
    child_warn_unlocked(&h->child, &h->conns);
    stats_publish_self(p);
    h->published = true;
}

/* An idle process is not woken to publish: the turn in which the timer fired does not arm it again on its own. */
void conn_metrics_turn(struct handshaker *h) {
    if (STATS_OFF)
        return;
    if (!h->published && !wtimer_armed(&h->stats_timer))
        wheel_arm(&h->loop.wheel, &h->stats_timer, h->loop.now_ms + PUBLISH_MS);
    h->published = false;
}
