/*
 * Handshakes use two signers: our own, and the next worker's while ours is gone or stuck.
 *
 * Our own handshake (TLS 1.3) steps aside when it needs a signature. Those of a turn are asked for in one message, and go on
 * when the answers come; whatever needs none goes on meanwhile. What was asked of a signer that hangs or dies is asked of the
 * other one; without one it waits, until its deadline. The same goes for a signer that does not have the keys of the set.
 *
 * libssl asks in the middle of a step, and waits. Without an answer its handshake is given up and begins again, when a signer
 * is there, from the ClientHello; so does one that would need a signature when there is no signer to begin with. That is
 * possible as long as nothing has been sent: in its first step.
 */
#include "handshaker/signing.h"

#include <sys/epoll.h>

#include "base/err.h"
#include "handshaker/conn.h"
#include "handshaker/handshaker.h"
#include "handshaker/pace.h"
#include "tls/certs.h"

#define RESUME_TURN 64 /* connections that begin again, a turn */

/* Of our I-th signer. */
static unsigned signer_number(const struct handshaker *h, size_t i) {
    return (h->child.setup.index + (unsigned)i) % h->child.setup.workers;
}

/* A key_sign_fn: by the first of them that answers. */
static int sign_by_any(void *ctx, struct key_name name, uint16_t scheme, struct span tbs, uint8_t *sig, size_t cap,
                       size_t *ret_len) {
    struct handshaker *h = ctx;
    int err = ERR_SIGNER_TIMEOUT;
    h->signing.waits++;
    for (size_t i = 0; i < SIGNERS && err == ERR_SIGNER_TIMEOUT; i++)
        err = signer_link_ask(&h->signing.links[i], name, scheme, tbs, sig, cap, ret_len);
    return err;
}

/* Of a request: who wants it. Never of another connection later: a slot's generation is never the same again. */
static uint64_t request_number(const struct conn *c) {
    return (uint64_t)c->item.slot << 32 | c->item.gen;
}

/* The signer does not have the keys that C wants: C waits again, behind those that came meanwhile. */
static void ask_elsewhere(struct handshaker *h, struct signer_link *l, struct conn *c) {
    struct handshake_sign want;
    handshake_sign_request(c->handshake, &want);
    signer_link_lacks(l, want.set);
    list_remove(&c->link);
    list_push(&h->signing.unasked, &c->link);
}

/* A signer_answer_fn. The connection may be gone by now, or have its signature from the other signer. */
static void on_signer_answer(void *ctx, struct signer_link *l, const struct sign_answer *a) {
    struct handshaker *h = ctx;
    struct conn *c = slab_get(&h->conns, (uint32_t)(a->number >> 32), (uint32_t)a->number);
    if (!c || request_number(c) != a->number || c->state != CONN_SIGNER || !c->handshake ||
        !handshake_wants_signature(c->handshake))
        return;
    if (a->err == ERR_NOT_FOUND) {
        ask_elsewhere(h, l, c);
        return;
    }
    handshake_signed(c->handshake, a->err ? ERR_SIGNER_REFUSED : 0, a->signature);
    list_remove(&c->link);
    list_push(&h->signing.answered, &c->link);
}

void signing_init(struct handshaker *h) {
    struct signing *s = &h->signing;
    for (size_t i = 0; i < SIGNERS; i++) {
        signer_link_init(&s->links[i], on_signer_answer, h);
        list_init(&s->asked[i]);
    }
    list_init(&s->unasked);
    list_init(&s->answered);
    list_init(&s->helloed);
    key_provider_ask(sign_by_any, h);
}

void signing_link(struct handshaker *h, uint16_t signer, int fd) {
    uint32_t i = signer == h->child.setup.index ? 0 : 1;
    struct signer_link *l = &h->signing.links[i];
    uint32_t gen = ++h->signing.gens[i];
    signer_link_look(l);
    signer_link_close(l);
    signing_note(h); /* what the one before has not answered is asked again */
    h->signing.notified[i] = false;
    if (signer_link_open(l, fd) < 0 || loop_watch(&h->loop, l->fd, EPOLLIN, HANDSHAKER_SIGNER, i, LOOP_GEN(gen)) < 0) {
        log_msg(&h->child.log, LOG_LEVEL_ERROR, "cannot take up the link to signer.%u: %m", signer);
        signer_link_close(l);
    }
    signing_note(h);
}

/* Answers, and the signer's end. */
void signing_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    struct handshaker *h = ctx;
    if (gen != LOOP_GEN(h->signing.gens[key])) /* of the link before: its end came in the same turn as this one */
        return;
    signer_link_look(&h->signing.links[key]);
    if (events & (EPOLLHUP | EPOLLERR))
        signer_link_close(&h->signing.links[key]);
    signing_note(h);
}

static void watch_time(struct handshaker *h) {
    struct signing *s = &h->signing;
    uint64_t first_ms = UINT64_MAX;
    for (size_t i = 0; i < SIGNERS; i++)
        first_ms = MIN(first_ms, signer_link_due_ms(&s->links[i]));
    if (first_ms != UINT64_MAX && (!wtimer_armed(&s->timer) || first_ms < s->timer.deadline_ms))
        wheel_arm(&h->loop.wheel, &s->timer, first_ms);
}

void signing_timeout(void *ctx, struct wtimer *t) {
    struct handshaker *h = ctx;
    for (size_t i = 0; i < SIGNERS; i++)
        signer_link_look(&h->signing.links[i]);
    signing_note(h);
    watch_time(h);
}

void signing_shift(struct handshaker *h, uint64_t ms) {
    for (size_t i = 0; i < SIGNERS; i++)
        h->signing.links[i].answer_ms += ms;
}

/* Whether our I-th signer has the keys of the set in use, and answers. */
static bool serves(const struct handshaker *h, size_t i) {
    return signer_link_serves(&h->signing.links[i], h->certs ? certs_set(h->certs) : 0);
}

bool signing_there(const struct handshaker *h) {
    for (size_t i = 0; i < SIGNERS; i++)
        if (serves(h, i))
            return true;
    return false;
}

static void log_signer(struct handshaker *h, uint32_t i) {
    struct signer_link *l = &h->signing.links[i];
    bool *notified = &h->signing.notified[i];
    bool lacks = l->state == SIGNER_THERE && !serves(h, i);
    if ((l->state == SIGNER_STUCK || lacks) && !*notified) {
        log_msg(&h->child.log, LOG_LEVEL_WARNING, "signer.%u %s: full handshakes %s", signer_number(h, i),
                lacks ? "does not have the keys in use yet" : "does not answer",
                signing_there(h) ? "go to the next one" : "wait for it");
        *notified = true;
    }
    if (serves(h, i) && *notified) {
        log_msg(&h->child.log, LOG_LEVEL_INFO, "signer.%u answers again", signer_number(h, i));
        *notified = false;
    }
    if (l->refusals)
        log_msg(&h->child.log, LOG_LEVEL_WARNING, "signer.%u refused to sign: %s", signer_number(h, i),
                err_text(l->refused_for));
    if (l->breaches)
        log_msg(&h->child.log, LOG_LEVEL_WARNING, "signer.%u sent what no signer sends: it is not asked any more",
                signer_number(h, i));
    l->breaches = l->refusals = 0;
}

void signing_note(struct handshaker *h) {
    struct signing *s = &h->signing;
    for (uint32_t i = 0; i < SIGNERS; i++) {
        if (s->links[i].state != SIGNER_GONE && s->links[i].owed == 0 && !list_empty(&s->asked[i]))
            signer_link_broken(&s->links[i]); /* it has answered all, but not these */
        log_signer(h, i);
        while (s->links[i].state != SIGNER_THERE && !list_empty(&s->asked[i])) {
            struct list *last = s->asked[i].prev;
            list_remove(last);
            list_push(s->unasked.next, last); /* before those that came later */
        }
    }
}

void signing_wait(struct handshaker *h, struct conn *c) {
    handshake_free(c->handshake);
    c->handshake = NULL;
    buf_consume(&c->out, buf_len(&c->out)); /* libssl's alert about a failure that is not one yet */
    conn_goto(h, c, CONN_SIGNER);
    list_push(&h->signing.helloed, &c->link);
    watch_time(h);
}

/* Who signs by a key of SET: our own signer, or the other one while ours is not there or lacks the set; SIGNERS = nobody. */
static size_t signer_of(const struct signing *s, uint32_t set) {
    size_t i = 0;
    while (i < SIGNERS && !signer_link_serves(&s->links[i], set))
        i++;
    return i;
}

/*
 * The first of those that wait for our I-th signer, at most as many as a message holds and MOST. False: there are none, or it
 * is no longer there.
 */
static bool ask_signer(struct handshaker *h, size_t i, unsigned most) {
    struct signing *s = &h->signing;
    struct handshake_sign want[SIGN_BATCH_MAX];
    struct sign_request q[SIGN_BATCH_MAX] = {0};
    struct list *asking[SIGN_BATCH_MAX];
    unsigned n = 0;
    for (struct list *node = s->unasked.next; node != &s->unasked && n < MIN(most, (unsigned)SIGN_BATCH_MAX);
         node = node->next) {
        const struct conn *c = CONTAINER_OF(node, struct conn, link);
        handshake_sign_request(c->handshake, &want[n]);
        if (signer_of(s, want[n].set) != i)
            continue;
        q[n] = (struct sign_request){request_number(c), want[n].set, want[n].key, want[n].scheme,
                                     span_of(want[n].tbs, want[n].tbs_len)};
        asking[n++] = node;
    }
    if (n == 0)
        return false;
    if (!signer_link_send(&s->links[i], q, n)) {
        signing_note(h);
        watch_time(h);
        return false;
    }
    for (unsigned k = 0; k < n; k++) {
        list_remove(asking[k]);
        list_push(&s->asked[i], asking[k]);
    }
    watch_time(h);
    return true;
}

/*
 * The other one is asked only while ours is not there or lacks the set, not while it has enough to do. A signer that lacks the
 * set in use lacks the older ones, too.
 */
static void ask_for_all(struct handshaker *h) {
    struct signing *s = &h->signing;
    s->wanted = 0;
    if (!signing_there(h))
        return;
    for (size_t i = 0; i < SIGNERS; i++) {
        for (unsigned room; !list_empty(&s->unasked) && (room = signer_link_room(&s->links[i])) > 0;)
            if (!ask_signer(h, i, room))
                break;
        if (s->links[i].state == SIGNER_THERE && !s->links[i].lacks)
            break;
    }
}

void signing_want(struct handshaker *h, struct conn *c) {
    conn_goto(h, c, CONN_SIGNER);
    list_push(&h->signing.unasked, &c->link);
    if (++h->signing.wanted >= SIGN_BATCH_MAX)
        ask_for_all(h);
}

/*
 * A signer that starts gets the set in use: an older one that no signer has now does not come back, but from one that is stuck.
 * Those that began with it fail. When nobody waits for an older one, what signers lack of those need not be looked for.
 */
static void settle_older_sets(struct handshaker *h) {
    struct signing *s = &h->signing;
    struct list *next, *const waiting[] = {&s->unasked, &s->asked[0], &s->asked[1]};
    bool older = false, stuck = s->links[0].state == SIGNER_STUCK || s->links[1].state == SIGNER_STUCK;
    if (!s->links[0].lacks && !s->links[1].lacks)
        return;
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++)
        for (struct list *node = waiting[i]->next; node != waiting[i]; node = next) {
            struct conn *c = CONTAINER_OF(node, struct conn, link);
            struct handshake_sign want;
            next = node->next;
            handshake_sign_request(c->handshake, &want);
            if (want.set == certs_set(h->certs))
                continue;
            bool lost = waiting[i] == &s->unasked && !stuck && signer_of(s, want.set) == SIGNERS;
            older = older || !lost;
            if (!lost)
                continue;
            handshake_signed(c->handshake, ERR_SIGNER_TIMEOUT, (struct span){0});
            list_remove(node);
            list_push(&s->answered, node);
        }
    for (size_t i = 0; i < SIGNERS && !older; i++)
        if (serves(h, i))
            s->links[i].lacks = 0;
}

static void resume_first(struct handshaker *h, struct list *waiting) {
    conn_resume(h, CONTAINER_OF(list_shift(waiting), struct conn, link));
    pace(h);
}

bool signing_turn(struct handshaker *h) {
    struct signing *s = &h->signing;
    settle_older_sets(h);
    while (!list_empty(&s->answered))
        resume_first(h, &s->answered);
    for (unsigned i = 0; i < RESUME_TURN && signing_there(h) && !list_empty(&s->helloed); i++)
        resume_first(h, &s->helloed);
    ask_for_all(h);
    return !list_empty(&s->answered) || (signing_there(h) && !list_empty(&s->helloed));
}
