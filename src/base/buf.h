/*
 * A growable run of bytes that owns its memory, has a hard maximum, and is wiped when it goes.
 * For bytes that must wait: nothing is allocated until the first byte, and draining it gives the memory back.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"

struct buf {
    uint8_t *p;
    size_t off; /* bytes already consumed from the front */
    size_t len; /* end of the bytes held; held are [off, len) */
    size_t cap; /* allocated */
    size_t max; /* never more than this many bytes held */
};

/* An empty buffer that will hold at most MAX bytes. Allocates nothing. */
void buf_init(struct buf *b, size_t max);

/* Wipes and frees; the buffer is empty and usable again. */
void buf_fini(struct buf *b);

/* Appends. ERR_LIMIT past the maximum, ERR_NOMEM; the buffer is unchanged then. */
MUST_CHECK int buf_append(struct buf *b, const void *from, size_t n);

/* Room for N more bytes to be written in place, then buf_commit(). NULL when over the maximum or out of memory. */
uint8_t *buf_reserve(struct buf *b, size_t n);

/* Counts N bytes written into the room last reserved. MUST fit it. */
void buf_commit(struct buf *b, size_t n);

/* Drops N bytes from the front (MUST be held); an emptied buffer gives its memory back. */
void buf_consume(struct buf *b, size_t n);

/* Keeps the first N bytes held (MUST be held) and drops the others, which are wiped. */
void buf_cut(struct buf *b, size_t n);

/* The bytes held; valid until the next call that changes the buffer. */
static inline struct span buf_span(const struct buf *b) {
    return (struct span){b->p ? b->p + b->off : NULL, b->len - b->off}; /* NULL + 0 is undefined in C */
}

static inline size_t buf_len(const struct buf *b) {
    return b->len - b->off;
}
