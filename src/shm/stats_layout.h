/* How the stats memfd is laid out: for the writer (stats.c) and the reader (stats_read.c) only. */
#pragma once

#include "shm/buckets.h"
#include "shm/stats_read.h"

#define STATS_MAGIC     0x746f2d7374617473u /* "to-stats" */
#define STATS_FORM      3 /* changes with the form of blocks and sketches; the tables have versions of their own */
#define STATS_ROLES_MAX 12
#define STATS_AREAS     (STATS_ROLES_MAX * 2 * STATS_INDEX_MAX)

#define STATS_TRACERS_SIZE (8u * 1024) /* tracers.h */
#define STATS_TRACERS_OFF  (STATS_BUCKETS_OFF - STATS_TRACERS_SIZE)
#define STATS_BUCKETS_OFF  (64u * 1024)
#define STATS_HEAD_SIZE    (STATS_BUCKETS_OFF + BUCKETS_SIZE)
#define STATS_AREA_SIZE    (4080u * 1024)
#define STATS_AREA_HEAD    1024u
#define STATS_SIZE         (STATS_HEAD_SIZE + (size_t)STATS_AREAS * STATS_AREA_SIZE)
#define STATS_BLOCKS_MAX   4000 /* over all kinds of an area */
#define STATS_CLIENTS      4096 /* tracked an area */
#define STATS_CLIENT_NAMES 1024
#define STATS_CLIENTS_OFF  (STATS_AREA_SIZE - STATS_NAMES_SPACE - STATS_CLIENTS_SPACE)
#define STATS_NAMES_OFF    (STATS_AREA_SIZE - STATS_NAMES_SPACE)

/* A page for the head of each. */
#define STATS_CLIENTS_SPACE (4096u + STATS_CLIENTS * (unsigned)sizeof(struct sketch_entry))
#define STATS_NAMES_SPACE   (4096u + STATS_CLIENT_NAMES * (unsigned)sizeof(struct sketch_entry))

struct stats_head {
    uint64_t magic;
    uint64_t layout;
    struct hash_key key;
    uint8_t touched[STATS_AREAS];
};
_Static_assert(sizeof(struct stats_head) <= STATS_BUCKETS_OFF, "the head has room");

struct stats_area {
    uint32_t used[STATS_KIND_COUNT]; /* blocks of a kind */
    uint64_t process[STATS_PROCESS_COUNT];
};
_Static_assert(sizeof(struct stats_area) <= STATS_AREA_HEAD, "the head of an area has room");

size_t stats_block_size(enum stats_kind kind);

/* From the begin of an area to its first block of a kind. */
size_t stats_blocks_off(enum stats_kind kind);
size_t stats_area_off(size_t number);
uint64_t stats_layout(void);

/* 0, ERR_FORMAT, ERR_SYSTEM. */
MUST_CHECK int stats_check_fd(int fd);

/* ---- for the two readers ---- */

/* Area number I; NULL when it was never used. */
const struct stats_area *stats_area_of(const struct stats_reader *r, size_t i);
static inline enum role stats_role_of(size_t area) {
    return (enum role)(area / STATS_INDEX_MAX / 2);
}

/* Rows by their hash: numbers from 1, 0 = free. Never more than half full. */
struct stats_fold {
    uint32_t *slots;
    size_t size; /* a power of two */
};
bool stats_fold_begin(struct stats_fold *f, size_t rows);
uint32_t *stats_fold_find(struct stats_fold *f, uint64_t hash, bool (*same)(const void *ctx, uint32_t row), const void *ctx);

/* The array with room for element N; NULL without memory, and then it is as it was. */
void *stats_grow(void *array, size_t *cap, size_t n, size_t size);
