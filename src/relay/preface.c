#include "relay/preface.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/err.h"
#include "relay/connect.h"
#include "relay/flow.h"
#include "relay/greeting.h"
#include "relay/proxy_header.h"
#include "relay/relay.h"
#include "relay/session.h"
#include "relay/session_info.h"

/* It waits, and leaves with the first turn. */
static int put_proxy_header(struct relay *r, struct session *s) {
    struct conn_info f;
    uint8_t header[PROXY_HEADER_MAX];
    struct wr w = wr_of(header, sizeof(header));
    session_conn_info(s, &f);
    proxy_header_write(&w, session_service(r, s), &f);
    session_forget_cert(s, &f);
    return wr_end(&w) ? chain_append(&r->pool, &s->up.wait, wr_written(&w)) : ERR_LIMIT;
}

void preface_begin(struct relay *r, struct session *s) {
    int err = put_proxy_header(r, s);
    if (err < 0)
        session_fail(r, s, err);
    else
        session_goto(r, s, s->greeting ? SESSION_PREFACE : SESSION_OPEN);
}

/* ---- the greeting ---- */

/* N bytes that are known to be there. */
static bool swallow(struct relay *r, struct session *s, size_t n) {
    while (n) {
        ssize_t got = recv(s->backend.fd, r->in, n, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        n -= (size_t)got;
    }
    return true;
}

static void greeting_fails(struct relay *r, struct session *s, const struct greeting_end *end) {
    connect_no_welcome(r, s, end->err);
    if (end->len)
        flow_pass_down(r, s, end->len);
    if (end->len)
        session_stop(r, s, end->err); /* in good order: it has been sent the reason */
    else
        session_fail(r, s, end->err);
}

/* Behind N bytes, which are no whole greeting and of no use to anybody: how it ended shows behind them. */
static void backend_ends(struct relay *r, struct session *s, size_t n) {
    uint8_t byte;
    bool reset = swallow(r, s, n) && recv(s->backend.fd, &byte, 1, MSG_DONTWAIT) < 0 && errno != EAGAIN && errno != EINTR;
    connect_no_welcome(r, s, reset ? ERR_BACKEND_RESET : ERR_GREETING_CLOSED);
    if (reset) {
        flow_backend_reset(r, s);
        return;
    }
    s->backend.end = END_CLOSE;
    s->down.readable = false;
    session_fail(r, s, ERR_GREETING_CLOSED);
}

static void judge_greeting(struct relay *r, struct session *s, struct span bytes) {
    struct greeting_end end = {0};
    switch (greeting_read((enum greeting)s->greeting, bytes, &end)) {
    case STEP_DONE:
        if (!swallow(r, s, end.len)) {
            session_fail(r, s, ERR_SYSTEM);
            break;
        }
        s->greeting = GREETING_NONE;
        connect_welcome(r, s);
        session_goto(r, s, SESSION_OPEN);
        break;
    case STEP_WANT_READ:
        s->down.readable = false; /* more bytes are another event, */
        if (s->backend.ended)     /* but an end has had its own */
            backend_ends(r, s, bytes.len);
        break;
    default:
        greeting_fails(r, s, &end);
    }
}

static void look_at_greeting(struct relay *r, struct session *s) {
    ssize_t n = recv(s->backend.fd, r->in, GREETING_MAX, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0) {
        judge_greeting(r, s, span_of(r->in, (size_t)n));
    } else if (n == 0) {
        backend_ends(r, s, 0);
    } else if (errno == EAGAIN) {
        s->down.readable = false;
    } else if (errno != EINTR) {
        connect_no_welcome(r, s, ERR_BACKEND_RESET);
        flow_backend_reset(r, s);
    }
}

bool preface_has_work(const struct session *s) {
    return s->up.wait.len ? !s->up.blocked : s->down.readable;
}

void preface_step(struct relay *r, struct session *s) {
    bool sent = s->up.wait.len == 0 || flow_flush(r, s, &s->up) || s->up.state == FLOW_BROKEN;
    if (sent && s->state == SESSION_PREFACE && s->down.readable)
        look_at_greeting(r, s);
}

void preface_timeout(struct relay *r, struct session *s) {
    if (r->loop.now_ms < s->deadline_ms) {
        wheel_arm(&r->loop.wheel, &s->timer, s->deadline_ms);
    } else {
        connect_no_welcome(r, s, ERR_GREETING_TIMEOUT);
        session_fail(r, s, ERR_GREETING_TIMEOUT);
    }
}
