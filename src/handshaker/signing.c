/*
 * Handshakes and the signer. One that needs a signature while the signer is gone or stuck waits for it, with its ClientHello
 * and nothing else, until its deadline; resumed ones, which need none, go on meanwhile. A handshake that was interrupted in its
 * first step, before a byte of ours has left, begins anew from the ClientHello.
 */
#include <sys/epoll.h>

#include "base/err.h"
#include "handshaker/hand.h"

#define RESUME_TURN 64 /* waiting handshakes taken up again a turn */

static bool there(const struct hand *h) {
    return h->signer.state == SIGNER_THERE;
}

/* The link is watched for its end; for what it says only while it owes an answer. */
static void watch(struct hand *h, bool answer) {
    if (h->signer.fd >= 0 && loop_rewatch(&h->loop, h->signer.fd, answer ? EPOLLIN : 0, HAND_SIGNER, 0, 0) < 0)
        signer_link_close(&h->signer); /* rather none than one that nobody hears */
}

void signing_init(struct hand *h) {
    signer_link_init(&h->signer);
    list_init(&h->unsigned_conns);
    key_provider_ask(signer_link_ask, &h->signer);
}

/* It was told that it does not answer, and it does. The late answer is met by its event or by the next request. */
static void tell_recovery(struct hand *h) {
    if (!there(h) || !h->signer_told)
        return;
    watch(h, false);
    voice_say(&h->child.voice, LOG_LEVEL_INFO, "signer.%u answers again", h->child.setup.index);
    h->signer_told = false;
}

void signing_link(struct hand *h, int fd) {
    h->signer_told = false;
    if (signer_link_open(&h->signer, fd) < 0 || loop_watch(&h->loop, h->signer.fd, 0, HAND_SIGNER, 0, 0) < 0) {
        voice_say(&h->child.voice, LOG_LEVEL_ERROR, "cannot take up the link to signer.%u: %m", h->child.setup.index);
        signer_link_close(&h->signer);
    }
}

/* Late answers, and the signer's end. */
void signing_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    (void)key;
    (void)gen;
    struct hand *h = ctx;
    signer_link_look(&h->signer);
    if (events & (EPOLLHUP | EPOLLERR))
        signer_link_close(&h->signer);
    tell_recovery(h);
}

bool signing_there(const struct hand *h) {
    return there(h);
}

/* What the last signature has shown of the signer is told once. */
void signing_note(struct hand *h) {
    struct signer_link *l = &h->signer;
    if (l->state == SIGNER_STUCK && !h->signer_told) {
        watch(h, true);
        voice_say(&h->child.voice, LOG_LEVEL_WARNING, "signer.%u does not answer: full handshakes wait for it",
                  h->child.setup.index);
        h->signer_told = true;
    }
    tell_recovery(h);
    if (l->refusals)
        voice_say(&h->child.voice, LOG_LEVEL_WARNING, "signer.%u refused to sign: %s", h->child.setup.index,
                  err_text(l->refused_for));
    l->refusals = 0;
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
