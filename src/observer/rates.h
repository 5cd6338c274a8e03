/*
 * How fast things are: cumulative values looked at once a second, and what they grew by within the last 1, 10 and 60 s. Series
 * are named by a hash; one that is not fed any more is forgotten. Memory is bounded by the number of series.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"

#define RATES_VALUES_MAX 8
#define RATES_SPANS      3 /* 1 s, 10 s, 60 s */

extern const unsigned rates_seconds[RATES_SPANS];

struct rates;

/* At most MAX series of so many values each. NULL when out of memory. */
struct rates *rates_new(unsigned values, size_t max);
void rates_free(struct rates *r);

/* Once a second: begin, feed every series, end. */
void rates_begin(struct rates *r, uint64_t now_ms);

/*
 * FROM_ZERO: a series seen for the first time has grown to its values since the last second, so all of it counts; otherwise
 * what it had before it was first seen does not. Beyond MAX nothing is kept.
 */
void rates_feed(struct rates *r, struct span key, const uint64_t *values, bool from_zero);
void rates_end(struct rates *r);

/* Growth of value V a second over the last rates_seconds[SPAN] (or as long as is known); 0 for an unknown series. */
double rates_get(const struct rates *r, struct span key, unsigned v, unsigned span);

/* Series known now. */
size_t rates_known(const struct rates *r);
