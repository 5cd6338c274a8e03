/*
 * Current rates of clients over 1, 10 and 60 seconds, from readings of the counters about once a second. A rate is a difference
 * of two readings by the time between them, so it is exact for the span it speaks of, late or missed readings included.
 *
 * Memory is bounded by the number of clients that the counters track (see stats.h): about 400 bytes each.
 */
#pragma once

#include <stdint.h>

#include "base/defs.h"
#include "wire/stats_read.h"

enum rate_span { RATE_1S, RATE_10S, RATE_60S, RATE_SPANS };

/* Plain bytes a second, from and to the client. */
struct rate {
    double in[RATE_SPANS], out[RATE_SPANS];
};

struct rates;

/* NULL without memory. */
struct rates *rates_new(void);
void rates_free(struct rates *r);

/* Takes a reading, the newest so far. Readings within half a second of the last one are passed over. ERR_NOMEM. */
MUST_CHECK int rates_take(struct rates *r, const struct stats_clients *c, uint64_t now_ms);

/* As of the last reading; all 0 for a client that was not in it. */
struct rate rates_of(const struct rates *r, const struct stats_client *c);
