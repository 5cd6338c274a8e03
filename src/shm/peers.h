/*
 * What clients have at the other instances of a fleet: a table in shared memory with one writer (the observer), which
 * handshakers and relays look at where they compute what a client has here. It is replaced as a whole once a second, in one of
 * two halves; a reader that is overtaken twice during one look finds nothing. A table that is not replaced counts for nobody
 * after PEERS_VALID_MS: the one that should have written it, or the fleet's store, is gone.
 *
 * Only others' numbers can be in it that could be true (PEERS_COUNT_MAX); sums saturate. Rates of a client are shared so that
 * who is lied to about others still has a part of them for its clients: see peers_share().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"

#define PEERS_VALID_MS 5000
#define PEERS_SLOTS    16384u
#define PEERS_PROBES   32u /* places at which a network can be; one that finds all of them taken is not in the table */

/* More than that no instance has of one client, of anything: 2^40 bytes a second are 8.8 Tbit/s. */
#define PEERS_COUNT_MAX (UINT64_C(1) << 40)

/* Of a client or network. Rates are a second's, let in or read under a limit. */
struct peers_counts {
    uint64_t sessions;
    uint64_t handshakes, bytes;         /* at others */
    uint64_t own_handshakes, own_bytes; /* here, in the same second */
    uint16_t at_handshakes, at_bytes;   /* others at which there are any */
    uint16_t at;                        /* the last instance that was added, for the writer; from 1 */
    bool at_counted[2];                 /* by it in AT_HANDSHAKES, AT_BYTES */
};

struct peers_slot {
    uint64_t tag; /* 0 = free */
    struct peers_counts counts;
};

struct peers_half {
    uint64_t used;
    struct peers_slot slots[PEERS_SLOTS];
};

struct peers_table {
    uint64_t seq;      /* of the table that is valid: in half SEQ % 2; 0 = there was none */
    uint64_t until_ms; /* of the monotonic clock */
    struct peers_half halves[2];
};

/* The writer: an empty table, additions, and all of it at once. Adding is false when there is no room for one more. */
void peers_begin(struct peers_table *t);
MUST_CHECK bool peers_add(struct peers_table *t, uint64_t tag, uint16_t instance, const struct peers_counts *counts);
void peers_add_own(struct peers_table *t, uint64_t tag, uint64_t handshakes, uint64_t bytes); /* of one that others have */
void peers_commit(struct peers_table *t, uint64_t now_ms);

/* A reader. False: others have nothing of it. */
bool peers_find(const struct peers_table *t, uint64_t tag, uint64_t now_ms, struct peers_counts *ret);

/* Networks in the table that is valid now. */
uint64_t peers_used(const struct peers_table *t, uint64_t now_ms);

/*
 * What this instance may give of LIMIT a second, when others have OTHERS and it has OWN, and there are some at AT others: never
 * less than an equal part and 1. With nothing left over it gives what others leave; what is left over it takes its part of, so
 * that all together come to the limit and not beyond.
 */
uint64_t peers_share(uint64_t limit, uint64_t own, uint64_t others, uint16_t at);
