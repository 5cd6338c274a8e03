#include "shm/buckets.h"

#include <stddef.h>

#include "shm/relaxed.h"

#define SET_PLACES  8u
#define BUCKET_SETS (BUCKETS_SIZE / (SET_PLACES * sizeof(struct bucket_place)))
#define STALE_NS    UINT64_C(2000000000) /* refilled so long ago, a place may be taken; longer than any burst */
#define NS          UINT64_C(1000000000)

/*
 * A time later than that was never reserved: it is nonsense, and the bucket is full. Each relay waits for one reservation
 * a bucket at the most; a few of them may have been larger than this one.
 */
#define AHEAD_NS       (120 * NS)
#define AHEAD_BOOKINGS 256

struct bucket_place {
    uint64_t tag; /* 0 = free */
    uint64_t until_ns;
};

static bool swap(uint64_t *at, uint64_t from, uint64_t to) {
    return __atomic_compare_exchange_n(at, &from, to, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

struct buckets buckets_of(void *memory, const struct hash_key *key) {
    return (struct buckets){memory, *key};
}

struct bucket bucket_of(const struct buckets *b, struct span service, unsigned kind, struct span thing) {
    const uint64_t words[] = {hash_bytes(&b->key, service), hash_bytes(&b->key, thing), kind};
    uint64_t tag = hash_bytes(&b->key, span_of(words, sizeof(words)));
    return (struct bucket){.tag = tag ? tag : 1};
}

static struct bucket_place *find_place(struct bucket_place *set, uint64_t tag) {
    for (unsigned i = 0; i < SET_PLACES; i++)
        if (LOAD(&set[i].tag) == tag)
            return &set[i];
    return NULL;
}

static bool claim_place(struct bucket_place *place, uint64_t tag, uint64_t now_ns) {
    uint64_t old = LOAD(&place->tag);
    return (old == 0 || LOAD(&place->until_ns) + STALE_NS < now_ns) && swap(&place->tag, old, tag);
}

/* NULL when the set is full of those that are being limited. Two that claim at once agree on the first of the set. */
static struct bucket_place *find_or_claim(const struct buckets *b, uint64_t tag, uint64_t now_ns) {
    if (!b->places)
        return NULL;
    struct bucket_place *set = &b->places[tag % BUCKET_SETS * SET_PLACES], *found = find_place(set, tag);
    for (unsigned i = 0; !found && i < SET_PLACES; i++)
        if (claim_place(&set[i], tag, now_ns)) {
            found = find_place(set, tag);
            if (found && found != &set[i])
                (void)swap(&set[i].tag, tag, 0); /* if it is another's by now, all the better */
        }
    return found;
}

uint64_t bucket_reserve(const struct buckets *b, struct bucket *of, uint64_t bytes, uint64_t rate, uint64_t burst_ns,
                        uint64_t now_ns) {
    if (!of->place || LOAD(&of->place->tag) != of->tag)
        of->place = find_or_claim(b, of->tag, now_ns);
    uint64_t *until = of->place ? &of->place->until_ns : &of->own_ns;
    uint64_t full = now_ns > burst_ns ? now_ns - burst_ns : 0;
    uint64_t cost = bytes * NS / rate, ahead = MAX(AHEAD_NS, AHEAD_BOOKINGS * cost);
    for (;;) {
        uint64_t was = LOAD(until), from = was > now_ns + ahead ? full : MAX(was, full);
        if (swap(until, was, from + cost))
            return from;
    }
}
