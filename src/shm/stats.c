/*
 * Layout: a head (magic, layout, hash key, one byte an area that was ever used), who is traced (tracers.h), the table of limits
 * (buckets.h), then the areas. All sizes are fixed, so that processes of different configurations find each other's areas.
 *
 * Only pages written to exist. Readers look at an area only when its byte in the head is set, and there only at what its
 * header marks as used, so that they call no page into being by looking.
 */
#include "shm/stats.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "base/rand.h"
#include "base/text.h"
#include "shm/shared.h"
#include "shm/stats_layout.h"

#define INDEX_SLOTS  8192u /* a power of two, over twice the blocks of an area */
#define PUBLISH_READ 64

_Static_assert(STATS_BLOCKS_MAX * 2 <= INDEX_SLOTS, "the index is never more than half full");
_Static_assert(STATS_AREA_SIZE / 64 <= UINT16_MAX, "a handle is 16 bits");

const struct stats_kind_info stats_kinds[STATS_KIND_COUNT] = {
#define KIND(sym, pre, by, max, with_hists) {.prefix = (pre), .label = (by), .cap = (max), .hists = (with_hists)},
    STATS_KIND_TABLE(KIND)
#undef KIND
};

#define METRIC(n, t, k, factor, by, which, what)                                                                               \
    {.name = (n), .type = (t), .kinds = (k), .scale = (factor), .label = (by), .label_value = (which), .help = (what)},
#define VALUE(sym, name, type, kinds, label, label_value, help)   METRIC(name, type, kinds, 1, label, label_value, help)
#define PROCESS(sym, name, type, scale, label, label_value, help) METRIC(name, type, 0, scale, label, label_value, help)
#define HIST(sym, name, kinds, help)                              METRIC(name, STATS_COUNTER, kinds, 1e-6, "", "", help)
const struct stats_metric stats_values[STATS_VALUE_COUNT] = {STATS_VALUE_TABLE(VALUE)};
const struct stats_metric stats_processes[STATS_PROCESS_COUNT] = {STATS_PROCESS_TABLE(PROCESS)};
const struct stats_metric stats_hists[STATS_HIST_COUNT] = {STATS_HIST_TABLE(HIST)};

uint64_t stats_bucket_bound(unsigned i) {
    if (i >= STATS_BUCKETS - 1)
        return UINT64_MAX;
    return (i % 2 ? UINT64_C(24) : UINT64_C(16)) << i / 2;
}

/* The first bucket whose bound is not below US. */
unsigned stats_bucket_of(uint64_t us) {
    if (us <= 16)
        return 0;
    unsigned top = 63u - (unsigned)__builtin_clzll(us - 1); /* 2^top <= us - 1 < 2^(top+1), top >= 4 */
    unsigned half = (unsigned)((us - 1) >> (top - 1) & 1);
    unsigned i = 2 * (top - 4) + half + 1;
    return MIN(i, (unsigned)STATS_BUCKETS - 1);
}

size_t stats_block_size(enum stats_kind kind) {
    size_t n = sizeof(struct stats_block) + (stats_kinds[kind].hists ? STATS_HIST_COUNT * sizeof(struct stats_hist_shared) : 0);
    return (n + 63) & ~(size_t)63;
}

size_t stats_blocks_off(enum stats_kind kind) {
    static size_t offs[STATS_KIND_COUNT + 1];
    if (!offs[0]) { /* the first is never at 0 */
        size_t off = STATS_AREA_HEAD;
        for (unsigned k = 0; k <= STATS_KIND_COUNT; k++) {
            offs[k] = off;
            if (k < STATS_KIND_COUNT) /* one more, for "other" */
                off += stats_block_size((enum stats_kind)k) * (stats_kinds[k].cap + 1);
        }
    }
    return offs[kind];
}

static size_t area_number(enum role role, uint16_t index, unsigned parity) {
    return ((size_t)role * 2 + (parity & 1)) * STATS_INDEX_MAX + index;
}

size_t stats_area_off(size_t number) {
    return STATS_HEAD_SIZE + number * STATS_AREA_SIZE;
}

/* Two binaries with the same tables agree on it. */
uint64_t stats_layout(void) {
    static const char tables[] =
#define SYMBOL_(sym, ...) #sym ","
        STATS_VALUE_TABLE(SYMBOL_) ";" STATS_PROCESS_TABLE(SYMBOL_) ";" STATS_HIST_TABLE(SYMBOL_) ";" STATS_KIND_TABLE(SYMBOL_);
#undef SYMBOL_
    static const struct hash_key key = {STATS_SIZE, sizeof(struct stats_block) << 16 | STATS_FORM << 8 | STATS_BUCKETS};
    return hash_bytes(&key, span_of(tables, sizeof(tables) - 1));
}

int stats_create(int *ret_fd) {
    struct stats_head head = {.magic = STATS_MAGIC, .layout = stats_layout()};
    rand_bytes(&head.key, sizeof(head.key));
    return shared_create("tls-off-stats", STATS_SIZE, span_of(&head, sizeof(head)), ret_fd);
}

int stats_check_fd(int fd) {
    struct stats_head head;
    size_t len;
    int err = shared_check(fd, STATS_SIZE, STATS_SIZE, &len);
    if (err < 0)
        return err;
    if (pread(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head))
        return ERR_SYSTEM;
    return head.magic == STATS_MAGIC && head.layout == stats_layout() ? 0 : ERR_FORMAT;
}

static void *map_area(int fd, size_t off, size_t len) {
    int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd, (off_t)off);
    if (p == MAP_FAILED)
        return NULL;
    (void)madvise(p, len, MADV_DONTDUMP); /* nothing secret; but large */
    return p;
}

static struct stats_block *nth_block(const struct stats_page *p, enum stats_kind kind, uint32_t i) {
    return (void *)((uint8_t *)p->area + stats_blocks_off(kind) + i * stats_block_size(kind));
}

uint16_t stats_handle(const struct stats_page *p, const struct stats_block *b) {
    return (uint16_t)((size_t)((const uint8_t *)b - (const uint8_t *)p->area) / 64);
}

static uint16_t *index_slot(const struct stats_page *p, enum stats_kind kind, struct span service, struct span name) {
    uint64_t h = hash_bytes(&p->key, service) + hash_bytes(&p->key, name) * 31 + (uint64_t)kind;
    for (size_t i = h % INDEX_SLOTS;; i = (i + 1) % INDEX_SLOTS) {
        uint16_t handle = p->index[i];
        if (!handle)
            return &p->index[i];
        const struct stats_block *b = stats_at(p, handle);
        if (b->kind == (uint32_t)kind && span_eq(span_of(b->name, b->len), name) &&
            span_eq(span_of(b->service, b->service_len), service))
            return &p->index[i];
    }
}

/* A block under its label, seen by readers once it is whole. */
static struct stats_block *add_block(struct stats_page *p, enum stats_kind kind, struct span service, struct span name) {
    uint32_t *used = &p->area->used[kind];
    struct stats_block *b = nth_block(p, kind, *used);
    memset(b, 0, stats_block_size(kind));
    memcpy(b->service, service.p, service.len);
    memcpy(b->name, name.p, name.len);
    b->kind = (uint32_t)kind;
    b->service_len = (uint16_t)service.len;
    b->len = (uint16_t)name.len;
    __atomic_store_n(used, *used + 1, __ATOMIC_RELEASE);
    return b;
}

static struct span at_most(struct span s, size_t max) {
    return span_of(s.len ? (const void *)s.p : "", MIN(s.len, max));
}

struct stats_block *stats_block(struct stats_page *p, enum stats_kind kind, struct span service, struct span name) {
    service = at_most(service, STATS_SERVICE_MAX);
    name = at_most(name, STATS_NAME_MAX);
    uint16_t *slot = index_slot(p, kind, service, name);
    if (!*slot && p->area->used[kind] >= stats_kinds[kind].cap) {
        service = span_of("", 0);
        name = span_str(STATS_OTHER);
        slot = index_slot(p, kind, service, name);
    }
    if (!*slot)
        *slot = stats_handle(p, add_block(p, kind, service, name));
    return stats_at(p, *slot);
}

/* A block of a predecessor: what cannot be right is forgotten, the rest goes on. False when there is no more of them. */
static bool inherit_block(struct stats_page *p, enum stats_kind kind, uint32_t i) {
    struct stats_block *b = nth_block(p, kind, i);
    if (b->len > STATS_NAME_MAX || b->service_len > STATS_SERVICE_MAX || b->kind != (uint32_t)kind)
        return false;
    for (unsigned v = 0; v < STATS_VALUE_COUNT; v++)
        if (stats_values[v].type == STATS_GAUGE)
            b->values[v] = 0;
    uint16_t *slot = index_slot(p, kind, span_of(b->service, b->service_len), span_of(b->name, b->len));
    if (*slot)
        return false;
    *slot = stats_handle(p, b);
    return true;
}

static void take_over(struct stats_page *p) {
    for (unsigned kind = 0; kind < STATS_KIND_COUNT; kind++) {
        uint32_t n = p->area->used[kind], cap = stats_kinds[kind].cap + 1u, i = 0;
        while (i < MIN(n, cap) && inherit_block(p, (enum stats_kind)kind, i))
            i++;
        __atomic_store_n(&p->area->used[kind], i, __ATOMIC_RELEASE);
    }
    for (unsigned v = 0; v < STATS_PROCESS_COUNT; v++)
        if (stats_processes[v].type == STATS_GAUGE)
            stats_process_set(p, (enum stats_process)v, 0);
    p->cpu_base_us = p->area->process[STATS_CPU_US];
}

static int open_sketches(struct stats_page *p) {
    uint8_t *base = (uint8_t *)p->area;
    int err = sketch_open(&p->clients, base + STATS_CLIENTS_OFF, STATS_CLIENTS, &p->key);
    return err == 0 ? sketch_open(&p->names, base + STATS_NAMES_OFF, STATS_CLIENT_NAMES, &p->key) : err;
}

/* FD -1: private memory. */
static int open_area(int fd, size_t number, struct stats_page *ret) {
    MUST(stats_blocks_off(STATS_KIND_COUNT) <= STATS_CLIENTS_OFF);
    struct stats_page p = {.statm_fd = -1};
    struct stats_head head = {.magic = 0};
    const uint8_t touched = 1;
    off_t at = (off_t)(offsetof(struct stats_head, touched) + number);
    p.area = map_area(fd, fd < 0 ? 0 : stats_area_off(number), STATS_AREA_SIZE);
    p.buckets = fd < 0 ? map_area(fd, 0, BUCKETS_SIZE) : NULL;
    p.index = calloc(INDEX_SLOTS, sizeof(*p.index));
    bool ok = p.area && p.index && (fd >= 0 || p.buckets);
    ok = ok && (fd < 0 || (pread(fd, &head, sizeof(head), 0) == (ssize_t)sizeof(head) && pwrite(fd, &touched, 1, at) == 1));
    if (!ok) {
        stats_close(&p);
        return ERR_SYSTEM;
    }
    if (fd < 0) /* keys of names that clients choose: each page of its own has its own */
        rand_bytes(&head.key, sizeof(head.key));
    p.key = head.key;
    take_over(&p);
    int err = open_sketches(&p);
    if (err < 0) {
        stats_close(&p);
        return err;
    }
    *ret = p;
    return 0;
}

static int begin_page(int err, struct stats_page *p) {
    if (err < 0)
        return err;
    p->statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC); /* without it memory is reported as 0 */
    stats_publish_self(p);
    return 0;
}

static int open_of(int fd, enum role role, uint16_t index, unsigned parity, struct stats_page *ret) {
    if ((unsigned)role >= STATS_ROLES_MAX || index >= STATS_INDEX_MAX)
        return ERR_LIMIT;
    int err = stats_check_fd(fd);
    return err == 0 ? open_area(fd, area_number(role, index, parity), ret) : err;
}

int stats_open(int fd, enum role role, uint16_t index, unsigned parity, struct stats_page *ret) {
    return begin_page(open_of(fd, role, index, parity, ret), ret);
}

int stats_open_private(struct stats_page *ret) {
    return begin_page(open_area(-1, 0, ret), ret);
}

void stats_close(struct stats_page *p) {
    sketch_close(&p->clients);
    sketch_close(&p->names);
    if (p->buckets)
        munmap(p->buckets, BUCKETS_SIZE);
    if (p->area)
        munmap(p->area, STATS_AREA_SIZE);
    if (p->statm_fd >= 0)
        close(p->statm_fd);
    free(p->index);
    *p = (struct stats_page){.statm_fd = -1};
}

int stats_release(int fd, enum role role, uint16_t index, unsigned parity) {
    struct stats_page p;
    int err = open_of(fd, role, index, parity, &p);
    if (err == 0)
        stats_close(&p);
    return err;
}

void stats_process_add(struct stats_page *p, enum stats_process v, uint64_t by) {
    stats_bump(&p->area->process[v], by);
}

void stats_process_set(struct stats_page *p, enum stats_process v, uint64_t to) {
    __atomic_store_n(&p->area->process[v], to, __ATOMIC_RELAXED);
}

uint64_t stats_instance(const struct stats_page *p) {
    return hash_bytes(&p->key, span_str("instance of the fleet"));
}

int stats_open_buckets(struct stats_page *p, int fd) {
    if (!p->buckets)
        p->buckets = map_area(fd, STATS_BUCKETS_OFF, BUCKETS_SIZE);
    return p->buckets ? 0 : ERR_SYSTEM;
}

/* "size resident shared ..." in pages (proc(5)). */
static uint64_t resident_bytes(int statm_fd) {
    char line[PUBLISH_READ];
    ssize_t n = statm_fd < 0 ? -1 : pread(statm_fd, line, sizeof(line), 0);
    uint64_t pages = 0;
    if (n <= 0)
        return 0;
    const char *p = memchr(line, ' ', (size_t)n), *end = line + n;
    for (p = p ? p + 1 : end; p < end && *p >= '0' && *p <= '9'; p++)
        pages = pages * 10 + (uint64_t)(*p - '0');
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void stats_publish_self(struct stats_page *p) {
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) == 0) {
        uint64_t s = (uint64_t)u.ru_utime.tv_sec + (uint64_t)u.ru_stime.tv_sec;
        uint64_t us = (uint64_t)u.ru_utime.tv_usec + (uint64_t)u.ru_stime.tv_usec;
        stats_process_set(p, STATS_CPU_US, p->cpu_base_us + s * 1000000 + us);
    }
    stats_process_set(p, STATS_RSS_BYTES, resident_bytes(p->statm_fd));
}
