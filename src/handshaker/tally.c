#include "handshaker/tally.h"

#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "handshaker/hand.h"
#include "tls/suite.h"

#define PUBLISH_MS 1000

static struct stats_page *page_of(struct hand *h) {
    return &h->child.stats;
}

static struct span service_of(const struct hand *h, const struct conn *c) {
    return span_str(h->services[c->service].conf->name);
}

static struct stats_block *block(struct hand *h, enum stats_kind kind, struct span service, struct span name) {
    return stats_block(page_of(h), kind, service, name);
}

/* ---- clients ---- */

void tally_client(struct hand *h, struct conn *c) {
    struct sketch *k = &page_of(h)->clients;
    uint8_t key[16];
    addr_client_key(&c->client, key);
    c->tracked = sketch_find(k, span_of(key, sizeof(key)));
    sketch_live(k, c->tracked, 1);
    sketch_add(k, c->tracked, SKETCH_HANDSHAKES, 1);
}

/* Not when its place went to somebody else meanwhile: what was lost is in the error of who comes next. */
static void add_to_client(struct hand *h, struct conn *c, enum sketch_value v) {
    struct sketch *k = &page_of(h)->clients;
    if (sketch_holds(k, c->tracked))
        sketch_add(k, c->tracked, v, 1);
}

/* ---- connections ---- */

void tally_service(struct hand *h, struct conn *c) {
    struct stats_block *b = block(h, STATS_SERVICE, service_of(h, c), span_of("", 0));
    c->counted_at = stats_handle(page_of(h), b);
    stats_change(b, STATS_HANDSHAKES_NOW, 1);
}

void tally_leave(struct hand *h, struct conn *c) {
    if (c->counted_at)
        stats_change(stats_at(page_of(h), c->counted_at), STATS_HANDSHAKES_NOW, -1);
    sketch_live(&page_of(h)->clients, c->tracked, -1);
    c->counted_at = 0;
    c->tracked = (struct sketch_ref){0};
}

/* The name as our certificates have it, so that clients cannot make up more of them. */
static struct span name_of(const struct hand *h, const struct conn *c, char to[static HELLO_NAME_MAX + 2]) {
    struct text t = text_of(to, HELLO_NAME_MAX + 2);
    const char *sni = c->asked ? c->asked->sni : "";
    const char *dot = strchr(sni, '.');
    switch (certs_lookup(h->certs, c->service, sni)) {
    case CREDS_EXACT:
        text_add(&t, sni);
        break;
    case CREDS_WILDCARD:
        text_addf(&t, "*%s", dot ? dot : "");
        break;
    default:
        text_add(&t, sni[0] ? STATS_OTHER : "");
    }
    return span_of(to, t.len);
}

static struct stats_block *name_block(struct hand *h, struct conn *c) {
    char name[HELLO_NAME_MAX + 2];
    return block(h, STATS_NAME, service_of(h, c), name_of(h, c, name));
}

static struct stats_block *suite_block(struct hand *h, const struct conn *c) {
    char name[96] = "passthrough";
    struct text t = text_of(name, sizeof(name));
    const struct suite *suite = c->result ? suite_by_id(c->result->suite) : NULL;
    if (suite)
        text_addf(&t, "%s/%s", c->result->version == TLS_1_3 ? "TLSv1.3" : "TLSv1.2", suite->name);
    return block(h, STATS_SUITE, span_of("", 0), span_str(name));
}

void tally_done(struct hand *h, struct conn *c) {
    struct stats_block *service = block(h, STATS_SERVICE, service_of(h, c), span_of("", 0)), *suite = suite_block(h, c);
    if (!c->result) {
        stats_add(service, STATS_PASSED_THROUGH, 1);
        stats_add(suite, STATS_PASSED_THROUGH, 1);
        return;
    }
    enum stats_value v = c->result->resumed ? STATS_HANDSHAKES_RESUMED : STATS_HANDSHAKES_FULL;
    stats_add(service, v, 1);
    stats_add(suite, v, 1);
    stats_add(name_block(h, c), v, 1);
    stats_observe(service, STATS_HANDSHAKE_US, c->handshake_us);
    stats_observe(suite, STATS_HANDSHAKE_US, c->handshake_us);
    add_to_client(h, c, c->result->resumed ? SKETCH_RESUMED : SKETCH_FULL);
}

void tally_failed(struct hand *h, struct conn *c) {
    struct span service = service_of(h, c);
    stats_add(block(h, STATS_SERVICE, service, span_of("", 0)), STATS_HANDSHAKES_FAILED, 1);
    stats_add(block(h, STATS_REASON, service, span_str(err_name(c->reason))), STATS_COUNT, 1);
    if (c->asked)
        stats_add(name_block(h, c), STATS_HANDSHAKES_FAILED, 1);
    add_to_client(h, c, SKETCH_FAILED);
}

/* ---- the process ---- */

void tally_publish(struct hand *h) {
    struct stats_page *p = page_of(h);
    uint32_t slot = 0;
    uint64_t libssl = 0, queue = 0, bytes = 0;
    for (struct conn *c; (c = slab_next(&h->conns, &slot));) {
        libssl += c->handshake != NULL;
        queue += c->state == CONN_DELIVER;
        bytes += buf_len(&c->in) + buf_len(&c->out);
    }
    stats_process_set(p, STATS_OBJECTS, h->conns.used);
    stats_process_set(p, STATS_SLAB_BYTES, (uint64_t)h->conns.used * sizeof(struct conn));
    stats_process_set(p, STATS_LIBSSL_NOW, libssl);
    stats_process_set(p, STATS_QUEUE, queue);
    stats_process_set(p, STATS_HANDSHAKE_BYTES, bytes);
    stats_publish_self(p);
    h->published = true;
}

/* One that does nothing is not woken to say so: the turn in which the timer fired does not arm it again by itself. */
void tally_turn(struct hand *h) {
    if (!h->published && !wtimer_armed(&h->stats_timer))
        wheel_arm(&h->loop.wheel, &h->stats_timer, h->loop.now_ms + PUBLISH_MS);
    h->published = false;
}
