/*
 * Live sessions for the observer. One page a turn: at most LISTING_SCAN sessions are looked at, so that endless requests slow
 * traffic by no more than that.
 */
#include "relay/listing.h"

#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/err.h"
#include "relay/services.h"
#include "wire/listing.h"

static void lose_observer(struct relay *r) {
    loop_unwatch(&r->loop, r->observer);
    close(r->observer);
    r->observer = -1; /* its successor comes with a link of its own */
}

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
    struct listing_row row = {.state = s->waits == WAITS_MOVE ? LISTING_MIGRATING : states[s->state],
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

static void answer_listing(struct relay *r, const struct listing_ask *a) {
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
    int err = listing_page_send(r->observer, &page, next);
    if (err < 0 && err != ERR_AGAIN) /* with its queue full it asks again on its own */
        lose_observer(r);
}

void listing_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    struct relay *r = ctx;
    struct listing_ask ask;
    struct ipc_msg m;
    int err = 0;
    switch (ipc_recv(r->observer, r->child.scratch, sizeof(r->child.scratch), listing_to_relay, &m, &err)) {
    case STEP_DONE:
        if (listing_ask_read(&m, &ask) == 0)
            answer_listing(r, &ask);
        break;
    case STEP_WANT_READ:
        break;
    default:
        lose_observer(r);
    }
}

int listing_take_link(void *ctx, const struct control_peer *peer, int fd) {
    struct relay *r = ctx;
    if (r->observer >= 0)
        lose_observer(r);
    r->observer = fd;
    if (loop_watch(&r->loop, fd, EPOLLIN, RELAY_OBSERVER, 0, 0) == 0)
        return 0;
    lose_observer(r);
    return ERR_SYSTEM;
}
