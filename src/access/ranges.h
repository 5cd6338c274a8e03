/*
 * A list of networks of one family as ranges: where each begins, ascending, and how long the prefix is of the most specific
 * network around it. N networks give at most 2 N + 1 ranges, whatever their lengths: the memory does not depend on what
 * strangers put into a list.
 *
 * A look-up is a search in a static B-tree without pointers (RANGES_FAN keys a node, so one step is one or few cache lines):
 * level 0 is all the keys, each level above has every RANGES_FAN-th of the one below. Where a level lies follows from N alone,
 * so bytes of another process can only give a wrong answer, never a step outside.
 */
#pragma once

#include <stdint.h>

#include "base/addr.h"
#include "base/defs.h"

#define RANGES_FAN    16
#define RANGES_MAX    (8u * 1024 * 1024 + 1)
#define RANGES_LEVELS 6   /* RANGES_FAN to this power is more than RANGES_MAX */
#define RANGES_NONE   255 /* no network around it */

enum ranges_family { RANGES_IPV4, RANGES_IPV6, RANGES_FAMILIES };

/* The bytes that N ranges take; they begin at a multiple of 64. */
uint64_t ranges_len(enum ranges_family family, uint32_t n);

struct ranges_draft;

/* From N networks of one family; sorts them in place. ERR_NOMEM, ERR_LIMIT. */
MUST_CHECK int ranges_draft(struct cidr *nets, size_t n, struct ranges_draft **ret);
void ranges_draft_free(struct ranges_draft *d);
uint32_t ranges_draft_count(const struct ranges_draft *d);

/* Writes ranges_len() zeroed bytes. */
void ranges_write(const struct ranges_draft *d, enum ranges_family family, uint8_t *to);

/* N ranges as they were written to AT, which they borrow; N at most RANGES_MAX. The bytes may be anything. */
struct ranges {
    const uint8_t *level[RANGES_LEVELS];
    uint32_t last[RANGES_LEVELS]; /* number of a level's last key */
    unsigned n;                   /* levels */
};
void ranges_open(enum ranges_family family, const uint8_t *at, uint32_t n, struct ranges *ret);

/* The prefix length of the most specific network around an address of that family, or RANGES_NONE. */
uint8_t ranges_find(const struct ranges *r, enum ranges_family family, const uint8_t ip[static 16]);
