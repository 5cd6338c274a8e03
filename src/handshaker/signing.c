/*
 * Handshakes use two signers: our own, and the next worker's while ours is gone or stuck. While both are, a handshake that
 * needs a signature waits, with its ClientHello and nothing else, until its deadline; resumed ones, which need none, continue.
 * A handshake interrupted in its first step, before a byte of ours was sent, starts again from the ClientHello.
 */
#include "handshaker/signing.h"

#include <sys/epoll.h>

#include "base/err.h"
#include "handshaker/conn.h"
#include "handshaker/handshaker.h"
#include "handshaker/pace.h"

#define RESUME_TURN 64 /* waiting handshakes resumed a turn */

/* Of our I-th signer. */
static unsigned signer_number(const struct handshaker *h, size_t i) {
    return (h->child.setup.index + (unsigned)i) % h->child.setup.workers;
}

/* The link is watched for its end, and for input only while it owes an answer. */
static void watch_signer(struct handshaker *h, uint32_t i, bool answer) {
    struct signer_link *l = &h->signers[i];
    if (l->fd >= 0 && loop_rewatch(&h->loop, l->fd, answer ? EPOLLIN : 0, HANDSHAKER_SIGNER, i, 0) < 0)
        signer_link_close(l); /* better no link than one that is not watched */
}

/* A key_sign_fn: by the first of them that answers. */
static int sign_by_any(void *ctx, struct key_name name, uint16_t scheme, struct span tbs, uint8_t *sig, size_t cap,
                       size_t *ret_len) {
    struct handshaker *h = ctx;
    int err = ERR_SIGNER_TIMEOUT;
    h->signatures++;
    for (size_t i = 0; i < HANDSHAKER_SIGNERS && err == ERR_SIGNER_TIMEOUT; i++)
        err = signer_link_ask(&h->signers[i], name, scheme, tbs, sig, cap, ret_len);
    return err;
}

void signing_init(struct handshaker *h) {
    for (size_t i = 0; i < HANDSHAKER_SIGNERS; i++)
        signer_link_init(&h->signers[i]);
    list_init(&h->unsigned_conns);
    key_provider_ask(sign_by_any, h);
}

/* It was logged that it does not answer, and now it does. The late answer is read at its event or at the next request. */
static void report_recovery(struct handshaker *h, uint32_t i) {
    if (h->signers[i].state != SIGNER_THERE || !h->signer_notified[i])
        return;
    watch_signer(h, i, false);
    log_msg(&h->child.log, LOG_LEVEL_INFO, "signer.%u answers again", signer_number(h, i));
    h->signer_notified[i] = false;
}

void signing_link(struct handshaker *h, uint16_t signer, int fd) {
    uint32_t i = signer == h->child.setup.index ? 0 : 1;
    struct signer_link *l = &h->signers[i];
    h->signer_notified[i] = false;
    if (signer_link_open(l, fd) < 0 || loop_watch(&h->loop, l->fd, 0, HANDSHAKER_SIGNER, i, 0) < 0) {
        log_msg(&h->child.log, LOG_LEVEL_ERROR, "cannot take up the link to signer.%u: %m", signer);
        signer_link_close(l);
    }
}

/* Late answers, and the signer's end. */
void signing_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    (void)gen;
    struct handshaker *h = ctx;
    signer_link_look(&h->signers[key]);
    if (events & (EPOLLHUP | EPOLLERR))
        signer_link_close(&h->signers[key]);
    report_recovery(h, key);
}

bool signing_there(const struct handshaker *h) {
    for (size_t i = 0; i < HANDSHAKER_SIGNERS; i++)
        if (h->signers[i].state == SIGNER_THERE)
            return true;
    return false;
}

static void log_signer_state(struct handshaker *h, uint32_t i) {
    struct signer_link *l = &h->signers[i];
    if (l->state == SIGNER_STUCK && !h->signer_notified[i]) {
        watch_signer(h, i, true);
        log_msg(&h->child.log, LOG_LEVEL_WARNING, "signer.%u does not answer: full handshakes %s", signer_number(h, i),
                signing_there(h) ? "go to the next one" : "wait for it");
        h->signer_notified[i] = true;
    }
    report_recovery(h, i);
    if (l->refusals)
        log_msg(&h->child.log, LOG_LEVEL_WARNING, "signer.%u refused to sign: %s", signer_number(h, i),
                err_text(l->refused_for));
    l->refusals = 0;
}

/* Logs once what the last signature has shown of the signers. */
void signing_note(struct handshaker *h) {
    for (uint32_t i = 0; i < HANDSHAKER_SIGNERS; i++)
        log_signer_state(h, i);
}

void signing_wait(struct handshaker *h, struct conn *c) {
    handshake_free(c->handshake);
    c->handshake = NULL;
    buf_consume(&c->out, buf_len(&c->out)); /* libssl's alert about a failure that is not one yet */
    conn_goto(h, c, CONN_SIGNER);
    list_push(&h->unsigned_conns, &c->link);
}

bool signing_turn(struct handshaker *h) {
    for (unsigned i = 0; i < RESUME_TURN && signing_there(h); i++) {
        struct list *n = list_shift(&h->unsigned_conns);
        if (!n)
            return false;
        conn_resume(h, CONTAINER_OF(n, struct conn, link));
        pace(h);
    }
    return signing_there(h) && !list_empty(&h->unsigned_conns);
}
