/*
 * Live sessions for the observer. One page a turn: at most LISTING_SCAN sessions are looked at, so that endless requests slow
 * traffic by no more than that.
 */
#include "relay/session_list.h"

#include <string.h>

#include "base/err.h"
#include "relay/relay.h"
#include "relay/services.h"
#include "relay/session.h"
#include "relay/session_info.h"
#include "wire/listing.h"

static bool session_matches(const struct relay *r, const struct session *s, const struct listing_ask *a) {
    struct conn_info f;
    uint8_t client[16];
    if (s->state == SESSION_DEAD)
        return false;
    if (a->service.len && !span_eq(a->service, span_str(session_service(r, s)->name)))
        return false;
    if (!a->by_client && !a->name.len)
        return true;
    session_conn_info(s, &f);
    addr_client_key(&f.client, client);
    return (!a->by_client || memcmp(client, a->client, sizeof(client)) == 0) && (!a->name.len || span_eq(a->name, f.id.name));
}

static struct listing_row session_row(const struct relay *r, const struct session *s) {
    static const uint8_t states[SESSION_STATES] = {[SESSION_CONNECTING] = LISTING_CONNECTING,
                                                   [SESSION_PREFACE] = LISTING_CONNECTING,
                                                   [SESSION_OPEN] = LISTING_OPEN,
                                                   [SESSION_CLOSING] = LISTING_CLOSING};
    const struct conf_service *service = session_service(r, s);
    struct listing_row row = {.state = s->waits == WAITS_MIGRATION ? LISTING_MIGRATING : states[s->state],
                              .service = span_str(service->name)};
    if (s->chosen < service->nbackends)
        row.backend = span_str(service->backends[s->chosen].text);
    row.bytes_in = s->up.bytes;
    row.bytes_out = s->down.bytes;
    row.waiting_in = (uint32_t)MIN(s->up.wait.len, (size_t)UINT32_MAX);
    row.waiting_out = (uint32_t)MIN(s->down.wait.len, (size_t)UINT32_MAX);
    row.idle_ms = r->loop.now_ms > s->active_ms ? r->loop.now_ms - s->active_ms : 0;
    row.connect_us = s->connect_us;
    row.retries = s->retries;
    row.conn_info = span_of(s->conn_info, s->conn_info_len);
    return row;
}

/* ERR_AGAIN: its queue is full, and it asks again on its own. */
static int answer_listing(struct relay *r, const struct listing_ask *a) {
    static struct listing_page page; /* large; one at a time */
    const unsigned rows = MIN(a->max, LISTING_ROWS_MAX);
    uint32_t slot = a->from, next = LISTING_END;
    const struct session *s;
    listing_page_begin(&page, a->id);
    for (unsigned looked = 0; (s = slab_next(&r->sessions, &slot)); looked++) {
        struct listing_row row;
        bool full = looked == LISTING_SCAN || page.rows == rows;
        if (!full && !session_matches(r, s, a))
            continue;
        if (!full)
            row = session_row(r, s);
        if (!full && (listing_page_add(&page, &row) || page.rows == 0)) /* what no page has room for is omitted */
            continue;
        next = slot - 1;
        break;
    }
    return listing_page_send(r->observer.fd, &page, next);
}

static bool on_ask(void *ctx, struct channel *c, struct ipc_msg *m) {
    struct listing_ask ask;
    int err = listing_ask_read(m, &ask);
    if (err == 0)
        err = answer_listing(ctx, &ask);
    return err == 0 || err == ERR_AGAIN;
}

void session_list_init(struct relay *r) {
    static const struct channel_ops ops = {.rules = listing_to_relay, .message = on_ask};
    channel_init(&r->observer, 1, &r->loop, RELAY_OBSERVER, &ops, r);
}

int session_list_take_link(void *ctx, const struct control_peer *peer, int fd) {
    struct relay *r = ctx;
    return channel_open(&r->observer, fd);
}
