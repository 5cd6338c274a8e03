#include "shm/peers.h"

#include <stddef.h>
#include <string.h>

#include "shm/relaxed.h"

/* ---- the writer ---- */

static struct peers_half *spare_half(struct peers_table *t) {
    return &t->halves[(t->seq + 1) % 2];
}

void peers_begin(struct peers_table *t) {
    memset(spare_half(t), 0, sizeof(struct peers_half));
}

/* Its slot, or the free one where it would be; NULL when there is neither. */
static struct peers_slot *slot_of(struct peers_half *h, uint64_t tag) {
    for (uint64_t i = 0; i < PEERS_PROBES; i++) {
        struct peers_slot *slot = &h->slots[(tag + i) % PEERS_SLOTS];
        if (slot->tag == tag || slot->tag == 0)
            return slot;
    }
    return NULL;
}

static void add_saturated(uint64_t *sum, uint64_t by) {
    *sum = by < UINT64_MAX - *sum ? *sum + by : UINT64_MAX;
}

/* One instance is counted once, however many parts of a network it has. */
static void count_instance(uint16_t *at, bool *counted, uint64_t by) {
    if (by == 0 || *counted)
        return;
    *counted = true;
    *at = *at < UINT16_MAX ? (uint16_t)(*at + 1) : *at;
}

bool peers_add(struct peers_table *t, uint64_t tag, uint16_t instance, const struct peers_counts *counts) {
    struct peers_half *h = spare_half(t);
    struct peers_slot *slot = slot_of(h, tag);
    if (!slot)
        return false;
    struct peers_counts *c = &slot->counts;
    h->used += slot->tag == 0;
    slot->tag = tag;
    if (c->at != instance)
        c->at_counted[0] = c->at_counted[1] = false;
    c->at = instance;
    add_saturated(&c->sessions, counts->sessions);
    add_saturated(&c->handshakes, counts->handshakes);
    add_saturated(&c->bytes, counts->bytes);
    count_instance(&c->at_handshakes, &c->at_counted[0], counts->handshakes);
    count_instance(&c->at_bytes, &c->at_counted[1], counts->bytes);
    return true;
}

void peers_add_own(struct peers_table *t, uint64_t tag, uint64_t handshakes, uint64_t bytes) {
    struct peers_slot *slot = slot_of(spare_half(t), tag);
    if (!slot || slot->tag == 0)
        return;
    add_saturated(&slot->counts.own_handshakes, handshakes);
    add_saturated(&slot->counts.own_bytes, bytes);
}

void peers_commit(struct peers_table *t, uint64_t now_ms) {
    __atomic_store_n(&t->seq, t->seq + 1, __ATOMIC_RELEASE);
    STORE(&t->until_ms, now_ms + PEERS_VALID_MS);
}

/* ---- readers ---- */

static bool copy_counts(const struct peers_half *h, uint64_t tag, struct peers_counts *ret) {
    for (uint64_t i = 0; i < PEERS_PROBES; i++) {
        const struct peers_slot *slot = &h->slots[(tag + i) % PEERS_SLOTS];
        uint64_t found = LOAD(&slot->tag);
        if (found == 0)
            return false;
        if (found == tag) {
            *ret = slot->counts;
            return true;
        }
    }
    return false;
}

/* The number of the valid table; 0 = there is none. */
static uint64_t valid_seq(const struct peers_table *t, uint64_t now_ms) {
    uint64_t seq = __atomic_load_n(&t->seq, __ATOMIC_ACQUIRE), until_ms = LOAD(&t->until_ms);
    return now_ms < until_ms && until_ms - now_ms <= 2 * PEERS_VALID_MS ? seq : 0;
}

uint64_t peers_used(const struct peers_table *t, uint64_t now_ms) {
    uint64_t seq = valid_seq(t, now_ms);
    return seq ? LOAD(&t->halves[seq % 2].used) : 0;
}

bool peers_find(const struct peers_table *t, uint64_t tag, uint64_t now_ms, struct peers_counts *ret) {
    uint64_t seq = valid_seq(t, now_ms);
    if (seq == 0)
        return false;
    bool found = copy_counts(&t->halves[seq % 2], tag, ret);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return found && LOAD(&t->seq) == seq; /* one that was replaced is being written to a second later at the earliest */
}

uint64_t peers_share(uint64_t limit, uint64_t own, uint64_t others, uint16_t at) {
    uint64_t n = (uint64_t)at + 1, least = MAX(limit / n, 1), most;
    if (at == 0)
        return limit;
    if (others >= limit || own > limit - others) /* together they have more than the limit, or just it */
        most = others < limit ? limit - others : 0;
    else
        most = own + (limit - others - own) / n;
    return MAX(most, least);
}
