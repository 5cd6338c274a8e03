#include "relay/rate.h"

#include <stdlib.h>

#include "relay/hold.h"
#include "relay/relay.h"
#include "relay/session.h"
#include "relay/session_info.h"
#include "relay/session_metrics.h"
#include "relay/session_trace.h"
#include "shm/buckets.h"

#define RATE_CHAINS    1024u
#define MS_NS          UINT64_C(1000000)
#define BURST_NS       (100 * MS_NS) /* of the rate, after a pause; also what a late timer does not lose */
#define QUANTUM_MS     20            /* of the rate are reserved at once, */
#define QUANTUM_MIN    (16 * 1024)
#define QUANTUM_MAX    (4 * 1024 * 1024)
#define TRACE_EVERY_MS 1000
#define KEEP_MS        200  /* an unconsumed quantum is valid so long */
#define SHARE_MIN      4096 /* bytes a session is woken for */
#define READ_MIN       1024 /* the least that is read at once; the excess is reserved later */

/* Whose rate it is; the narrow ones are asked first. */
enum rate_of { RATE_CLIENT, RATE_NAME, RATE_SERVICE, RATE_KINDS };

struct rate_limiter {
    struct slab_item item;
    struct rate_limiter *next; /* in its chain */
    struct list queue;         /* sessions that wait */
    struct list in_refilled;   /* in r->rate_refilled: has something left for queued sessions */
    struct wtimer timer;       /* until the reserved quantum may be consumed */
    struct bucket bucket;      /* its tag distinguishes limiters, too */
    uint64_t limit;            /* as configured */
    uint64_t rate;             /* of it, what other instances leave; the same where they do not count */
    uint64_t peers_tag;        /* by which the table of other instances knows the client; 0 = they do not count */
    uint64_t reserved;         /* bytes that the timer refills */
    uint64_t refill_ms;        /* the last refill */
    int64_t left;              /* of it; below 0: read beyond it */
    uint32_t waiting;          /* queued sessions */
    uint32_t sessions;
    uint32_t share; /* of the last quantum for each that was woken */
};

/* A session's part in the limiters that bind it. */
struct rate_share {
    struct rate_limiter *of[RATE_KINDS]; /* NULL = no such limit */
    struct rate_limiter *queue;          /* the one it waits for, or waited for last */
    uint64_t traced_ms;                  /* when it was last reported to those who trace the client */
};

bool rate_init(struct relay *r) {
    list_init(&r->rate_refilled);
    r->rate_buckets = buckets_of(r->child.stats.buckets, &r->child.stats.key);
    r->rate_chains = calloc(RATE_CHAINS, sizeof(struct rate_limiter *));
    return r->rate_chains && slab_init(&r->rate_limiters, sizeof(struct rate_limiter), RATE_KINDS * r->room, false) == 0;
}

void rate_fini(struct relay *r) {
    slab_fini(&r->rate_limiters);
    free(r->rate_chains);
    r->rate_chains = NULL;
}

/* ---- who shares a limiter ---- */

bool rate_limits(const struct conf_service *s) {
    return s->max_bytes_per_client || s->max_bytes_per_name || s->max_bytes;
}

static struct rate_limiter **limiter_chain(struct relay *r, uint64_t tag) {
    return &r->rate_chains[tag % RATE_CHAINS];
}

/* The limiter of that bucket, found or made; NULL when there is no memory. */
static struct rate_limiter *limiter_of(struct relay *r, struct bucket bucket, uint64_t rate) {
    struct rate_limiter **chain = limiter_chain(r, bucket.tag), *l = *chain;
    while (l && l->bucket.tag != bucket.tag)
        l = l->next;
    if (!l && (l = slab_alloc(&r->rate_limiters))) {
        l->timer.kind = RELAY_TIMER_RATE;
        l->next = *chain;
        *chain = l;
        list_init(&l->queue);
        list_init(&l->in_refilled);
        l->limit = l->rate = rate;
        l->bucket = bucket;
    }
    if (l)
        l->sessions++;
    return l;
}

static void leave_limiter(struct relay *r, struct rate_limiter *l) {
    if (--l->sessions)
        return;
    struct rate_limiter **at = limiter_chain(r, l->bucket.tag);
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    list_remove(&l->in_refilled);
    wheel_cancel(&r->loop.wheel, &l->timer);
    slab_free(&r->rate_limiters, l);
}

/* The session's share, made when it has none; NULL when there is no memory. */
static struct rate_share *join_limiters(struct relay *r, struct session *s) {
    const struct conf_service *service = session_service(r, s);
    const uint64_t rates[RATE_KINDS] = {
        [RATE_CLIENT] = service->max_bytes_per_client,
        [RATE_NAME] = service->max_bytes_per_name,
        [RATE_SERVICE] = service->max_bytes,
    };
    struct conn_info f;
    struct addr_net nets[ADDR_NETS];
    uint8_t client[16];
    if (s->rate || !(s->rate = calloc(1, sizeof(*s->rate))))
        return s->rate;
    session_conn_info(s, &f);
    addr_client_key(&f.client, client);
    const struct span things[RATE_KINDS] = {[RATE_CLIENT] = span_of(client, sizeof(client)), [RATE_NAME] = f.sni};
    for (unsigned k = 0; k < RATE_KINDS; k++) {
        if (rates[k] == 0)
            continue;
        s->rate->of[k] = limiter_of(r, bucket_of(&r->rate_buckets, span_str(service->name), k, things[k]), rates[k]);
        if (!s->rate->of[k]) {
            rate_leave(r, s);
            return NULL;
        }
    }
    if (s->rate->of[RATE_CLIENT] && service->fleet_limits && addr_nets(&f.client, nets))
        s->rate->of[RATE_CLIENT]->peers_tag = scoreboard_net_tag(&r->child.scoreboard, &nets[0]);
    return s->rate;
}

void rate_count_waiting(const struct session *s, int change) {
    s->rate->queue->waiting += (uint32_t)change;
}

void rate_leave(struct relay *r, struct session *s) {
    if (!s->rate)
        return;
    if (s->waits == WAITS_RATE)
        session_wait(r, s, WAITS_NOT, NULL);
    for (unsigned k = 0; k < RATE_KINDS; k++)
        if (s->rate->of[k])
            leave_limiter(r, s->rate->of[k]);
    free(s->rate);
    s->rate = NULL;
}

/* ---- refill ---- */

static void wake_queued(struct relay *r, struct rate_limiter *l, uint64_t bytes) {
    l->left += (int64_t)bytes;
    l->refill_ms = r->loop.now_ms;
}

/* Reserves the debt and a quantum on top. True when it may be consumed at once, else the timer refills it. */
static bool reserve(struct relay *r, struct rate_limiter *l) {
    if (l->peers_tag)
        l->rate = scoreboard_client_rate(&r->child.scoreboard, l->peers_tag, l->limit, r->loop.now_ms);
    uint64_t quantum = l->rate * QUANTUM_MS / 1000, now_ns = r->loop.now_ms * MS_NS;
    /* Of a rate that others' traffic has lowered no more than a second's: it may soon be another one. */
    uint64_t least = l->rate < l->limit ? MIN(MAX(l->rate, (uint64_t)READ_MIN), (uint64_t)QUANTUM_MIN) : QUANTUM_MIN;
    quantum = MIN(MAX(quantum, least), (uint64_t)QUANTUM_MAX);
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
static void wake_waiting(struct relay *r, struct rate_limiter *l) {
    uint32_t n = MIN(l->waiting, (uint32_t)MIN(l->left / SHARE_MIN + 1, (int64_t)UINT16_MAX));
    if (l->left <= 0 || n == 0)
        return;
    l->share = (uint32_t)MIN(MAX(l->left / n, (int64_t)READ_MIN), (int64_t)UINT32_MAX);
    while (n-- && !list_empty(&l->queue)) {
        struct session *s = CONTAINER_OF(l->queue.next, struct session, link);
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
    wake_waiting(r, l);
}

void rate_turn(struct relay *r) {
    struct list now;
    list_init(&now);
    for (struct list *n; (n = list_shift(&r->rate_refilled));)
        list_push(&now, n);
    for (struct list *n; (n = list_shift(&now));) {
        struct rate_limiter *l = CONTAINER_OF(n, struct rate_limiter, in_refilled);
        if (l->waiting && (l->left > 0 || (!l->reserved && reserve(r, l))))
            wake_waiting(r, l);
    }
}

/* ---- sessions ---- */

/* Once a second is enough to see that a limit bites. */
static void trace_throttled(struct relay *r, struct session *s, const struct rate_limiter *l) {
    static const char *const names[RATE_KINDS] = {[RATE_CLIENT] = "bytes_per_second_per_client",
                                                  [RATE_NAME] = "bytes_per_second_per_name",
                                                  [RATE_SERVICE] = "bytes_per_second"};
    unsigned k = 0;
    while (k + 1 < RATE_KINDS && s->rate->of[k] != l)
        k++;
    if (r->loop.now_ms < s->rate->traced_ms + TRACE_EVERY_MS)
        return;
    s->rate->traced_ms = r->loop.now_ms;
    session_trace(r, s, TRACED_THROTTLED, names[k]);
}

static size_t enqueue_session(struct relay *r, struct session *s, struct rate_limiter *l) {
    if (tracers_any(r->child.tracers))
        trace_throttled(r, s, l);
    s->rate->queue = l;
    session_wait(r, s, WAITS_RATE, &l->queue);
    session_metrics_add(r, s, STATS_THROTTLED, 1);
    return 0;
}

bool rate_waits(const struct session *s) {
    bool flushes = (s->up.wait.len && !s->up.blocked) || (s->down.wait.len && !s->down.blocked);
    return s->waits == WAITS_RATE && s->state == SESSION_OPEN && !flushes;
}

/*
 * Who has waited in one queue passes those of the other limiters, as long as these have something left: otherwise sessions that
 * are bound by two could go from one queue to the other for ever. What is left of a woken session's share goes to the next one.
 */
size_t rate_room(struct relay *r, struct session *s, size_t want) {
    if (!s->rate && !rate_limits(session_service(r, s)))
        return want;
    struct rate_share *share = join_limiters(r, s);
    if (!share)
        return want;
    if (s->waits == WAITS_RATE)
        return 0;
    bool refilled = s->refilled;
    int64_t most = INT64_MAX;
    s->refilled = false;
    for (unsigned k = 0; k < RATE_KINDS; k++) {
        struct rate_limiter *l = share->of[k];
        if (!l)
            continue;
        expire(r, l);
        bool others_first = !refilled && l->waiting;
        if (others_first || (l->left <= 0 && (l->reserved || !reserve(r, l))))
            return enqueue_session(r, s, l);
        most = MIN(most, l->left);
        if (refilled && l == share->queue)
            most = MIN(most, (int64_t)l->share);
    }
    return MIN(want, MAX((size_t)most, (size_t)READ_MIN));
}

void rate_consume(struct relay *r, struct session *s, size_t bytes) {
    for (unsigned k = 0; s->rate && k < RATE_KINDS; k++)
        if (s->rate->of[k])
            s->rate->of[k]->left -= (int64_t)bytes;
    if (s->rate && s->rate->of[RATE_CLIENT])
        session_metrics_limited(r, s, bytes);
}
