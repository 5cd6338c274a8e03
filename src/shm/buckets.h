/*
 * Byte rates that several processes keep together: a table of token buckets in shared memory, one for each limited client and
 * server name of a service, and for each limited service. It outlives generations, so a reload gives nobody a fresh allowance.
 *
 * A bucket is one word, the time at which all that was reserved so far will be refilled. Reserving N bytes advances it by N /
 * rate and gives the time from which those bytes may be relayed: reservations are served in the order in which they were made.
 * A bucket whose time has passed is full, the same as none, so its place can go to another client. This
 * is the only place where processes write to the same memory (compare-and-swap, once per reservation, not once per packet).
 */
#pragma once

#include <stdint.h>

#include "base/defs.h"
#include "base/hash.h"
#include "base/span.h"

#define BUCKETS_SIZE (1024u * 1024)

struct bucket_place;

struct buckets {
    struct bucket_place *places;
    struct hash_key key;
};

/* MEMORY of BUCKETS_SIZE bytes, zero at first, shared; NULL: each bucket is of this process alone. */
struct buckets buckets_of(void *memory, const struct hash_key *key);

/* One bucket as one process knows it. */
struct bucket {
    uint64_t tag;
    struct bucket_place *place;
    uint64_t own_ns; /* while the table has no room for it: a bucket of this process alone */
};

/* Of a service: KIND says what THING is, so that a name is never taken for a client. */
struct bucket bucket_of(const struct buckets *b, struct span service, unsigned kind, struct span thing);

/*
 * Times are nanoseconds of the monotonic clock. Books BYTES at RATE bytes a second (at least 1). Returns the time from which on
 * they may move; that may have passed, by no more than BURST_NS. A bucket that others have advanced by minutes counts as full.
 */
uint64_t bucket_reserve(const struct buckets *b, struct bucket *of, uint64_t bytes, uint64_t rate, uint64_t burst_ns,
                        uint64_t now_ns);
