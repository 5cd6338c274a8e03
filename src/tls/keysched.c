/* HMAC is all that both key schedules need. */
#include "tls/keysched.h"

#include <string.h>

#include "base/err.h"
#include "base/secret.h"
#include "base/wr.h"
#include "tls/sha2.h"

#define LABEL_INFO_MAX (2 + 1 + 255 + 1 + 255) /* RFC 8446 7.1, HkdfLabel */

/* HKDF-Expand (RFC 5869 2.3). */
static int hkdf_expand(unsigned hash_id, struct span secret, struct span info, uint8_t *out, size_t out_len) {
    uint8_t block[HASH_LEN_MAX];
    size_t hlen = hash_len(hash_id), done = 0;
    if (out_len > 255 * hlen)
        return ERR_CRYPTO;

    for (uint8_t counter = 1; done < out_len; counter++) {
        struct span parts[] = {span_of(block, counter > 1 ? hlen : 0), info, span_of(&counter, 1)};
        sha2_hmac(hash_id, secret, parts, ARRAY_LEN(parts), block);
        size_t n = MIN(hlen, out_len - done);
        memcpy(out + done, block, n);
        done += n;
    }
    secret_wipe(block, sizeof block);
    return 0;
}

int keysched_expand_label(unsigned hash_id, const uint8_t *secret, const char *label, struct span context, uint8_t *out,
                          size_t out_len) {
    uint8_t info[LABEL_INFO_MAX];
    struct wr w = wr_of(info, sizeof info);
    size_t label_len = strlen(label);
    if (label_len > 255 - 6 || out_len > UINT16_MAX)
        return ERR_CRYPTO;
    wr_u16(&w, (uint16_t)out_len);
    wr_u8(&w, (uint8_t)(6 + label_len));
    wr_bytes(&w, "tls13 ", 6);
    wr_bytes(&w, label, label_len);
    wr_vec8(&w, context);
    if (!wr_end(&w))
        return ERR_CRYPTO;
    return hkdf_expand(hash_id, span_of(secret, hash_len(hash_id)), wr_written(&w), out, out_len);
}

int keysched_traffic_key(const struct suite *suite, const uint8_t *secret, uint8_t ret_key[static AEAD_KEY_MAX],
                         uint8_t ret_iv[static AEAD_NONCE_LEN]) {
    uint8_t key[AEAD_KEY_MAX] = {0}, iv[AEAD_NONCE_LEN];
    int rc = keysched_expand_label(suite->hash, secret, "key", span_of(NULL, 0), key, aead_of(suite->aead)->key_len);
    if (rc == 0)
        rc = keysched_expand_label(suite->hash, secret, "iv", span_of(NULL, 0), iv, sizeof iv);
    if (rc == 0) {
        memcpy(ret_key, key, sizeof key);
        memcpy(ret_iv, iv, sizeof iv);
    }
    secret_wipe(key, sizeof key);
    secret_wipe(iv, sizeof iv);
    return rc;
}

int keysched_next_secret(const struct suite *suite, uint8_t secret[static HASH_LEN_MAX]) {
    uint8_t next[HASH_LEN_MAX] = {0};
    int rc = keysched_expand_label(suite->hash, secret, "traffic upd", span_of(NULL, 0), next, hash_len(suite->hash));
    if (rc == 0)
        memcpy(secret, next, sizeof next);
    secret_wipe(next, sizeof next);
    return rc;
}

/* P_hash (RFC 5246 5). */
static void p_hash(unsigned hash_id, struct span secret, const struct span seed[static 3], uint8_t *out, size_t out_len) {
    uint8_t a[HASH_LEN_MAX], block[HASH_LEN_MAX];
    size_t hlen = hash_len(hash_id), done = 0;
    sha2_hmac(hash_id, secret, seed, 3, a);

    while (done < out_len) {
        struct span parts[] = {span_of(a, hlen), seed[0], seed[1], seed[2]};
        sha2_hmac(hash_id, secret, parts, ARRAY_LEN(parts), block);
        size_t n = MIN(hlen, out_len - done);
        memcpy(out + done, block, n);
        done += n;
        struct span prev = span_of(a, hlen);
        sha2_hmac(hash_id, secret, &prev, 1, a);
    }
    secret_wipe(a, sizeof a);
    secret_wipe(block, sizeof block);
}

int keysched_tls12_block(const struct suite *suite, const uint8_t master[static 48], const uint8_t client_random[static 32],
                         const uint8_t server_random[static 32], struct keysched_tls12 *ret) {
    const struct aead *aead = aead_of(suite->aead);
    size_t klen = aead->key_len, ivlen = aead->tls12_fixed_iv_len;
    uint8_t block[2 * (AEAD_KEY_MAX + AEAD_NONCE_LEN)];
    const struct span seed[3] = {span_str("key expansion"), span_of(server_random, 32), span_of(client_random, 32)};

    p_hash(suite->hash, span_of(master, 48), seed, block, 2 * (klen + ivlen));
    const uint8_t *p = block;
    *ret = (struct keysched_tls12){.client_key = {0}};
    memcpy(ret->client_key, p, klen);
    memcpy(ret->server_key, p + klen, klen);
    memcpy(ret->client_iv, p + 2 * klen, ivlen);
    memcpy(ret->server_iv, p + 2 * klen + ivlen, ivlen);
    secret_wipe(block, sizeof block);
    return 0;
}
