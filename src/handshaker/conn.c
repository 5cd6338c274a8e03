/*
 * The life of one connection until it is a session: states, deadlines, bytes in and out, and the end with its reason.
 */
#include "handshaker/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/rand.h"
#include "base/secret.h"
#include "handshaker/conn_metrics.h"
#include "handshaker/conn_report.h"
#include "handshaker/handoff_queue.h"
#include "handshaker/handshaker.h"
#include "handshaker/limits.h"
#include "handshaker/pace.h"
#include "handshaker/preread.h"
#include "handshaker/signing.h"
#include "handshaker/starttls.h"

#define CONN_EVENTS   (EPOLLIN | EPOLLRDHUP | EPOLLET)
#define CLOSING_READS 16   /* of a refused client's further bytes, an event */
#define CLOSING_MS    1000 /* for the client to close first, so that our last bytes are not lost to a reset */
#define LATE_MS       1000 /* to answer bytes that we were late to read */
#define CONN_PAUSE_MS 100  /* for a ClientHello on its way: it follows the client's end of the TCP handshake at once */

/* All states side by side. The handshake's deadline holds until the relay has the session; CLOSING has its own. */
static const struct {
    const char *waiting_for; /* NULL: what libssl waits for */
    bool reads;              /* the client's bytes are wanted */
    uint16_t next;           /* bits of the legal next states */
} states[CONN_STATES] = {
#define TO(s) (1u << CONN_##s)
    [CONN_HEADER] = {"PROXY header", true, TO(PAUSE) | TO(PRELUDE) | TO(HELLO) | TO(CLOSING) | TO(DEAD)},
    [CONN_PAUSE] = {"the client", true, TO(PRELUDE) | TO(HELLO) | TO(CLOSING) | TO(DEAD)},
    [CONN_PRELUDE] = {"STARTTLS", true, TO(GO_AHEAD) | TO(HELLO) | TO(QUEUED) | TO(CLOSING) | TO(DEAD)},
    [CONN_GO_AHEAD] = {"the client to read", false, TO(HELLO) | TO(CLOSING) | TO(DEAD)},
    [CONN_HELLO] = {"ClientHello", true, TO(HANDSHAKE) | TO(SIGNER) | TO(QUEUED) | TO(CLOSING) | TO(DEAD)},
    [CONN_HANDSHAKE] = {NULL, true, TO(SIGNER) | TO(FLUSH) | TO(CLOSING) | TO(DEAD)},
    [CONN_SIGNER] = {"the signer", false, TO(HANDSHAKE) | TO(CLOSING) | TO(DEAD)},
    [CONN_FLUSH] = {"the client to read", false, TO(QUEUED) | TO(DEAD)},
    [CONN_QUEUED] = {"a relay", false, TO(CLOSING) | TO(DEAD)},
    [CONN_CLOSING] = {"", false, TO(DEAD)},
    [CONN_DEAD] = {"", false, 0},
#undef TO
};

static const char http_answer[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
                                  "This port speaks TLS. Use https:// instead of http://.\n";

static uint64_t handshake_ms(const struct handshaker *h, const struct conn *c) {
    return h->conf->listeners[c->listener].handshake_ms;
}

/* Of the handshake as a whole, since accept; with a time over, at the next turn. */
static void arm_deadline(struct handshaker *h, struct conn *c) {
    if (handshake_ms(h, c) != CONF_NEVER)
        wheel_arm(&h->loop.wheel, &c->timer, c->accepted_us / 1000 + handshake_ms(h, c));
    else
        wheel_cancel(&h->loop.wheel, &c->timer);
}

void conn_goto(struct handshaker *h, struct conn *c, enum conn_state state) {
    MUST(states[c->state].next & 1u << state);
    if (c->state == CONN_PAUSE && state != CONN_CLOSING && state != CONN_DEAD)
        arm_deadline(h, c);
    if (state == CONN_PAUSE)
        wheel_arm(&h->loop.wheel, &c->timer, h->loop.now_ms + MIN((uint64_t)CONN_PAUSE_MS, handshake_ms(h, c) / 4));
    c->state = (uint8_t)state;
    if (state == CONN_CLOSING) {
        list_remove(&c->link); /* a signer that comes back finds only those that still wait for it */
        wheel_arm(&h->loop.wheel, &c->timer, h->loop.now_ms + CLOSING_MS);
    }
    if (state == CONN_QUEUED)
        handoff_queue_add(h, c);
}

static const char *waiting_for(const struct conn *c) {
    const char *text = states[c->state].waiting_for;
    return text ? text : handshake_waiting_for(c->handshake);
}

void conn_count(struct handshaker *h, const struct conn *c, int change) {
    if (c->client_counted)
        scoreboard_client(&h->row, &c->client, change);
    if (c->service_counted)
        scoreboard_service(&h->row, c->service, change);
    if (c->name_counted)
        scoreboard_name(&h->row, c->service, span_str(conn_said_name(c)), change);
}

void conn_end(struct handshaker *h, struct conn *c) {
    if (c->state == CONN_DEAD)
        return;
    conn_count(h, c, -1);
    conn_metrics_leave(h, c);
    budget_leave(h, c);
    list_remove(&c->link);
    wheel_cancel(&h->loop.wheel, &c->timer);
    handshake_free(c->handshake);
    if (c->result) {
        record_layer_wipe(&c->result->record_layer);
        free(c->result);
    }
    free(c->hello_info);
    buf_fini(&c->in);
    buf_fini(&c->out);
    close(c->fd);
    c->handshake = NULL;
    c->result = NULL;
    c->hello_info = NULL;
    conn_goto(h, c, CONN_DEAD);
    list_push(&h->dead, &c->link);
}

/* Most clients take all at once: EPOLLOUT is watched only after a short write. False when that fails. */
static bool watch_room(struct handshaker *h, struct conn *c) {
    if (c->wants_out)
        return true;
    c->wants_out = true;
    return loop_rewatch(&h->loop, c->fd, CONN_EVENTS | EPOLLOUT, HANDSHAKER_CONN, c->item.slot, LOOP_GEN(c->item.gen)) == 0;
}

bool conn_flush(struct handshaker *h, struct conn *c) {
    while (buf_len(&c->out)) {
        struct span s = buf_span(&c->out);
        ssize_t n = send(c->fd, s.p, s.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
            return (errno == EAGAIN || errno == EINTR) && watch_room(h, c);
        buf_consume(&c->out, (size_t)n);
    }
    return true;
}

/* Whether there are bytes of a client that is gone: it may have closed without reading our tickets, which resets the connection
 * behind its request. */
static bool has_sent_more(const struct conn *c) {
    uint8_t byte;
    return buf_len(&c->in) > 0 || recv(c->fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* The same of a finished handshake's last bytes, which need not be read: a client that has sent more is served. */
static bool flush_last(struct handshaker *h, struct conn *c) {
    if (conn_flush(h, c))
        return true;
    if (c->result->version != TLS_1_3 || !has_sent_more(c))
        return false;
    buf_consume(&c->out, buf_len(&c->out)); /* a ticket that nobody reads */
    return true;
}

/* The alert or answer that a reason calls for, unless libssl has put its own alert into OUT already. */
static void put_answer(struct conn *c, int reason) {
    if (reason == ERR_PLAIN_HTTP && buf_len(&c->out))
        return; /* it was redirected */
    if (reason == ERR_PLAIN_HTTP) {
        (void)!buf_append(&c->out, http_answer, sizeof(http_answer) - 1); /* without memory: no answer */
        return;
    }
    if (c->state == CONN_PAUSE || c->state == CONN_PRELUDE) {
        starttls_last_words(c, reason);
        return;
    }
    if (c->handshake) {
        handshake_alert(c->handshake, reason);
        return;
    }
    int alert = err_alert(reason);
    if (alert == ALERT_NONE)
        return;
    const uint8_t record[] = {CONTENT_ALERT, 3, 3, 0, 2, 2, (uint8_t)alert};
    (void)!buf_append(&c->out, record, sizeof(record));
}

static void reset_on_close(int fd) {
    static const struct linger at_once = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)); /* refused: an orderly end says no more */
}

/* Ends a connection that got its answer: when the client has closed, or when the time is up. */
static void await_client_close(struct handshaker *h, struct conn *c) {
    if (!conn_flush(h, c)) {
        conn_end(h, c);
        return;
    }
    if (buf_len(&c->out))
        return;
    if (c->fin_seen)
        conn_end(h, c);
    else
        (void)shutdown(c->fd, SHUT_WR); /* a client that is gone is noticed at the next read */
}

void conn_fail(struct handshaker *h, struct conn *c, int reason) {
    if (c->reason)
        return;
    c->reason = reason;
    if (c->mute)
        reset_on_close(c->fd);
    else
        put_answer(c, reason);
    conn_report_failure(h, c);
    conn_metrics_failed(h, c);
    if (reason <= ERR_CLIENT_NOT_ALLOWED && reason >= ERR_CLIENT_CERT_UNKNOWN_CA)
        limits_charge(h, c);
    handshake_free(c->handshake); /* nothing large is kept for a client that may be slow to close */
    c->handshake = NULL;
    bool over_limit = reason == ERR_ACCESS_DENIED || reason == ERR_JA4_DENIED || reason == ERR_CLIENT_RATE ||
                      reason == ERR_CLIENT_SESSIONS || reason == ERR_NAME_RATE || reason == ERR_SERVICE_RATE ||
                      reason == ERR_NAME_SESSIONS || reason == ERR_PROXY_UNTRUSTED;
    if (over_limit || c->mute || reason == ERR_HANDSHAKE_RESET || c->state == CONN_QUEUED || c->state == CONN_FLUSH) {
        conn_end(h, c);
        return;
    }
    conn_goto(h, c, CONN_CLOSING);
    await_client_close(h, c);
}

void conn_cut(struct handshaker *h, struct conn *c, int reason) {
    if (!c->reason && c->state != CONN_DEAD) { /* the dead stay until the end of the turn */
        c->reason = reason;
        c->stage = waiting_for(c);
        conn_report_failure(h, c);
        conn_metrics_failed(h, c);
    }
    conn_end(h, c);
}

static bool read_some(struct handshaker *h, struct conn *c);

/* Whether a connection whose time is over was waiting for us: then it continues. */
static bool was_waiting_for_us(struct handshaker *h, struct conn *c) {
    if (c->state == CONN_GO_AHEAD)
        (void)starttls_go_on(h, c); /* what came of it is the state */
    bool came = states[c->state].reads && read_some(h, c);
    if (c->state == CONN_SIGNER && c->handshake && !handshake_wants_signature(c->handshake))
        came = true; /* its signature has, in this turn */
    if (c->state == CONN_FLUSH && conn_flush(h, c) && buf_len(&c->out) == 0)
        conn_goto(h, c, CONN_QUEUED);
    if (c->state == CONN_QUEUED)
        handoff_queue_last_try(h, c);
    if (c->state == CONN_DEAD || c->state == CONN_CLOSING)
        return true;
    if (!came || c->late)
        return false;
    c->late = true;
    wheel_arm(&h->loop.wheel, &c->timer, h->loop.now_ms + LATE_MS);
    return true;
}

void conn_timeout(void *ctx, struct wtimer *t) {
    struct handshaker *h = ctx;
    struct conn *c = CONTAINER_OF(t, struct conn, timer);
    if (c->state == CONN_CLOSING) {
        conn_end(h, c);
        return;
    }
    if (c->state == CONN_PAUSE) {
        (void)read_some(h, c); /* all input is processed */
        if (c->state == CONN_PAUSE)
            starttls_greet(h, c);
        budget_charge(h, c);
        return;
    }
    if (was_waiting_for_us(h, c)) {
        budget_charge(h, c);
        return;
    }
    c->stage = waiting_for(c);
    int reason = c->state == CONN_QUEUED ? ERR_NO_RELAY : c->state == CONN_SIGNER ? ERR_SIGNER_TIMEOUT : ERR_HANDSHAKE_TIMEOUT;
    conn_fail(h, c, reason);
    budget_charge(h, c);
}

/*
 * With its ticket sent before, nothing of ours follows the client's Finished: our acknowledgement of it would come 40 ms later,
 * and a client with Nagle's algorithm on holds its request back until then. Not where it has sent more already. (TLS 1.2 is
 * left as everybody has it.)
 */
static void acknowledge_finished(const struct conn *c) {
    static const int now = 1;
    if (c->result->version == TLS_1_3 && buf_len(&c->out) == 0 && buf_len(&c->in) == 0)
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &now, sizeof(now)); /* without it the client waits */
}

/* Exports the session and sends our last bytes. */
static void finish_handshake(struct handshaker *h, struct conn *c) {
    c->handshake_us = (uint32_t)(clock_mono_us() - c->accepted_us);
    c->result = calloc(1, sizeof(*c->result));
    int err = c->result ? handshake_finish(c->handshake, c->result) : ERR_NOMEM;
    if (err < 0) {
        conn_fail(h, c, err);
        return;
    }
    conn_metrics_done(h, c);
    acknowledge_finished(c);
    if (!flush_last(h, c)) {
        conn_fail(h, c, ERR_HANDSHAKE_RESET);
        return;
    }
    conn_goto(h, c, CONN_FLUSH);
    if (buf_len(&c->out) == 0)
        conn_goto(h, c, CONN_QUEUED);
}

static void handshake_on(struct handshaker *h, struct conn *c) {
    struct span left = buf_span(&c->in);
    size_t before = left.len;
    enum step step = handshake_step(c->handshake, &left);
    signing_note(h);
    if (step == STEP_FAILED) {
        int err = handshake_error(c->handshake, &c->alert);
        if (err == ERR_SIGNER_TIMEOUT && !c->under_way) { /* the ClientHello still lies in IN */
            signing_wait(h, c);
            return;
        }
        buf_consume(&c->in, before - left.len);
        conn_fail(h, c, err);
        return;
    }
    c->under_way = true;
    buf_consume(&c->in, before - left.len);
    if (step == STEP_DONE)
        finish_handshake(h, c);
    else if (handshake_wants_signature(c->handshake))
        signing_want(h, c); /* what is to be sent leaves behind it, at once */
    else if (!conn_flush(h, c))
        conn_fail(h, c, ERR_HANDSHAKE_RESET);
}

/* Processes the bytes that wait, as far as they go. */
static void advance_conn(struct handshaker *h, struct conn *c) {
    if (c->state == CONN_HEADER && !preread_header(h, c))
        return;
    if ((c->state == CONN_PAUSE || c->state == CONN_PRELUDE) && !starttls_talk(h, c))
        return;
    if (c->state == CONN_HELLO && (buf_len(&c->in) == 0 || !preread_hello(h, c)))
        return;
    if (c->state == CONN_HANDSHAKE)
        handshake_on(h, c);
}

void conn_ended(struct handshaker *h, struct conn *c, int reason) {
    c->fin_seen = true;
    c->stage = waiting_for(c);
    conn_fail(h, c, reason);
}

/* A refused client: only its end is of interest. What it still sends is dropped, up to a bound. */
static void drain(struct handshaker *h, struct conn *c) {
    for (int i = 0; i < CLOSING_READS; i++) {
        ssize_t n = recv(c->fd, h->read_scratch, sizeof(h->read_scratch), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            c->fin_seen = true;
            conn_end(h, c);
            return;
        }
    }
}

/* True when bytes from the client were read. */
static bool read_some(struct handshaker *h, struct conn *c) {
    bool came = false;
    while (states[c->state].reads) {
        size_t room = MIN((size_t)HANDSHAKER_READ_MAX, HANDSHAKER_IN_MAX - buf_len(&c->in));
        ssize_t n = recv(c->fd, h->read_scratch, room, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            c->unread = false;
            break;
        }
        if (n <= 0) {
            conn_ended(h, c, n < 0 ? ERR_HANDSHAKE_RESET : ERR_HANDSHAKE_CLOSED);
            break;
        }
        came = true;
        c->unread = (size_t)n == room || c->end_reported; /* a short read has emptied the socket */
        if (buf_append(&c->in, h->read_scratch, (size_t)n) < 0) {
            conn_fail(h, c, buf_len(&c->in) + (size_t)n > HANDSHAKER_IN_MAX ? ERR_LIMIT : ERR_NOMEM);
            break;
        }
        advance_conn(h, c);
        if (!c->unread)
            break;
    }
    return came;
}

void conn_resume(struct handshaker *h, struct conn *c) {
    if (c->handshake)
        conn_goto(h, c, CONN_HANDSHAKE);
    else if (!preread_again(h, c))
        return;
    advance_conn(h, c);
    if (c->state != CONN_DEAD && c->unread)
        (void)read_some(h, c); /* bytes that arrived meanwhile have raised their event already */
    budget_charge(h, c);
}

void conn_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    struct handshaker *h = ctx;
    struct conn *c = slab_get(&h->conns, key, gen);
    if (!c || c->state == CONN_DEAD)
        return;
    if (c->state == CONN_GO_AHEAD && starttls_go_on(h, c)) {
        events |= EPOLLIN;
    } else if (events & EPOLLOUT && buf_len(&c->out) && c->state != CONN_GO_AHEAD) {
        if (c->state == CONN_CLOSING) {
            await_client_close(h, c);
        } else if (c->state == CONN_FLUSH ? !flush_last(h, c) : !conn_flush(h, c)) {
            conn_fail(h, c, ERR_HANDSHAKE_RESET);
        } else if (c->state == CONN_FLUSH && buf_len(&c->out) == 0) {
            conn_goto(h, c, CONN_QUEUED);
        }
    }
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        c->end_reported = true;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        c->unread = true;
        if (c->state == CONN_CLOSING)
            drain(h, c);
        else if (c->state == CONN_SIGNER && c->end_reported) /* it cannot finish any more */
            conn_ended(h, c, events & EPOLLERR ? ERR_HANDSHAKE_RESET : ERR_HANDSHAKE_CLOSED);
        else
            (void)read_some(h, c); /* all input is processed */
    }
    budget_charge(h, c);
    pace(h);
}

static void local_address(int fd, struct addr *ret) {
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
        memset(ret, 0, sizeof(*ret));
    else
        addr_from_sockaddr(&ss, ret);
}

bool conn_start(struct handshaker *h, int fd, uint16_t listener, const struct addr *peer) {
    const struct conf_listener *at = &h->conf->listeners[listener];
    struct conn *c = slab_alloc(&h->conns);
    if (!c) {
        close(fd);
        return false;
    }
    c->unique_id[0] = rand_u64(); /* from a pool: no system call each */
    c->unique_id[1] = rand_u64();
    list_init(&c->link);
    list_init(&c->held);
    buf_init(&c->in, HANDSHAKER_IN_MAX);
    buf_init(&c->out, HANDSHAKER_OUT_MAX);
    c->fd = fd;
    c->listener = listener;
    c->service = at->services[0];
    c->peer = c->client = *peer;
    local_address(fd, &c->local);
    c->accepted_us = clock_mono_us();
    c->accepted_wall_us = clock_wall_us();
    conn_metrics_accepted(h, c);
    c->state = CONN_HEADER;
    arm_deadline(h, c);
    if (!at->proxy_accept)
        conn_goto(h, c, starttls_first_state(h, c));
    int err = at->proxy_accept ? limits_peer(h, c) : limits_client(h, c);
    if (err == 0)
        err = budget_enter(h, c);
    if (err == 0 && loop_watch(&h->loop, fd, CONN_EVENTS, HANDSHAKER_CONN, c->item.slot, LOOP_GEN(c->item.gen)) < 0)
        err = ERR_SYSTEM;
    if (err < 0)
        conn_fail(h, c, err);
    else
        (void)read_some(h, c); /* all input is processed */
    budget_charge(h, c);
    return true;
}
