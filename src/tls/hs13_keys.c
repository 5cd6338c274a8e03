#include "tls/hs13_keys.h"

#include <string.h>

#include "base/defs.h"
#include "base/secret.h"
#include "tls/keysched.h"

#define MESSAGE_HASH 254

void hs13_keys_begin(struct hs13_keys *k, unsigned hash) {
    k->hash = hash;
    sha2_begin(hash, &k->transcript);
}

void hs13_keys_add(struct hs13_keys *k, struct span bytes) {
    sha2_add(k->hash, &k->transcript, bytes.p, bytes.len);
}

void hs13_keys_digest(const struct hs13_keys *k, uint8_t ret[static HASH_LEN_MAX]) {
    union sha2 copy = k->transcript;
    sha2_end(k->hash, &copy, ret);
}

void hs13_keys_retry(struct hs13_keys *k) {
    uint8_t digest[HASH_LEN_MAX];
    const uint8_t head[] = {MESSAGE_HASH, 0, 0, (uint8_t)hash_len(k->hash)};
    hs13_keys_digest(k, digest);
    sha2_begin(k->hash, &k->transcript);
    hs13_keys_add(k, span_of(head, sizeof(head)));
    hs13_keys_add(k, span_of(digest, hash_len(k->hash)));
}

/* HKDF-Extract (RFC 5869 2.2); without INPUT a hash' length of zeros. */
static void extract_secret(unsigned hash, struct span salt, struct span input, uint8_t ret[static HASH_LEN_MAX]) {
    static const uint8_t zeros[HASH_LEN_MAX];
    if (input.len == 0)
        input = span_of(zeros, hash_len(hash));
    sha2_hmac(hash, salt, &input, 1, ret);
}

static void expand_secret(unsigned hash, const uint8_t *secret, const char *label, struct span context,
                          uint8_t ret[static HASH_LEN_MAX]) {
    MUST(keysched_expand_label(hash, secret, label, context, ret, hash_len(hash)) == 0);
}

/* Derive-Secret over no messages. */
static void derive_empty(unsigned hash, const uint8_t *secret, const char *label, uint8_t ret[static HASH_LEN_MAX]) {
    static uint8_t empty[2][HASH_LEN_MAX];
    static bool made[2];
    uint8_t *digest = empty[hash == HASH_SHA384];
    if (!made[hash == HASH_SHA384]) {
        union sha2 s;
        sha2_begin(hash, &s);
        sha2_end(hash, &s, digest);
        made[hash == HASH_SHA384] = true;
    }
    expand_secret(hash, secret, label, span_of(digest, hash_len(hash)), ret);
}

void hs13_keys_early(struct hs13_keys *k, struct span psk) {
    extract_secret(k->hash, span_of(NULL, 0), psk, k->secret);
}

void hs13_keys_next(struct hs13_keys *k, struct span input) {
    uint8_t salt[HASH_LEN_MAX];
    derive_empty(k->hash, k->secret, "derived", salt);
    extract_secret(k->hash, span_of(salt, hash_len(k->hash)), input, k->secret);
    secret_wipe(salt, sizeof(salt));
}

void hs13_keys_derive(const struct hs13_keys *k, const char *label, uint8_t ret[static HASH_LEN_MAX]) {
    uint8_t digest[HASH_LEN_MAX];
    hs13_keys_digest(k, digest);
    expand_secret(k->hash, k->secret, label, span_of(digest, hash_len(k->hash)), ret);
}

void hs13_keys_traffic(const struct suite *suite, struct traffic_keys *keys) {
    MUST(keysched_traffic_key(suite, keys->secret, keys->key, keys->iv) == 0);
    keys->seq = 0;
}

void hs13_keys_mac(unsigned hash, const uint8_t *base, const uint8_t *digest, uint8_t ret[static HASH_LEN_MAX]) {
    uint8_t key[HASH_LEN_MAX];
    struct span input = span_of(digest, hash_len(hash));
    expand_secret(hash, base, "finished", span_of(NULL, 0), key);
    sha2_hmac(hash, span_of(key, hash_len(hash)), &input, 1, ret);
    secret_wipe(key, sizeof(key));
}

void hs13_keys_binder(const struct hs13_keys *k, uint8_t ret[static HASH_LEN_MAX]) {
    derive_empty(k->hash, k->secret, "res binder", ret);
}

void hs13_keys_ticket(unsigned hash, const uint8_t *resumption, struct span nonce, uint8_t ret[static HASH_LEN_MAX]) {
    expand_secret(hash, resumption, "resumption", nonce, ret);
}
