/*
 * The other end of a record layer, for tests and fuzzers: a record layer and the two directions of its peer under the same
 * keys, and a way to seal what no honest peer would seal.
 */
#pragma once

#include <stdint.h>
#include <string.h>

#include "base/defs.h"
#include "tls/engine.h"
#include "tls/keysched.h"
#include "tls/record.h"
#include "tls/record_layer.h"

struct record_peer {
    const struct suite *suite;
    struct engine_contexts contexts;
    struct record_layer record_layer;
    struct traffic_keys out; /* what the record layer opens */
    struct traffic_keys in;  /* what the record layer seals */
};

static inline void peer_half(struct traffic_keys *h, const struct suite *suite, uint8_t seed) {
    memset(h, 0, sizeof *h);
    if (suite->version == TLS_1_3) {
        for (size_t i = 0; i < hash_len(suite->hash); i++)
            h->secret[i] = (uint8_t)(seed + 3 * i);
        MUST(keysched_traffic_key(suite, h->secret, h->key, h->iv) == 0);
        return;
    }
    for (size_t i = 0; i < aead_of(suite->aead)->key_len; i++)
        h->key[i] = (uint8_t)(seed + 5 * i);
    for (size_t i = 0; i < aead_of(suite->aead)->tls12_fixed_iv_len; i++)
        h->iv[i] = (uint8_t)(seed + 7 * i);
    h->seq = 1; /* Finished was number 0 */
    h->explicit_nonce = UINT64_C(0x1122334455667788) + seed;
}

static inline void peer_init(struct record_peer *p, const struct suite *suite, const struct engine *engine) {
    memset(p, 0, sizeof *p);
    p->suite = suite;
    engine_contexts_init(&p->contexts, engine);
    peer_half(&p->out, suite, 1);
    peer_half(&p->in, suite, 101);
    p->record_layer.in = p->out;
    p->record_layer.out = p->in;
    p->record_layer.suite_id = suite->id;
    p->record_layer.out_max = RECORD_PLAIN_MAX;
}

static inline void peer_fini(struct record_peer *p) {
    engine_contexts_fini(&p->contexts);
}

/* A record as record_seal() makes it; its length. */
static inline size_t peer_seal(struct record_peer *p, enum content_type type, const void *data, size_t len, uint8_t *out) {
    struct record_run run;
    size_t n = 0;
    MUST(record_run_begin(&run, &p->contexts, p->suite, &p->out, true) == 0);
    if (len)
        memcpy(out + record_prefix(p->suite), data, len);
    MUST(record_seal(&run, type, out, len, &n) == 0);
    return n;
}

/* A TLS 1.3 record that authenticates, around any inner plaintext, under any outer type. */
static inline size_t peer_seal_inner(struct record_peer *p, uint8_t outer, const void *inner, size_t len, uint8_t *out) {
    const struct engine *e = p->contexts.engine;
    uint8_t nonce[AEAD_NONCE_LEN];
    void *ctx = engine_contexts_load(&p->contexts, p->suite->aead, true, p->out.key);
    MUST(ctx && p->suite->version == TLS_1_3);
    memcpy(nonce, p->out.iv, sizeof nonce);
    for (int i = 0; i < 8; i++)
        nonce[4 + i] ^= (uint8_t)(p->out.seq >> (56 - 8 * i));
    out[0] = outer;
    out[1] = out[2] = 3;
    out[3] = (uint8_t)((len + AEAD_TAG_LEN) >> 8);
    out[4] = (uint8_t)(len + AEAD_TAG_LEN);
    if (len)
        memcpy(out + RECORD_HEADER_LEN, inner, len);
    MUST(e->seal(ctx, nonce, span_of(out, RECORD_HEADER_LEN), out + RECORD_HEADER_LEN, len, out + RECORD_HEADER_LEN + len) ==
         0);
    p->out.seq++;
    return RECORD_HEADER_LEN + len + AEAD_TAG_LEN;
}

/* Opens one record that the record layer sealed. */
static inline int peer_open(struct record_peer *p, uint8_t *rec, size_t len, enum content_type *ret_type,
                            struct span *ret_plain) {
    struct record_run run;
    int rc = record_run_begin(&run, &p->contexts, p->suite, &p->in, false);
    return rc ? rc : record_open(&run, rec, len, ret_type, ret_plain);
}

/* Moves a half of the peer's to the next key, as a KeyUpdate does. */
static inline void peer_next_key(struct record_peer *p, struct traffic_keys *h) {
    MUST(keysched_next_secret(p->suite, h->secret) == 0);
    MUST(keysched_traffic_key(p->suite, h->secret, h->key, h->iv) == 0);
    h->seq = 0;
}
