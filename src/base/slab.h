/*
 * Objects of one size in one reserved region: a slot number and a generation name an object across events, so that a late
 * event for a freed object finds a mismatch instead of another object. Generations come from one counter a slab and are
 * compared in 24 bits, as event tags carry them (LOOP_GEN): a name is used again only after 16 million others.
 *
 * Slots are allocated lowest first, the region is committed as it grows and given back to the kernel page by page as its
 * upper end empties. A secret slab is locked in memory (as far as the limit allows), excluded from core dumps, and its objects
 * are wiped when freed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"

/* First member of every object kept in a slab. */
struct slab_item {
    uint32_t slot;
    uint32_t gen; /* never 0 in its low 24 bits */
};

#define SLAB_GEN_MASK 0xffffffu

struct slab {
    uint8_t *base;
    size_t object_size; /* rounded up to 16 */
    size_t reserved;    /* bytes of address space */
    size_t committed;   /* bytes usable, from BASE on */
    uint64_t *in_use;   /* one bit a slot */
    uint64_t *full;     /* one bit a word of IN_USE */
    uint32_t cap;       /* slots at the most */
    uint32_t top;       /* one past the highest slot in use */
    uint32_t used;
    uint32_t last_gen;
    bool secret;
    bool lock_failed; /* some page could not be locked in memory */
};

/* Reserves room for CAP objects whose type begins with a struct slab_item. ERR_NOMEM. */
MUST_CHECK int slab_init(struct slab *s, size_t object_size, uint32_t cap, bool secret);

/* Wipes and unmaps everything. */
void slab_fini(struct slab *s);

/* A zeroed object with its slab_item filled in; NULL when full or out of memory. */
void *slab_alloc(struct slab *s);

/* Wipes the object and makes its name stale. NULL is fine. */
void slab_free(struct slab *s, void *object);

/* The live object of that name, or NULL when it is gone. Of GEN only the low 24 bits count. */
void *slab_get(const struct slab *s, uint32_t slot, uint32_t gen);

/* The next live object at or after *SLOT, or NULL; *SLOT is set one past it. For walks in slot order. */
void *slab_next(const struct slab *s, uint32_t *slot);
