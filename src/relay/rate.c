#include "relay/rate.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "relay/session.h"
#include "shm/buckets.h"

#define CHAINS      1024u
#define MS_NS       UINT64_C(1000000)
#define BURST_NS    (100 * MS_NS) /* of the rate, after a pause; also what a late timer does not lose */
#define QUANTUM_MS  20            /* of the rate are reserved at once, */
#define QUANTUM_MIN (16 * 1024)
#define QUANTUM_MAX (4 * 1024 * 1024)
#define KEEP_MS     200  /* an unconsumed quantum is valid so long */
#define SHARE_MIN   4096 /* bytes a session is woken for */
#define READ_MIN    1024 /* the least that is read at once; the excess is reserved later */

struct rate_limiter {
    struct slab_item item;
    struct rate_limiter *next; /* in its chain */
    struct list line;          /* sessions that wait */
    struct list in_refilled;   /* in r->rate_refilled: has something left for queued sessions */
    struct wtimer timer;       /* until the reserved quantum may be consumed */
    struct bucket bucket;
    uint64_t rate;
    uint64_t reserved;  /* bytes that the timer refills */
    uint64_t refill_ms; /* the last refill */
    int64_t left;       /* of it; below 0: read beyond it */
    uint32_t waiting;   /* queued sessions */
    uint32_t sessions;
    uint32_t share; /* of the last quantum for each that was woken */
    uint16_t service;
    uint8_t client[16];
};

bool rate_init(struct relay *r) {
    list_init(&r->rate_refilled);
    r->rate_buckets = buckets_of(r->child.stats.buckets, &r->child.stats.key);
    r->rate_chains = calloc(CHAINS, sizeof(struct rate_limiter *));
    return r->rate_chains && slab_init(&r->rate_limiters, sizeof(struct rate_limiter), r->room, false) == 0;
}

void rate_fini(struct relay *r) {
    slab_fini(&r->rate_limiters);
    free(r->rate_chains);
    r->rate_chains = NULL;
}

/* ---- who shares a limiter ---- */

static struct rate_limiter **limiter_chain(struct relay *r, uint16_t service, const uint8_t client[static 16]) {
    return &r->rate_chains[(hash_bytes(&r->rate_buckets.key, span_of(client, 16)) + service) % CHAINS];
}

/* The session's limiter, found or made; NULL when there is no memory. */
static struct rate_limiter *join(struct relay *r, struct session *s) {
    const struct conf_service *service = session_service(r, s);
    if (s->rate)
        return s->rate;
    struct conn_info f;
    uint8_t client[16];
    session_conn_info(s, &f);
    addr_client_key(&f.client, client);
    struct rate_limiter **chain = limiter_chain(r, s->service, client), *l = *chain;
    while (l && (l->service != s->service || memcmp(l->client, client, sizeof(client)) != 0))
        l = l->next;
    if (!l && (l = slab_alloc(&r->rate_limiters))) {
        l->timer.kind = RELAY_TIMER_RATE;
        l->next = *chain;
        *chain = l;
        list_init(&l->line);
        list_init(&l->in_refilled);
        memcpy(l->client, client, sizeof(client));
        l->service = s->service;
        l->rate = service->max_bytes_per_client;
        l->bucket = bucket_of(&r->rate_buckets, span_str(service->name), client);
    }
    if (l)
        l->sessions++;
    s->rate = l;
    return l;
}

void rate_count_waiting(const struct session *s, int change) {
    s->rate->waiting += (uint32_t)change;
}

void rate_leave(struct relay *r, struct session *s) {
    struct rate_limiter *l = s->rate;
    if (!l)
        return;
    if (s->waits == WAITS_RATE)
        session_wait(r, s, WAITS_NOT, NULL);
    s->rate = NULL;
    if (--l->sessions)
        return;
    struct rate_limiter **at = limiter_chain(r, l->service, l->client);
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    list_remove(&l->in_refilled);
    wheel_cancel(&r->loop.wheel, &l->timer);
    slab_free(&r->rate_limiters, l);
}

/* ---- refill ---- */

static void wake_queued(struct relay *r, struct rate_limiter *l, uint64_t bytes) {
    l->left += (int64_t)bytes;
    l->refill_ms = r->loop.now_ms;
}

/* Reserves the debt and a quantum on top. True when it may be consumed at once, else the timer refills it. */
static bool reserve(struct relay *r, struct rate_limiter *l) {
    uint64_t quantum = l->rate * QUANTUM_MS / 1000, now_ns = r->loop.now_ms * MS_NS;
    quantum = MIN(MAX(quantum, (uint64_t)QUANTUM_MIN), (uint64_t)QUANTUM_MAX);
    uint64_t bytes = quantum + (l->left < 0 ? (uint64_t)-l->left : 0);
    uint64_t from_ns = bucket_reserve(&r->rate_buckets, &l->bucket, bytes, l->rate, BURST_NS, now_ns);
    if (l->left < 0) /* the excess that was read has to be refilled before, not after */
        from_ns += (uint64_t)-l->left * 1000 * MS_NS / l->rate;
    if (from_ns <= now_ns) {
        wake_queued(r, l, bytes);
        return true;
    }
    l->reserved = bytes;
    wheel_arm(&r->loop.wheel, &l->timer, (from_ns + MS_NS - 1) / MS_NS);
    return false;
}

/* What is not consumed for a while is not kept for a burst. */
static void expire(struct relay *r, struct rate_limiter *l) {
    if (l->left > 0 && r->loop.now_ms > l->refill_ms + KEEP_MS)
        l->left = 0;
}

/* Wakes as many queued sessions as the rest of the quantum allows, in order. */
static void wake(struct relay *r, struct rate_limiter *l) {
    uint32_t n = MIN(l->waiting, (uint32_t)MIN(l->left / SHARE_MIN + 1, (int64_t)UINT16_MAX));
    if (l->left <= 0 || n == 0)
        return;
    l->share = (uint32_t)MIN(MAX(l->left / n, (int64_t)READ_MIN), (int64_t)UINT32_MAX);
    while (n-- && !list_empty(&l->line)) {
        struct session *s = CONTAINER_OF(l->line.next, struct session, link);
        hold_excuse(r, s);
        s->refilled = true;
        session_wait(r, s, WAITS_READY, &r->ready);
    }
    list_remove(&l->in_refilled);
    list_push(&r->rate_refilled, &l->in_refilled); /* looked at again when they have had their share */
}

void rate_timer(void *ctx, struct wtimer *t) {
    struct relay *r = ctx;
    struct rate_limiter *l = CONTAINER_OF(t, struct rate_limiter, timer);
    wake_queued(r, l, l->reserved);
    l->reserved = 0;
    wake(r, l);
}

void rate_turn(struct relay *r) {
    struct list now;
    list_init(&now);
    for (struct list *n; (n = list_shift(&r->rate_refilled));)
        list_push(&now, n);
    for (struct list *n; (n = list_shift(&now));) {
        struct rate_limiter *l = CONTAINER_OF(n, struct rate_limiter, in_refilled);
        if (l->waiting && (l->left > 0 || (!l->reserved && reserve(r, l))))
            wake(r, l);
    }
}

/* ---- sessions ---- */

static void enqueue(struct relay *r, struct session *s) {
    session_wait(r, s, WAITS_RATE, &s->rate->line);
    session_metrics_add(r, s, STATS_THROTTLED, 1);
}

bool rate_waits(const struct session *s) {
    bool flushes = (s->up.wait.len && !s->up.blocked) || (s->down.wait.len && !s->down.blocked);
    return s->waits == WAITS_RATE && s->state == SESSION_OPEN && !flushes;
}

size_t rate_room(struct relay *r, struct session *s, size_t want) {
    if (!s->rate && session_service(r, s)->max_bytes_per_client == 0)
        return want;
    struct rate_limiter *l = join(r, s);
    if (!l)
        return want;
    if (s->waits == WAITS_RATE)
        return 0;
    bool refilled = s->refilled;
    s->refilled = false;
    expire(r, l);
    if (!refilled && l->waiting) { /* others came before */
        enqueue(r, s);
        return 0;
    }
    if (l->left <= 0 && (l->reserved || !reserve(r, l))) {
        enqueue(r, s);
        return 0;
    }
    size_t most = refilled ? MIN((size_t)l->left, l->share) : (size_t)l->left;
    return MIN(want, MAX(most, (size_t)READ_MIN));
}

void rate_consume(struct session *s, size_t bytes) {
    if (s->rate)
        s->rate->left -= (int64_t)bytes;
}
