#include "observer/rates.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/rand.h"

#define FINE      11 /* samples a second apart: the last 10 s, both ends */
#define COARSE    7  /* samples ten seconds apart: the last 60 s */
#define COARSE_BY 10

const unsigned rates_seconds[RATES_SPANS] = {1, 10, 60};

/* VALUES samples of FINE, then of COARSE; slot by second modulo their number. */
struct series {
    uint64_t hash;
    uint64_t seen; /* second it was fed last */
    uint64_t samples[];
};

struct rates {
    struct hash_key key;
    unsigned values;
    size_t max, n, stride;
    uint8_t *series;
    uint32_t *slots; /* number of a series from 1; 0 = free; at most half full */
    size_t nslots;
    uint64_t second;        /* seconds begun; 0 = none yet */
    uint64_t fine_ms[FINE]; /* when each sample was taken; 0 = never */
    uint64_t coarse_ms[COARSE];
};

static struct series *at(const struct rates *r, size_t i) {
    return (struct series *)(void *)(r->series + i * r->stride);
}

static uint64_t *fine(const struct rates *r, struct series *s, uint64_t second) {
    return s->samples + (second % FINE) * r->values;
}

static uint64_t *coarse(const struct rates *r, struct series *s, uint64_t second) {
    return s->samples + (FINE + second / COARSE_BY % COARSE) * r->values;
}

struct rates *rates_new(unsigned values, size_t max) {
    struct rates *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->values = values;
    r->max = max;
    r->stride = sizeof(struct series) + (size_t)(FINE + COARSE) * values * sizeof(uint64_t);
    for (r->nslots = 16; r->nslots < 2 * max;)
        r->nslots *= 2;
    rand_bytes(&r->key, sizeof(r->key));
    r->series = calloc(max, r->stride); /* pages come as they are needed */
    r->slots = calloc(r->nslots, sizeof(*r->slots));
    if (r->series && r->slots && values <= RATES_VALUES_MAX)
        return r;
    rates_free(r);
    return NULL;
}

void rates_free(struct rates *r) {
    if (!r)
        return;
    free(r->series);
    free(r->slots);
    free(r);
}

/* The slot of HASH, or the free one where it belongs. */
static uint32_t *find_series_slot(const struct rates *r, uint64_t hash) {
    for (size_t i = hash & (r->nslots - 1);; i = (i + 1) & (r->nslots - 1))
        if (!r->slots[i] || at(r, r->slots[i] - 1)->hash == hash)
            return &r->slots[i];
}

void rates_begin(struct rates *r, uint64_t now_ms) {
    r->second++;
    r->fine_ms[r->second % FINE] = now_ms;
    if (r->second % COARSE_BY == 1)
        r->coarse_ms[r->second / COARSE_BY % COARSE] = now_ms;
}

static struct series *add_series(struct rates *r, uint32_t *slot, uint64_t hash, const uint64_t *values, bool from_zero) {
    if (r->n == r->max)
        return NULL;
    struct series *s = at(r, r->n++);
    *slot = (uint32_t)r->n;
    s->hash = hash;
    for (size_t i = 0; i < FINE + COARSE; i++)
        for (size_t v = 0; v < r->values; v++)
            s->samples[i * r->values + v] = from_zero && r->second > 1 ? 0 : values[v];
    return s;
}

void rates_feed(struct rates *r, struct span key, const uint64_t *values, bool from_zero) {
    uint64_t hash = hash_bytes(&r->key, key);
    uint32_t *slot = find_series_slot(r, hash);
    struct series *s = *slot ? at(r, *slot - 1) : add_series(r, slot, hash, values, from_zero);
    if (!s)
        return;
    s->seen = r->second;
    memcpy(fine(r, s, r->second), values, r->values * sizeof(*values));
    if (r->second % COARSE_BY == 1)
        memcpy(coarse(r, s, r->second), values, r->values * sizeof(*values));
}

void rates_end(struct rates *r) {
    size_t before = r->n;
    for (size_t i = 0; i < r->n;) {
        if (at(r, i)->seen == r->second)
            i++;
        else if (i != --r->n)
            memcpy(at(r, i), at(r, r->n), r->stride);
    }
    if (r->n == before)
        return;
    memset(r->slots, 0, r->nslots * sizeof(*r->slots));
    for (size_t i = 0; i < r->n; i++)
        *find_series_slot(r, at(r, i)->hash) = (uint32_t)(i + 1);
}

/* The sample to compare with: that of SECONDS ago, or the oldest there is. False when there is none yet. */
static bool past(const struct rates *r, struct series *s, unsigned seconds, const uint64_t **ret, uint64_t *ret_ms) {
    uint64_t now = r->second, second = now > seconds ? now - seconds : 1;
    if (now - second < FINE) {
        *ret = fine(r, s, second);
        *ret_ms = r->fine_ms[second % FINE];
    } else { /* the coarse sample at or behind that second */
        second = (second + COARSE_BY - 2) / COARSE_BY * COARSE_BY + 1;
        *ret = coarse(r, s, second);
        *ret_ms = r->coarse_ms[second / COARSE_BY % COARSE];
    }
    return second < now && *ret_ms != 0;
}

double rates_get(const struct rates *r, struct span key, unsigned v, unsigned span) {
    uint32_t slot = *find_series_slot(r, hash_bytes(&r->key, key));
    const uint64_t *then;
    uint64_t then_ms;
    if (!slot || r->second == 0)
        return 0;
    struct series *s = at(r, slot - 1);
    if (!past(r, s, rates_seconds[span], &then, &then_ms))
        return 0;
    uint64_t now = fine(r, s, r->second)[v], now_ms = r->fine_ms[r->second % FINE];
    if (now_ms <= then_ms || now <= then[v]) /* one that became smaller started again */
        return now_ms > then_ms && now < then[v] ? (double)now * 1000 / (double)(now_ms - then_ms) : 0;
    return (double)(now - then[v]) * 1000 / (double)(now_ms - then_ms);
}

size_t rates_known(const struct rates *r) {
    return r->n;
}
