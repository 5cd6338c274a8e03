/*
 * Handshakes and the signers: our own, and the next worker's, which is asked while ours is gone or stuck. One that needs a
 * signature while both are waits, with its ClientHello and nothing else, until its deadline; resumed ones, which need none, go
 * on meanwhile. A handshake that was interrupted in its first step, before a byte of ours has left, begins anew from the
 * ClientHello.
 */
#include <sys/epoll.h>

#include "base/err.h"
#include "handshaker/hand.h"

#define RESUME_TURN 64 /* waiting handshakes taken up again a turn */

static bool there(const struct hand *h) {
    for (size_t i = 0; i < HANDSHAKER_SIGNERS; i++)
        if (h->signers[i].state == SIGNER_THERE)
            return true;
    return false;
}

/* Of our I-th signer. */
static unsigned number(const struct hand *h, size_t i) {
    return (h->child.setup.index + (unsigned)i) % h->child.setup.workers;
}

/* The link is watched for its end; for what it says only while it owes an answer. */
static void watch(struct hand *h, uint32_t i, bool answer) {
    struct signer_link *l = &h->signers[i];
    if (l->fd >= 0 && loop_rewatch(&h->loop, l->fd, answer ? EPOLLIN : 0, HANDSHAKER_SIGNER, i, 0) < 0)
        signer_link_close(l); /* rather none than one that nobody hears */
}

/* A key_sign_fn: by the first of them that answers. */
static int ask(void *ctx, struct key_name name, uint16_t scheme, struct span tbs, uint8_t *sig, size_t cap, size_t *ret_len) {
    struct hand *h = ctx;
    int err = ERR_SIGNER_TIMEOUT;
    h->signatures++;
    for (size_t i = 0; i < HANDSHAKER_SIGNERS && err == ERR_SIGNER_TIMEOUT; i++)
        err = signer_link_ask(&h->signers[i], name, scheme, tbs, sig, cap, ret_len);
    return err;
}

void signing_init(struct hand *h) {
    for (size_t i = 0; i < HANDSHAKER_SIGNERS; i++)
        signer_link_init(&h->signers[i]);
    list_init(&h->unsigned_conns);
    key_provider_ask(ask, h);
}

/* It was told that it does not answer, and it does. The late answer is met by its event or by the next request. */
static void report_recovery(struct hand *h, uint32_t i) {
    if (h->signers[i].state != SIGNER_THERE || !h->signer_notified[i])
        return;
    watch(h, i, false);
    log_msg(&h->child.log, LOG_LEVEL_INFO, "signer.%u answers again", number(h, i));
    h->signer_notified[i] = false;
}

void signing_link(struct hand *h, uint16_t signer, int fd) {
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
    struct hand *h = ctx;
    signer_link_look(&h->signers[key]);
    if (events & (EPOLLHUP | EPOLLERR))
        signer_link_close(&h->signers[key]);
    report_recovery(h, key);
}

bool signing_there(const struct hand *h) {
    return there(h);
}

static void note(struct hand *h, uint32_t i) {
    struct signer_link *l = &h->signers[i];
    if (l->state == SIGNER_STUCK && !h->signer_notified[i]) {
        watch(h, i, true);
        log_msg(&h->child.log, LOG_LEVEL_WARNING, "signer.%u does not answer: full handshakes %s", number(h, i),
                there(h) ? "go to the next one" : "wait for it");
        h->signer_notified[i] = true;
    }
    report_recovery(h, i);
    if (l->refusals)
        log_msg(&h->child.log, LOG_LEVEL_WARNING, "signer.%u refused to sign: %s", number(h, i), err_text(l->refused_for));
    l->refusals = 0;
}

/* What the last signature has shown of the signers is told once. */
void signing_note(struct hand *h) {
    for (uint32_t i = 0; i < HANDSHAKER_SIGNERS; i++)
        note(h, i);
}

void signing_wait(struct hand *h, struct conn *c) {
    handshake_free(c->handshake);
    c->handshake = NULL;
    buf_consume(&c->out, buf_len(&c->out)); /* libssl's alert about a failure that is none yet */
    conn_goto(h, c, CONN_SIGNER);
    list_push(&h->unsigned_conns, &c->link);
}

bool signing_turn(struct hand *h) {
    for (unsigned i = 0; i < RESUME_TURN && there(h); i++) {
        struct list *n = list_shift(&h->unsigned_conns);
        if (!n)
            return false;
        conn_resume(h, CONTAINER_OF(n, struct conn, link));
        pace(h);
    }
    return there(h) && !list_empty(&h->unsigned_conns);
}
