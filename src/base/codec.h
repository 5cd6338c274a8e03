/*
 * One description of a layout for both directions: it is read in the order in which it is written, so no field can be forgotten
 * on one side only. A codec has a reading or a writing cursor, and what it visits is read into or written from.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rd.h"
#include "base/wr.h"

/* Exactly one is set. */
struct codec {
    struct wr *w;
    struct rd *r;
};

/* Makes the cursor bad, for good, when IS_BAD; whether it is bad. */
bool codec_bad(struct codec *io, bool is_bad);

/* V as a number of BYTES bytes: the one that was read, or V itself. */
uint64_t codec_number(struct codec *io, size_t bytes, uint64_t v);

/* A count of up to MAX items, as 32 bits; 0 when it makes no sense. Whatever is counted takes at least a byte each. */
size_t codec_count(struct codec *io, size_t n, size_t max);

/* N bytes in place; zeroes when they are not there. */
void codec_bytes(struct codec *io, void *p, size_t n);

/* Any plain variable, by its size; signs are preserved. */
#define CODEC_VALUE(io, x) ((x) = (__typeof__(x))codec_number((io), sizeof(x), (uint64_t)(x)))
