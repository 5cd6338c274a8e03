/*
 * Reading cursor over a span, big-endian, with a sticky error: a parser reads its fields in a straight line and asks once at
 * the end. After the first overrun every read gives zero or an empty span, and nothing is ever read past the end; no byte is
 * left then, so a loop over rd_left() comes to its end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"

struct rd {
    const uint8_t *p;
    const uint8_t *end;
    bool bad;
};

static inline struct rd rd_of(struct span s) {
    return (struct rd){s.p, s.len ? s.p + s.len : s.p, false}; /* NULL + 0 is undefined in C */
}

static inline size_t rd_left(const struct rd *r) {
    return (size_t)(r->end - r->p);
}

/* N bytes, borrowed from the span the cursor was made of. */
static inline struct span rd_bytes(struct rd *r, size_t n) {
    if (r->bad || n > rd_left(r)) {
        r->bad = true;
        r->p = r->end;
        return (struct span){NULL, 0};
    }
    struct span s = {r->p, n};
    r->p += n;
    return s;
}

static inline uint64_t rd_uint(struct rd *r, size_t n) {
    struct span s = rd_bytes(r, n);
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++)
        v = v << 8 | s.p[i];
    return v;
}

static inline uint8_t rd_u8(struct rd *r) {
    return (uint8_t)rd_uint(r, 1);
}
static inline uint16_t rd_u16(struct rd *r) {
    return (uint16_t)rd_uint(r, 2);
}
static inline uint32_t rd_u24(struct rd *r) {
    return (uint32_t)rd_uint(r, 3);
}
static inline uint32_t rd_u32(struct rd *r) {
    return (uint32_t)rd_uint(r, 4);
}
static inline uint64_t rd_u64(struct rd *r) {
    return rd_uint(r, 8);
}

/* A vector behind a length of 1, 2 or 3 bytes (RFC 8446 3.4). */
static inline struct span rd_vec8(struct rd *r) {
    return rd_bytes(r, rd_u8(r));
}
static inline struct span rd_vec16(struct rd *r) {
    return rd_bytes(r, rd_u16(r));
}
static inline struct span rd_vec24(struct rd *r) {
    return rd_bytes(r, rd_u24(r));
}

/* Copies N bytes out; zeroes when they are not there. */
static inline void rd_copy(struct rd *r, void *to, size_t n) {
    struct span s = rd_bytes(r, n);
    if (s.p)
        memcpy(to, s.p, n);
    else
        memset(to, 0, n);
}

/* True when no read overran and no byte is left over. */
static inline MUST_CHECK bool rd_end(const struct rd *r) {
    return !r->bad && r->p == r->end;
}
