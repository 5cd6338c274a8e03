/*
 * What an AEAD engine costs a record, without anything around it: nanoseconds to load a key, to seal and to open, for the
 * record sizes that matter. Usage: engine_bench [milliseconds per value]. Each value is the median of 9 rounds, best in
 * brackets.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "tls/engine.h"
#include "tls/record.h"

#define ROUNDS 9

enum work { LOAD_KEY, SEAL, OPEN, WORK_COUNT };

struct subject {
    const struct engine *engine;
    void *ctx[2]; /* open, seal */
    size_t len;
};

struct result {
    double median, best;
};

static uint8_t data[RECORD_PLAIN_MAX], sealed[RECORD_PLAIN_MAX], tag[AEAD_TAG_LEN];
static const uint8_t key[AEAD_KEY_MAX] = "a key for measuring, nothing els";
static const uint8_t nonce[AEAD_NONCE_LEN] = "12 byte IV.";
static const struct span aad = {(const uint8_t *)"\x17\x03\x03\x40\x11", 5};

/* Opening needs what was sealed: it is copied back each time, and the copy is measured too (some 0.02 ns a byte). */
static int one(const struct subject *s, enum work work) {
    switch (work) {
    case LOAD_KEY:
        return s->engine->set_key(s->ctx[1], key);
    case SEAL:
        return s->engine->seal(s->ctx[1], nonce, aad, data, s->len, tag);
    default:
        memcpy(data, sealed, s->len);
        return s->engine->open(s->ctx[0], nonce, aad, data, s->len, tag);
    }
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool measure(const struct subject *s, enum work work, uint64_t round_us, struct result *ret) {
    double ns[ROUNDS];
    for (int r = 0; r < ROUNDS; r++) {
        uint64_t n = 0, start = clock_mono_us(), now;
        do {
            for (int i = 0; i < 64; i++)
                if (one(s, work) != 0)
                    return false;
            n += 64;
            now = clock_mono_us();
        } while (now - start < round_us);
        ns[r] = (double)(now - start) * 1000 / (double)n;
    }
    qsort(ns, ROUNDS, sizeof ns[0], compare);
    *ret = (struct result){ns[ROUNDS / 2], ns[0]};
    return true;
}

static bool bench(const struct engine *e, enum aead_id aead, size_t len, uint64_t round_us) {
    struct subject s = {.engine = e, .ctx = {e->ctx_new(aead, false), e->ctx_new(aead, true)}, .len = len};
    struct result f[WORK_COUNT];
    bool good = s.ctx[0] && s.ctx[1] && e->set_key(s.ctx[0], key) == 0 && e->set_key(s.ctx[1], key) == 0 &&
                measure(&s, LOAD_KEY, round_us, &f[LOAD_KEY]) && measure(&s, SEAL, round_us, &f[SEAL]);
    if (good) {
        memset(sealed, 7, sizeof sealed);
        good = e->seal(s.ctx[1], nonce, aad, sealed, len, tag) == 0 && measure(&s, OPEN, round_us, &f[OPEN]);
    }
    if (good)
        printf("%-10s %-18s %6zu   %7.0f (%.0f)   %7.0f (%.0f)   %7.0f (%.0f)   %6.2f\n", e->name, aead_of(aead)->name, len,
               f[LOAD_KEY].median, f[LOAD_KEY].best, f[SEAL].median, f[SEAL].best, f[OPEN].median, f[OPEN].best,
               (double)len / f[SEAL].median);
    e->ctx_free(s.ctx[0]);
    e->ctx_free(s.ctx[1]);
    return good;
}

int main(int argc, char **argv) {
    static const char *const names[] = {"libcrypto", "mb"};
    static const size_t lens[] = {64, 1400, 16384};
    uint64_t total_ms = 90;
    if (argc > 1 && text_parse_u64(argv[1], 1000000, &total_ms) != 0) {
        fprintf(stderr, "usage: engine_bench [milliseconds per value]\n");
        return 2;
    }
    printf("%-10s %-18s %6s   %s\n", "engine", "AEAD", "bytes", "ns: load key      seal            open          GB/s sealed");
    for (enum aead_id aead = 0; aead < AEAD_COUNT; aead++)
        for (size_t l = 0; l < ARRAY_LEN(lens); l++)
            for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                const struct engine *e = engine_find(names[i]);
                if (e && !bench(e, aead, lens[l], total_ms * 1000 / ROUNDS)) {
                    fprintf(stderr, "engine_bench: %s failed\n", e->name);
                    return 1;
                }
            }
    return 0;
}
