/*
 * Writing cursor into memory of the caller's, big-endian, with a sticky error: what does not fit is not written, and wr_end()
 * reports it once. Nothing is ever written past the capacity.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/defs.h"
#include "base/span.h"

struct wr {
    uint8_t *p;
    size_t len;
    size_t cap;
    bool bad;
};

static inline struct wr wr_of(void *p, size_t cap) {
    return (struct wr){p, 0, cap, false};
}

/* Room for N bytes that the caller fills at once; NULL when there is none. */
static inline uint8_t *wr_room(struct wr *w, size_t n) {
    if (w->bad || n > w->cap - w->len) {
        w->bad = true;
        return NULL;
    }
    uint8_t *p = w->p + w->len;
    w->len += n;
    return p;
}

static inline void wr_bytes(struct wr *w, const void *from, size_t n) {
    uint8_t *p = wr_room(w, n);
    if (p && n)
        memcpy(p, from, n);
}

static inline void wr_span(struct wr *w, struct span s) {
    wr_bytes(w, s.p, s.len);
}

static inline void wr_uint(struct wr *w, uint64_t v, size_t n) {
    uint8_t *p = wr_room(w, n);
    for (size_t i = 0; p && i < n; i++)
        p[i] = (uint8_t)(v >> 8 * (n - 1 - i));
}

static inline void wr_u8(struct wr *w, uint8_t v) {
    wr_uint(w, v, 1);
}
static inline void wr_u16(struct wr *w, uint16_t v) {
    wr_uint(w, v, 2);
}
static inline void wr_u24(struct wr *w, uint32_t v) {
    wr_uint(w, v, 3);
}
static inline void wr_u32(struct wr *w, uint32_t v) {
    wr_uint(w, v, 4);
}
static inline void wr_u64(struct wr *w, uint64_t v) {
    wr_uint(w, v, 8);
}

/* A span behind its length; a span too long for the length field is an error. */
static inline void wr_vec8(struct wr *w, struct span s) {
    w->bad = w->bad || s.len > 0xff;
    wr_u8(w, (uint8_t)s.len);
    wr_span(w, s);
}
static inline void wr_vec16(struct wr *w, struct span s) {
    w->bad = w->bad || s.len > 0xffff;
    wr_u16(w, (uint16_t)s.len);
    wr_span(w, s);
}

/* True when everything written fitted. */
static inline MUST_CHECK bool wr_end(const struct wr *w) {
    return !w->bad;
}

static inline struct span wr_written(const struct wr *w) {
    return (struct span){w->p, w->len};
}
