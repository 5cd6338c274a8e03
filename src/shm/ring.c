/*
 * The ring. Head and tail count bytes since the ring was made and never wrap in practice; the place in the data is their low
 * bits. A record is its length (u32) and its bytes, padded to 8, and may lie around the end. Every copy masks the place, so
 * whatever numbers are in the shared page, no access leaves the mapping.
 */
#include "shm/ring.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "shm/shared.h"

#define RING_SIZE_MIN (64u * 1024)
#define RING_SIZE_MAX (64u * 1024 * 1024)
#define RING_MAGIC    UINT64_C(0x31676e69722d6f74)
#define RING_HEAD     4096

/* One cache line a writer: they would slow each other down otherwise. */
struct ring_shared {
    uint64_t magic;
    _Alignas(64) _Atomic uint64_t head; /* written by the writer */
    _Atomic uint64_t dropped;
    _Alignas(64) _Atomic uint64_t tail; /* written by the reader */
    _Alignas(RING_HEAD) uint8_t data[];
};

static bool size_ok(uint64_t size) {
    return size >= RING_SIZE_MIN && size <= RING_SIZE_MAX && (size & (size - 1)) == 0;
}

int ring_create(uint32_t size, int *ret_fd) {
    static const uint64_t magic = RING_MAGIC;
    MUST(size_ok(size));
    return shared_create("tls-off-ring", RING_HEAD + size, span_of(&magic, sizeof(magic)), ret_fd);
}

int ring_map(int fd, struct ring *ret) {
    size_t len;
    int err = shared_check(fd, RING_HEAD, RING_HEAD + (size_t)RING_SIZE_MAX, &len);
    if (err < 0)
        return err;
    if (!size_ok(len - RING_HEAD))
        return ERR_FORMAT;
    void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return ERR_SYSTEM;
    struct ring r = {p, (uint32_t)(len - RING_HEAD)};
    if (r.shared->magic != RING_MAGIC) {
        ring_unmap(&r);
        return ERR_FORMAT;
    }
    *ret = r;
    return 0;
}

void ring_unmap(struct ring *r) {
    if (r->shared)
        MUST(munmap(r->shared, RING_HEAD + (size_t)r->size) == 0);
    *r = (struct ring){NULL, 0};
}

static void copy_in(struct ring *r, uint64_t at, const void *from, size_t n) {
    size_t place = at & (r->size - 1);
    size_t first = MIN(n, r->size - place);
    memcpy(r->shared->data + place, from, first);
    memcpy(r->shared->data, (const uint8_t *)from + first, n - first);
}

static void copy_out(const struct ring *r, uint64_t at, void *to, size_t n) {
    size_t place = at & (r->size - 1);
    size_t first = MIN(n, r->size - place);
    memcpy(to, r->shared->data + place, first);
    memcpy((uint8_t *)to + first, r->shared->data, n - first);
}

/* What a record of N bytes takes in the ring. */
static size_t record_room(size_t n) {
    return (sizeof(uint32_t) + n + 7) & ~(size_t)7;
}

bool ring_put(struct ring *r, struct span record) {
    struct ring_shared *s = r->shared;
    MUST(record.len >= 1 && record.len <= RING_RECORD_MAX);
    uint64_t head = atomic_load_explicit(&s->head, memory_order_relaxed);
    uint64_t held = head - atomic_load_explicit(&s->tail, memory_order_acquire);
    if (held > r->size || record_room(record.len) > r->size - held) {
        atomic_fetch_add_explicit(&s->dropped, 1, memory_order_relaxed);
        return false;
    }
    uint32_t len = (uint32_t)record.len;
    copy_in(r, head, &len, sizeof(len));
    copy_in(r, head + sizeof(len), record.p, record.len);
    atomic_store_explicit(&s->head, head + record_room(record.len), memory_order_release);
    return true;
}

int ring_get(struct ring *r, void *to) {
    struct ring_shared *s = r->shared;
    uint64_t head = atomic_load_explicit(&s->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&s->tail, memory_order_relaxed);
    uint64_t held = head - tail;
    uint32_t len = 0;
    if (held == 0)
        return 0;
    if (held <= r->size && held >= sizeof(len))
        copy_out(r, tail, &len, sizeof(len));
    if (len == 0 || len > RING_RECORD_MAX || record_room(len) > held) {
        atomic_store_explicit(&s->tail, head, memory_order_release);
        return ERR_FORMAT;
    }
    copy_out(r, tail + sizeof(len), to, len);
    atomic_store_explicit(&s->tail, tail + record_room(len), memory_order_release);
    return (int)len;
}

uint64_t ring_dropped(struct ring *r) {
    return atomic_exchange_explicit(&r->shared->dropped, 0, memory_order_relaxed);
}
