/*
 * Objects of one size in one reserved region: a slot number and a generation name an object across events, so that a late
 * event for a freed object finds a mismatch instead of a stranger.
 *
 * Slots are handed out lowest first, the region is committed as it grows and given back to the kernel page by page as its
 * upper end empties. A secret slab is locked in memory (as far as the limit allows), left out of core dumps, and its objects
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
    uint32_t gen; /* odd while in use */
};

struct slab {
    uint8_t *base;
    size_t object_size; /* rounded up to 16 */
    uint32_t cap;       /* slots at the most */
    uint32_t high;      /* slots ever committed at present: [0, high) */
    uint32_t used;
    uint32_t free_head; /* list of free slots below high, or SLAB_NONE */
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

/* The live object of that name, or NULL when it is gone. */
void *slab_get(const struct slab *s, uint32_t slot, uint32_t gen);

/* The next live object at or after *SLOT, or NULL; *SLOT is set one past it. For walks in slot order. */
void *slab_next(const struct slab *s, uint32_t *slot);
