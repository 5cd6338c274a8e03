/*
 * See starttls.h. The rule against injection is in one place, starttls_go_on(), for all protocols: when the go-ahead leaves,
 * neither the buffer nor the socket holds a byte of the client's; the prelude is forgotten when it has left; and the next byte
 * must begin a TLS handshake (preread_hello()). A byte that arrives between the look and the send is caught by the last of
 * these, or is TLS.
 */
#include "handshaker/starttls.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "handshaker/conn_metrics.h"
#include "handshaker/handshaker.h"
#include "handshaker/preread.h"

enum conn_state starttls_first_state(const struct handshaker *h, struct conn *c) {
    enum starttls protocol = h->conf->listeners[c->listener].starttls;
    if (protocol == STARTTLS_NONE)
        return CONN_HELLO;
    c->prelude = (struct prelude){.protocol = (uint8_t)protocol};
    return prelude_protocol(protocol)->greeting ? CONN_PAUSE : CONN_PRELUDE;
}

/* 0 when the client has said nothing more; or why it ends here. */
static int socket_silent(const struct conn *c) {
    uint8_t first;
    ssize_t n = recv(c->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0)
        return ERR_STARTTLS_INJECTION;
    if (n == 0)
        return ERR_HANDSHAKE_CLOSED;
    return errno == EAGAIN || errno == EINTR ? 0 : ERR_HANDSHAKE_RESET;
}

/* Queues what is to be said. False when there is no memory for it. */
static bool queue_answer(struct handshaker *h, struct conn *c, const struct wr *answer) {
    MUST(wr_end(answer)); /* PRELUDE_ANSWER_MAX */
    int err = answer->len ? buf_append(&c->out, answer->p, answer->len) : 0;
    if (err < 0)
        conn_fail(h, c, err);
    return err == 0;
}

/* Sends what is queued, as far as the client takes it. */
static bool send_queued(struct handshaker *h, struct conn *c) {
    if (conn_flush(h, c))
        return true;
    conn_fail(h, c, ERR_HANDSHAKE_RESET);
    return false;
}

void starttls_greet(struct handshaker *h, struct conn *c) {
    uint8_t room[PRELUDE_ANSWER_MAX];
    struct wr answer = wr_of(room, sizeof(room));
    prelude_greet(&c->prelude, &answer);
    conn_goto(h, c, CONN_PRELUDE);
    if (queue_answer(h, c, &answer))
        (void)send_queued(h, c); /* has ended the connection otherwise */
}

/* The client's last word before TLS is answered by ANSWER, unless something stands behind it. */
static bool begin_go_ahead(struct handshaker *h, struct conn *c, const struct wr *answer) {
    if (buf_len(&c->in)) {
        conn_fail(h, c, ERR_STARTTLS_INJECTION);
        return false;
    }
    if (!queue_answer(h, c, answer))
        return false;
    conn_goto(h, c, CONN_GO_AHEAD);
    return starttls_go_on(h, c);
}

/*
 * The CancelRequest at the front of IN, LEN bytes, goes to a backend as it is and alone: the client's side is shut, so that the
 * relay sees its end.
 */
static void pass_cancel(struct handshaker *h, struct conn *c, size_t len) {
    int err = preread_nameless(h, c);
    if (err == 0 && (!h->services[c->service].conf->cancel_pass || buf_len(&c->out))) /* a queued session has sent all */
        err = ERR_STARTTLS_CANCEL;
    if (err == 0)
        err = buf_len(&c->in) > len ? ERR_STARTTLS_INJECTION : socket_silent(c);
    if (err == ERR_HANDSHAKE_CLOSED)
        err = 0; /* it has said all */
    if (err < 0) {
        conn_fail(h, c, err);
        return;
    }
    (void)shutdown(c->fd, SHUT_RD); /* the relay notices a socket that is gone */
    conn_metrics_done(h, c);
    conn_goto(h, c, CONN_QUEUED);
}

bool starttls_talk(struct handshaker *h, struct conn *c) {
    for (;;) {
        uint8_t room[PRELUDE_ANSWER_MAX];
        struct wr answer = wr_of(room, sizeof(room));
        size_t taken = 0;
        int verdict = prelude_step(&c->prelude, buf_span(&c->in), &answer, &taken);
        if (verdict == PRELUDE_CANCEL) {
            pass_cancel(h, c, taken);
            return false;
        }
        buf_consume(&c->in, taken);
        if (c->state == CONN_PAUSE && c->prelude.greeted)
            conn_goto(h, c, CONN_PRELUDE);
        if (verdict == PRELUDE_GO)
            return begin_go_ahead(h, c, &answer);
        if (verdict == PRELUDE_DIRECT) {
            conn_goto(h, c, CONN_HELLO);
            return true;
        }
        if (!queue_answer(h, c, &answer))
            return false;
        if (verdict == PRELUDE_MORE)
            (void)send_queued(h, c); /* has ended the connection otherwise */
        else if (verdict != PRELUDE_ANSWERED)
            conn_fail(h, c, verdict);
        if (verdict != PRELUDE_ANSWERED)
            return false;
    }
}

bool starttls_go_on(struct handshaker *h, struct conn *c) {
    int err = socket_silent(c);
    if (err == ERR_STARTTLS_INJECTION)
        conn_fail(h, c, err);
    else if (err < 0)
        conn_ended(h, c, err);
    if (err < 0 || !send_queued(h, c) || buf_len(&c->out))
        return false;
    c->upgraded = true;
    c->prelude = (struct prelude){.protocol = c->prelude.protocol}; /* what was said is forgotten */
    conn_goto(h, c, CONN_HELLO);
    return true;
}

void starttls_last_words(struct conn *c, int reason) {
    uint8_t room[PRELUDE_ANSWER_MAX];
    struct wr answer = wr_of(room, sizeof(room));
    prelude_last_words(&c->prelude, reason, &answer);
    (void)!buf_append(&c->out, answer.p, answer.len); /* without memory: none */
}
