/*
 * Counters that go on: one memfd made by the supervisor for its life, kept over reloads and its own exec.
 *
 * Each process owns one page area (role, index, parity of its generation) and is its only writer; a successor of the same
 * parity goes on in it. An area holds values of the process, and labelled blocks of values and histograms: a writer looks a
 * block up once and then adds plainly (relaxed loads and stores: no locks, no atomic read-modify-write). Readers add blocks of
 * equal labels over all areas (stats_read.h), so a role that dies loses nothing but its gauges.
 *
 * The number of blocks of a kind is bounded; what finds no room counts into the block named "other".
 * Clients are counted in sketches behind the blocks (sketch.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/hash.h"
#include "base/span.h"
#include "shm/roles.h"
#include "shm/sketch.h"
#include "shm/stats_table.h"

#define STATS_INDEX_MAX   64 /* processes of a role and parity */
#define STATS_SERVICE_MAX 64 /* longest name of a service */
#define STATS_NAME_MAX    255
#define STATS_OTHER       "other"

/* Upper bounds in microseconds, two a factor of two: 16, 24, 32, 48 ... 100,663,296; the last bucket has none. */
#define STATS_BUCKETS 47
uint64_t stats_bucket_bound(unsigned i); /* UINT64_MAX for the last */
unsigned stats_bucket_of(uint64_t us);

struct stats_hist_shared {
    uint64_t sum; /* of all values, microseconds */
    uint64_t buckets[STATS_BUCKETS];
};

struct stats_block {
    uint16_t len; /* of NAME; the block is in use when the area marks it */
    uint16_t service_len;
    uint32_t kind; /* enum stats_kind */
    char service[STATS_SERVICE_MAX];
    char name[STATS_NAME_MAX + 1];
    uint64_t values[STATS_VALUE_COUNT];
    struct stats_hist_shared hists[]; /* STATS_HIST_COUNT of them, in blocks of kinds that have some */
};

struct stats_area;

/* One process' own area: the sole writer. */
struct stats_page {
    struct stats_area *area;
    void *buckets;   /* of byte rates (buckets.h), shared by all relays; NULL = this process keeps none */
    uint16_t *index; /* hash table of the blocks: handles, 0 = free */
    struct hash_key key;
    int statm_fd;         /* /proc/self/statm, kept open: it cannot be opened from inside the sandbox */
    uint64_t cpu_base_us; /* of predecessors */
    struct sketch clients, names;
};

/* A sealed-size memfd, all zero but for a random key; sparse: only what is written to takes memory. ERR_SYSTEM (errno). */
MUST_CHECK int stats_create(int *ret_fd);

/*
 * Takes over an area of FD, which may be closed then. Gauges begin at 0, all else goes on. ERR_FORMAT when it is no such
 * memfd, or of another layout; ERR_SYSTEM (errno); ERR_LIMIT for an index out of range.
 */
MUST_CHECK int stats_open(int fd, enum role role, uint16_t index, unsigned parity, struct stats_page *ret);

/* An unowned area, in private memory: for tests, and for a process that was given a memfd of another layout. ERR_SYSTEM. */
MUST_CHECK int stats_open_private(struct stats_page *ret);
void stats_close(struct stats_page *p);

/* The supervisor, when a process has ended: what was "now" in its area is so no more. ERR_FORMAT, ERR_SYSTEM (errno). */
MUST_CHECK int stats_release(int fd, enum role role, uint16_t index, unsigned parity);

/*
 * The block of a label, made when it is not there; that of "other" when there is no room. Never NULL, valid as long as the
 * page. Names are cut at their longest. Costs a hash: keep what you get.
 */
struct stats_block *stats_block(struct stats_page *p, enum stats_kind kind, struct span service, struct span name);

/* The same as a small number for objects that are many; never 0. */
uint16_t stats_handle(const struct stats_page *p, const struct stats_block *b);
static inline struct stats_block *stats_at(const struct stats_page *p, uint16_t handle) {
    return (struct stats_block *)(void *)((uint8_t *)p->area + (size_t)handle * 64);
}

/* Plain additions of the one writer. */
static inline void stats_bump(uint64_t *value, uint64_t by) {
    __atomic_store_n(value, __atomic_load_n(value, __ATOMIC_RELAXED) + by, __ATOMIC_RELAXED);
}
static inline void stats_add(struct stats_block *b, enum stats_value v, uint64_t by) {
    stats_bump(&b->values[v], by);
}

/* A gauge goes up or down, never below 0. */
static inline void stats_change(struct stats_block *b, enum stats_value v, int by) {
    uint64_t now = __atomic_load_n(&b->values[v], __ATOMIC_RELAXED);
    uint64_t less = by < 0 ? (uint64_t)-by : 0;
    uint64_t next = by >= 0 ? now + (uint64_t)by : now > less ? now - less : 0;
    __atomic_store_n(&b->values[v], next, __ATOMIC_RELAXED);
}

/* One value into a histogram of a block whose kind has some (service, backend, suite). */
static inline void stats_observe(struct stats_block *b, enum stats_hist h, uint64_t us) {
    stats_bump(&b->hists[h].sum, us);
    stats_bump(&b->hists[h].buckets[stats_bucket_of(us)], 1);
}

/* Values of the process as a whole. */
void stats_process_add(struct stats_page *p, enum stats_process v, uint64_t by);
void stats_process_set(struct stats_page *p, enum stats_process v, uint64_t to);

/* A number that this instance keeps as long as its supervisor lives: all its processes have the same. */
uint64_t stats_instance(const struct stats_page *p);

/* For relays that keep byte rates: the only memory that several processes write to. FD as for stats_open(). ERR_SYSTEM (errno).
 */
MUST_CHECK int stats_open_buckets(struct stats_page *p, int fd);

/* Publishes CPU time and memory of this process; about once a second, by the role's own timer. */
void stats_publish_self(struct stats_page *p);
