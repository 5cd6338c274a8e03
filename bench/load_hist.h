/*
 * Histogram of nanoseconds: 64 steps for each power of two, so a value is kept to within 1.6 %.
 */
#pragma once

#include <stdint.h>

#define HIST_STEPS   64u
#define HIST_BUCKETS (60u * HIST_STEPS)

struct hist {
    uint64_t n, max;
    uint32_t count[HIST_BUCKETS];
};

static inline uint32_t hist_bucket(uint64_t v) {
    if (v < HIST_STEPS)
        return (uint32_t)v;
    uint32_t shift = 63u - 6u - (uint32_t)__builtin_clzll(v);
    return (shift + 1) * HIST_STEPS + (uint32_t)((v >> shift) & (HIST_STEPS - 1));
}

static inline uint64_t hist_value(uint32_t bucket) {
    uint32_t row = bucket / HIST_STEPS, step = bucket % HIST_STEPS;
    return row == 0 ? step : ((uint64_t)(HIST_STEPS + step) << (row - 1)) + ((1ull << (row - 1)) >> 1);
}

static inline void hist_add(struct hist *h, uint64_t v) {
    h->count[hist_bucket(v)]++;
    h->n++;
    if (v > h->max)
        h->max = v;
}

/* The value that `part` of 1 of all do not exceed; 0 when there are none. */
static inline uint64_t hist_quantile(const struct hist *h, double part) {
    uint64_t want = (uint64_t)(part * (double)h->n), seen = 0;
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        seen += h->count[i];
        if (h->count[i] && seen > want)
            return hist_value(i);
    }
    return h->max;
}
