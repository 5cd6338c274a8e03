/*
 * The key schedule of a TLS 1.3 handshake (RFC 8446 7.1) and its transcript: labels and stages, nothing of messages. What
 * cannot fail but by a fault of ours is a MUST: no byte of a client's gets here but through a hash.
 */
#pragma once

#include <stdint.h>

#include "base/span.h"
#include "tls/record.h"
#include "tls/sha2.h"

struct hs13_keys {
    unsigned hash;
    union sha2 transcript;
    uint8_t secret[HASH_LEN_MAX]; /* of the present stage: early, handshake, master */
};

/* An empty transcript. */
void hs13_keys_begin(struct hs13_keys *k, unsigned hash);

void hs13_keys_add(struct hs13_keys *k, struct span bytes);

/* Hash of the messages so far. */
void hs13_keys_digest(const struct hs13_keys *k, uint8_t ret[static HASH_LEN_MAX]);

/* The first ClientHello becomes a message_hash (RFC 8446 4.4.1): before the HelloRetryRequest is added. */
void hs13_keys_retry(struct hs13_keys *k);

/* The early stage; PSK empty: none. */
void hs13_keys_early(struct hs13_keys *k, struct span psk);

/* The next stage: INPUT is the exchange's secret, then nothing (zeros). */
void hs13_keys_next(struct hs13_keys *k, struct span input);

/* Derive-Secret of the present stage over the transcript so far; hash_len() bytes. */
void hs13_keys_derive(const struct hs13_keys *k, const char *label, uint8_t ret[static HASH_LEN_MAX]);

/* A direction's traffic secret becomes key and IV, number 0; HALF->secret is set. */
void hs13_keys_traffic(const struct suite *suite, struct traffic_keys *keys);

/* The exchange's MAC (RFC 8446 4.4.4) by a base key over DIGEST: Finished, and binders. */
void hs13_keys_mac(unsigned hash, const uint8_t *base, const uint8_t *digest, uint8_t ret[static HASH_LEN_MAX]);

/* The binder key of the early stage (RFC 8446 7.1, "res binder"). */
void hs13_keys_binder(const struct hs13_keys *k, uint8_t ret[static HASH_LEN_MAX]);

/* The PSK of a ticket (RFC 8446 4.6.1) from the resumption secret. */
void hs13_keys_ticket(unsigned hash, const uint8_t *resumption, struct span nonce, uint8_t ret[static HASH_LEN_MAX]);
