/* Text in a buffer of the caller's: always ended by a zero, cut at the end when too long, and it knows when it was cut. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"

struct text {
    char *p;
    size_t len; /* without the zero */
    size_t cap; /* with the zero; at least 1 */
    bool cut;
};

struct text text_of(char *p, size_t cap);
void text_add(struct text *t, const char *s);
void text_add_span(struct text *t, struct span s);
void text_addf(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* As many whole lines as have room; when those are not all, "and 7 more lines" behind them. */
void text_add_lines(struct text *t, const char *lines);
/* Text that was cut, in UTF-8, ends in "..." behind a whole character from here. */
void text_mark_cut(struct text *t);
void text_add_hex(struct text *t, struct span bytes);
/* Pairs of hexadecimal digits of either case: their bytes in TO. ERR_FORMAT, or ERR_LIMIT above CAP. */
MUST_CHECK int text_read_hex(struct span hex, uint8_t *to, size_t cap, size_t *ret_len);

/* Decimal digits only, whole text. ERR_FORMAT, or ERR_LIMIT above MAX. */
MUST_CHECK int text_parse_u64(const char *s, uint64_t max, uint64_t *ret);
