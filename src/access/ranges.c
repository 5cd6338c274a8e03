#include "access/ranges.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/grow.h"

#define DEPTH_MAX   129 /* networks around each other */
#define KEY4_LEN    4u
#define KEY6_LEN    16u
#define HALF_OFFSET (8u * RANGES_FAN) /* a node of IPv6 has its upper halves first: they nearly always decide */

__extension__ typedef unsigned __int128 key; /* an address as a number */

/* ---- where the levels are ---- */

struct levels {
    uint32_t keys[RANGES_LEVELS];
    uint64_t off[RANGES_LEVELS]; /* bytes in front of the level */
    unsigned n;
    uint64_t len; /* bytes of all */
};

static uint32_t nodes_for(uint32_t keys) {
    return (keys + RANGES_FAN - 1) / RANGES_FAN;
}

/* A node of level 0 has the values behind its keys, on the same page of memory. */
static inline uint64_t node_len(enum ranges_family family, unsigned level) {
    return (uint64_t)RANGES_FAN * ((family == RANGES_IPV4 ? KEY4_LEN : KEY6_LEN) + (level == 0));
}

static inline struct levels levels_of(enum ranges_family family, uint32_t n) {
    struct levels l = {.n = 0};
    for (uint32_t keys = n;; keys = nodes_for(keys)) {
        l.keys[l.n] = keys;
        l.off[l.n] = l.len;
        l.len += nodes_for(keys) * node_len(family, l.n);
        l.n++;
        if (keys <= RANGES_FAN || l.n == RANGES_LEVELS)
            return l;
    }
}

uint64_t ranges_len(enum ranges_family family, uint32_t n) {
    return (levels_of(family, n).len + 63) & ~(uint64_t)63;
}

/* ---- drafting ---- */

struct range {
    key start;
    uint8_t bits;
};

struct ranges_draft {
    struct grow ranges; /* struct range */
};

static key address_key(const struct addr *a) {
    key k = 0;
    for (unsigned i = 0; i < (a->family == AF_INET ? KEY4_LEN : KEY6_LEN); i++)
        k = k << 8 | a->ip[i];
    return k;
}

static int by_start_then_bits(const void *a, const void *b) {
    const struct cidr *x = a, *y = b;
    int order = memcmp(x->net.ip, y->net.ip, sizeof(x->net.ip));
    return order ? order : (int)x->bits - (int)y->bits;
}

/* From START on it is BITS. What came last gives way when it was about the same start. */
static bool put_range(struct grow *ranges, key start, uint8_t bits) {
    struct range *last = ranges->n ? grow_at(ranges, ranges->n - 1) : NULL;
    if (last && last->start == start) {
        ranges->n--;
        last = ranges->n ? last - 1 : NULL;
    }
    if (last && last->bits == bits)
        return true;
    struct range *r = grow_add(ranges, 1);
    if (r)
        *r = (struct range){start, bits};
    return r != NULL;
}

struct open_net {
    key end; /* its last address */
    uint8_t bits;
};

/* Networks that end before START are over; behind each of them the one around it continues. */
static bool close_until(struct grow *ranges, struct open_net *open, unsigned *depth, key start) {
    bool ok = true;
    while (*depth && open[*depth - 1].end < start) {
        key next = open[--*depth].end + 1;
        ok = put_range(ranges, next, *depth ? open[*depth - 1].bits : RANGES_NONE) && ok;
    }
    return ok;
}

static bool sweep_nets(struct grow *ranges, const struct cidr *nets, size_t n) {
    struct open_net open[DEPTH_MAX];
    unsigned depth = 0, size = nets[0].net.family == AF_INET ? 32 : 128;
    key last = size == 32 ? UINT32_MAX : ~(key)0;
    bool ok = put_range(ranges, 0, RANGES_NONE);
    for (size_t i = 0; i < n; i++) {
        key start = address_key(&nets[i].net);
        key host = nets[i].bits == 0 ? last : (((key)1 << (size - nets[i].bits)) - 1);
        ok = close_until(ranges, open, &depth, start) && ok;
        if (depth && open[depth - 1].bits == nets[i].bits) /* it is the same one */
            continue;
        open[depth++] = (struct open_net){start | host, nets[i].bits};
        ok = put_range(ranges, start, nets[i].bits) && ok;
    }
    return close_until(ranges, open, &depth, last) && ok;
}

int ranges_draft(struct cidr *nets, size_t n, struct ranges_draft **ret) {
    struct ranges_draft *d = calloc(1, sizeof(*d));
    if (!d)
        return ERR_NOMEM;
    grow_init(&d->ranges, sizeof(struct range), RANGES_MAX * sizeof(struct range));
    if (n)
        qsort(nets, n, sizeof(*nets), by_start_then_bits);
    if (n && !sweep_nets(&d->ranges, nets, n)) {
        bool full = d->ranges.n == RANGES_MAX;
        ranges_draft_free(d);
        return full ? ERR_LIMIT : ERR_NOMEM;
    }
    *ret = d;
    return 0;
}

void ranges_draft_free(struct ranges_draft *d) {
    if (d)
        grow_fini(&d->ranges);
    free(d);
}

uint32_t ranges_draft_count(const struct ranges_draft *d) {
    return (uint32_t)d->ranges.n;
}

/* ---- writing ---- */

static void write_node_key(enum ranges_family family, uint8_t *node, unsigned place, key k) {
    uint64_t half[2] = {(uint64_t)(k >> 64), (uint64_t)k};
    uint32_t whole = (uint32_t)k;
    if (family == RANGES_IPV4) {
        memcpy(node + place * KEY4_LEN, &whole, sizeof(whole));
        return;
    }
    memcpy(node + place * 8u, &half[0], 8);
    memcpy(node + HALF_OFFSET + place * 8u, &half[1], 8);
}

void ranges_write(const struct ranges_draft *d, enum ranges_family family, uint8_t *to) {
    struct levels l = levels_of(family, ranges_draft_count(d));
    uint64_t step = 1; /* keys of level 0 for one of this */
    for (unsigned level = 0; level < l.n; level++, step *= RANGES_FAN) {
        uint64_t len = node_len(family, level);
        for (uint64_t i = 0; i < (uint64_t)nodes_for(l.keys[level]) * RANGES_FAN; i++) {
            const struct range *r = i < l.keys[level] ? grow_at(&d->ranges, i * step) : NULL;
            uint8_t *node = to + l.off[level] + i / RANGES_FAN * len;
            write_node_key(family, node, i % RANGES_FAN, r ? r->start : ~(key)0);
            if (level == 0)
                node[len - RANGES_FAN + i % RANGES_FAN] = r ? r->bits : RANGES_NONE;
        }
    }
}

/* ---- finding ---- */

static inline uint32_t load32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap32(v);
}

static inline uint64_t load64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap64(v);
}

/*
 * The place in a node of the last key that is not above the address. The first key is not looked at: the caller has compared
 * it. Two rounds of three comparisons without branches, since nobody can predict them; the first round brings the node into the
 * cache. Padding is the highest key; that an address may be it is why the caller looks at the number of keys.
 */
static inline uint32_t place4(const uint8_t *node, uint32_t ip) {
    const uint32_t *k = (const void *)node;
    uint32_t at = (uint32_t)(k[4] <= ip) + (uint32_t)(k[8] <= ip) + (uint32_t)(k[12] <= ip);
    at *= 4;
    return at + (uint32_t)(k[at + 1] <= ip) + (uint32_t)(k[at + 2] <= ip) + (uint32_t)(k[at + 3] <= ip);
}

/* The upper halves decide, but where one of them is the address's own. */
static inline uint32_t place6(const uint8_t *node, uint64_t high, uint64_t low) {
    const uint64_t *k = (const void *)node;
    uint32_t at = (uint32_t)(k[4] <= high) + (uint32_t)(k[8] <= high) + (uint32_t)(k[12] <= high);
    at *= 4;
    at += (uint32_t)(k[at + 1] <= high) + (uint32_t)(k[at + 2] <= high) + (uint32_t)(k[at + 3] <= high);
    while (at && k[at] == high && k[RANGES_FAN + at] > low)
        at--;
    return at;
}

void ranges_open(enum ranges_family family, const uint8_t *at, uint32_t n, struct ranges *ret) {
    struct levels l = levels_of(family, n);
    *ret = (struct ranges){.n = n ? l.n : 0};
    for (unsigned i = 0; i < ret->n; i++) {
        ret->level[i] = at + l.off[i];
        ret->last[i] = l.keys[i] - 1;
    }
}

/* Once for each family: what follows from it is known when this is compiled. */
static inline uint8_t find_range(const struct ranges *r, enum ranges_family family, const uint8_t ip[static 16]) {
    uint32_t ip4 = load32(ip), place = 0;
    uint64_t high = load64(ip), low = load64(ip + 8);
    for (unsigned level = r->n - 1; level > 0; level--) {
        const uint8_t *node = r->level[level] + place * node_len(family, level);
        place = place * RANGES_FAN + (family == RANGES_IPV4 ? place4(node, ip4) : place6(node, high, low));
        place = MIN(place, r->last[level]);
    }
    const uint8_t *node = r->level[0] + place * node_len(family, 0), *values = node + node_len(family, 1);
    for (unsigned off = 64; off <= node_len(family, 1); off += 64) /* its lines come at the same time */
        __builtin_prefetch(node + off);
    uint32_t in_node = family == RANGES_IPV4 ? place4(node, ip4) : place6(node, high, low);
    return values[MIN(place * RANGES_FAN + in_node, r->last[0]) % RANGES_FAN];
}

uint8_t ranges_find(const struct ranges *r, enum ranges_family family, const uint8_t ip[static 16]) {
    if (r->n == 0)
        return RANGES_NONE;
    return family == RANGES_IPV4 ? find_range(r, RANGES_IPV4, ip) : find_range(r, RANGES_IPV6, ip);
}
