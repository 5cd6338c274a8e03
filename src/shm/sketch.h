/*
 * Who moves the most: a Space-Saving sketch (Metwally, Agrawal, El Abbadi, 2005) of clients, in a bounded number of entries of
 * shared memory with one writer, that never loses more than it says.
 *
 * An entry counts its client exactly from the moment it is tracked. When none is free the one with the smallest estimate
 * gives way. The estimate of a client is what was counted plus ERROR, the most it can have had before; a client that is not
 * tracked had at most FLOOR:
 *
 *     counted <= true <= counted + error,   error <= floor <= 2 W / m     (W = all that was counted, m = entries)
 *
 * Entries of clients that have sessions are spared as long as no more than half of all entries are; hence the 2 (with
 * pure Space-Saving it is 1; the proof is in docs/decisions/020-client-sketch.md). An update of a tracked client is a few
 * plain additions; a reassignment costs O(log m).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/hash.h"
#include "base/span.h"

#define SKETCH_KEY_MAX 104

/* What is counted of a client. Weights come first: what an entry's standing depends on. */
enum sketch_value {
    SKETCH_BYTES_IN,
    SKETCH_BYTES_OUT,
    SKETCH_HANDSHAKES, /* begun, whatever became of them: a connection weighs as much as a byte, so that all are seen */
    SKETCH_WEIGHTS,
    SKETCH_SESSIONS_NOW = SKETCH_WEIGHTS, /* sessions (relay) or connections (handshaker) alive; gauge */
    SKETCH_SESSIONS,
    SKETCH_FULL,
    SKETCH_RESUMED,
    SKETCH_FAILED,
    SKETCH_LIMITED, /* of what is under a rate a client: bytes read (relay), connections let in (handshaker) */
    SKETCH_VALUES,
};

/* SEQ changes by one when the entry begins to be reassigned, and by one when it has: odd = in between, 0 = never used. */
struct sketch_entry {
    uint32_t seq;
    uint32_t key_len;
    uint8_t key[SKETCH_KEY_MAX]; /* of an address: 16 bytes as by addr_client_key(); else a verified name */
    uint64_t since_wall_us;      /* counted from then on */
    uint64_t error;
    uint64_t values[SKETCH_VALUES];
};

struct sketch_shared {
    uint64_t floor;
    uint64_t evictions;
    uint32_t capacity;
    uint32_t used; /* entries below this index were used */
    struct sketch_entry entries[];
};

/* The writer's side. What is needed to find the smallest lies in private memory. */
struct sketch {
    struct sketch_shared *shared;
    struct hash_key key;
    uint32_t capacity;
    struct sketch_order *order;
};

/* One client's place as an object remembers it. A place that was reassigned is noticed; all zero is no place. */
struct sketch_ref {
    uint32_t seq;
    uint16_t entry;
};

size_t sketch_size(uint32_t capacity);

/* Takes over what a predecessor left at SHARED (kept); nothing of it is alive. CAPACITY below 65535. ERR_NOMEM. */
MUST_CHECK int sketch_open(struct sketch *k, void *shared, uint32_t capacity, const struct hash_key *key);
void sketch_close(struct sketch *k);

/* The client's place, by a reassignment when it has none. KEY is cut at SKETCH_KEY_MAX. */
struct sketch_ref sketch_find(struct sketch *k, struct span client);

/* A name as a key, in TO when it has to be cut: its begin and a hash of all of it. */
struct span sketch_name_key(const struct sketch *k, struct span name, uint8_t to[static SKETCH_KEY_MAX]);

/* A session of the client begins or ends; nothing when the place was reassigned. */
void sketch_live(struct sketch *k, struct sketch_ref ref, int change);

/* Whether the place is still the client's: adding to it is plain additions then. */
static inline bool sketch_holds(const struct sketch *k, struct sketch_ref ref) {
    return ref.seq && __atomic_load_n(&k->shared->entries[ref.entry].seq, __ATOMIC_RELAXED) == ref.seq;
}
static inline void sketch_add(struct sketch *k, struct sketch_ref ref, enum sketch_value v, uint64_t by) {
    uint64_t *value = &k->shared->entries[ref.entry].values[v];
    __atomic_store_n(value, __atomic_load_n(value, __ATOMIC_RELAXED) + by, __ATOMIC_RELAXED);
}

/* A reader's copy of one entry of someone else's sketch. False when there is none or it is being reassigned. */
bool sketch_read(const struct sketch_shared *s, uint32_t capacity, uint32_t i, struct sketch_entry *ret);
