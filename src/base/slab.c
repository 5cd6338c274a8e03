/*
 * The region is committed and given back in chunks at its upper end; a bitmap with one level above it (one bit a full word)
 * finds the lowest free slot. Objects are wiped when freed, so a slot is all zero whenever it is allocated.
 */
#include "base/slab.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "base/secret.h"

#define SLAB_CHUNK ((size_t)64 * 1024)

static size_t round_up(size_t n, size_t to) {
    return (n + to - 1) / to * to;
}

static struct slab_item *item_at(const struct slab *s, uint32_t slot) {
    return (struct slab_item *)(void *)(s->base + (size_t)slot * s->object_size);
}

static bool in_use(const struct slab *s, uint32_t slot) {
    return s->in_use[slot / 64] >> slot % 64 & 1;
}

static void mark_used(struct slab *s, uint32_t slot) {
    uint32_t word = slot / 64;
    s->in_use[word] |= UINT64_C(1) << slot % 64;
    if (s->in_use[word] == UINT64_MAX)
        s->full[word / 64] |= UINT64_C(1) << word % 64;
}

static void mark_free(struct slab *s, uint32_t slot) {
    uint32_t word = slot / 64;
    s->in_use[word] &= ~(UINT64_C(1) << slot % 64);
    s->full[word / 64] &= ~(UINT64_C(1) << word % 64);
}

/* The slab MUST have a free slot. */
static uint32_t lowest_free(const struct slab *s) {
    size_t i = 0;
    while (s->full[i] == UINT64_MAX)
        i++;
    size_t word = i * 64 + (size_t)__builtin_ctzll(~s->full[i]);
    return (uint32_t)(word * 64 + (size_t)__builtin_ctzll(~s->in_use[word]));
}

int slab_init(struct slab *s, size_t object_size, uint32_t cap, bool secret) {
    MUST(object_size >= sizeof(struct slab_item) && cap > 0);
    *s = (struct slab){.object_size = round_up(object_size, 16), .cap = cap, .secret = secret};
    size_t total;
    if (__builtin_mul_overflow(s->object_size, (size_t)cap, &total) || total > SIZE_MAX / 2)
        return ERR_NOMEM;
    s->reserved = round_up(total, SLAB_CHUNK);
    size_t words = cap / 64 + 1;
    s->in_use = calloc(words, sizeof(uint64_t));
    s->full = calloc(words / 64 + 1, sizeof(uint64_t));
    void *p = mmap(NULL, s->reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    s->base = p == MAP_FAILED ? NULL : p;
    if (s->base && s->in_use && s->full &&
        (!secret || (madvise(p, s->reserved, MADV_DONTDUMP) == 0 && madvise(p, s->reserved, MADV_DONTFORK) == 0)))
        return 0;
    slab_fini(s);
    return ERR_NOMEM;
}

void slab_fini(struct slab *s) {
    if (s->base) {
        secret_wipe(s->base, (size_t)s->top * s->object_size);
        MUST(munmap(s->base, s->reserved) == 0);
    }
    free(s->in_use);
    free(s->full);
    *s = (struct slab){.base = NULL};
}

/* Makes the bytes up to END usable. */
static bool commit(struct slab *s, size_t end) {
    if (end <= s->committed)
        return true;
    size_t to = round_up(end, SLAB_CHUNK);
    uint8_t *from = s->base + s->committed;
    size_t len = to - s->committed;
    if (mprotect(from, len, PROT_READ | PROT_WRITE) != 0)
        return false;
    if (s->secret && mlock(from, len) != 0)
        s->lock_failed = true;
    s->committed = to;
    return true;
}

/* Gives back what lies above the objects, but for one chunk, so that one object made and freed again costs no system calls. */
static void give_back(struct slab *s) {
    size_t keep = round_up((size_t)s->top * s->object_size, SLAB_CHUNK) + SLAB_CHUNK;
    if (s->committed <= keep)
        return;
    uint8_t *from = s->base + keep;
    size_t len = s->committed - keep;
    if (s->secret && munlock(from, len) != 0)
        return; /* stays committed; tried again at the next chance */
    if (madvise(from, len, MADV_DONTNEED) != 0 || mprotect(from, len, PROT_NONE) != 0) {
        if (s->secret && mlock(from, len) != 0)
            s->lock_failed = true;
        return;
    }
    s->committed = keep;
}

void *slab_alloc(struct slab *s) {
    if (s->used == s->cap)
        return NULL;
    uint32_t slot = lowest_free(s);
    if (!commit(s, ((size_t)slot + 1) * s->object_size))
        return NULL;
    mark_used(s, slot);
    s->used++;
    s->top = MAX(s->top, slot + 1);
    do {
        s->last_gen++;
    } while ((s->last_gen & SLAB_GEN_MASK) == 0);
    struct slab_item *item = item_at(s, slot);
    *item = (struct slab_item){slot, s->last_gen};
    return item;
}

/* One past the highest slot in use, looking down from TOP. */
static uint32_t find_top(const struct slab *s, uint32_t top) {
    while (top > 0) {
        uint32_t word = (top - 1) / 64;
        uint64_t bits = s->in_use[word]; /* nothing is in use above TOP */
        if (bits)
            return word * 64 + 64 - (uint32_t)__builtin_clzll(bits);
        top = word * 64;
    }
    return 0;
}

void slab_free(struct slab *s, void *object) {
    if (!object)
        return;
    struct slab_item *item = object;
    uint32_t slot = item->slot;
    MUST(slot < s->cap && item == item_at(s, slot) && in_use(s, slot));
    secret_wipe(object, s->object_size);
    mark_free(s, slot);
    s->used--;
    if (slot + 1 == s->top) {
        s->top = find_top(s, s->top);
        give_back(s);
    }
}

void *slab_get(const struct slab *s, uint32_t slot, uint32_t gen) {
    if (slot >= s->top || !in_use(s, slot))
        return NULL;
    struct slab_item *item = item_at(s, slot);
    return ((item->gen ^ gen) & SLAB_GEN_MASK) == 0 ? item : NULL;
}

void *slab_next(const struct slab *s, uint32_t *slot) {
    uint32_t i = *slot;
    while (i < s->top) {
        uint64_t bits = s->in_use[i / 64] >> i % 64;
        if (bits) {
            i += (uint32_t)__builtin_ctzll(bits);
            *slot = i + 1;
            return item_at(s, i);
        }
        i = (i / 64 + 1) * 64;
    }
    *slot = i;
    return NULL;
}
