/*
 * Counters of what outsiders choose (addresses, server names), in shared memory of a fixed size with one writer and any number
 * of readers: what is alive of each, and a time of its token bucket.
 *
 * A set-associative table: 8 slots a set, found by a keyed hash, so nobody can aim at a set. A slot with something alive is
 * never given away; others are, those that refill first before others. Those for whom all 8 slots of their set are taken share
 * one more, so that who fills the table gains no more than one may have. A count reads too high then, or too low by
 * what it had in the shared slot before it got one of its own; never below 0. Memory and time stay bounded whatever outsiders
 * do.
 *
 * Only the pages written to exist. A table keeps one bit for each 64 sets that were ever used, so that readers do not call
 * pages into being by looking at them.
 */
#pragma once

#include <stdint.h>

#define COUNTER_SET_SLOTS    8u
#define COUNTER_SETS         16384u
#define COUNTER_SETS_A_GROUP 64u

/* TAG is 0 while it is empty or reassigned; who counts what makes tags, by a keyed hash. */
struct counter_slot {
    uint64_t tag;
    uint64_t until_ns;
    uint32_t live;
    uint32_t unused;
};

struct counter_set {
    struct counter_slot slots[COUNTER_SET_SLOTS];
    struct counter_slot rest; /* of those that found none; has no tag */
};

struct counter_table {
    uint64_t touched[COUNTER_SETS / COUNTER_SETS_A_GROUP / 64]; /* one bit per COUNTER_SETS_A_GROUP sets */
    struct counter_set sets[COUNTER_SETS];
};

struct counter {
    uint64_t until_ns;
    uint32_t live;
};

/* What it has: in its own slot, else in the shared one; nothing when the slot is being reassigned. */
struct counter counter_read(const struct counter_table *t, uint64_t tag);

/* By the writer alone. */
void counter_change(struct counter_table *t, uint64_t tag, int change);
void counter_set_until(struct counter_table *t, uint64_t tag, uint64_t until_ns);
void counter_table_reset(struct counter_table *t);
