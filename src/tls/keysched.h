/* The key schedule after the handshake: TLS 1.3 labels (RFC 8446 7.1-7.3) and the TLS 1.2 key block (RFC 5246 6.3). */
#pragma once

#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "tls/suite.h"

/* HKDF-Expand-Label (RFC 8446 7.1); OUT gets OUT_LEN bytes. ERR_CRYPTO. */
MUST_CHECK int keysched_expand_label(unsigned hash_id, const uint8_t *secret, const char *label, struct span context,
                                     uint8_t *out, size_t out_len);

/* Key and IV of a traffic secret (RFC 8446 7.3). ERR_CRYPTO. */
MUST_CHECK int keysched_traffic_key(const struct suite *suite, const uint8_t *secret, uint8_t ret_key[static AEAD_KEY_MAX],
                                    uint8_t ret_iv[static AEAD_NONCE_LEN]);

/* Replaces a traffic secret by the next one (RFC 8446 7.2). ERR_CRYPTO. */
MUST_CHECK int keysched_next_secret(const struct suite *suite, uint8_t secret[static HASH_LEN_MAX]);

/* One direction's part of the TLS 1.2 key block; fixed IVs shorter than 12 bytes are zero-filled at the end. */
struct keysched_tls12 {
    uint8_t client_key[AEAD_KEY_MAX], server_key[AEAD_KEY_MAX];
    uint8_t client_iv[AEAD_NONCE_LEN], server_iv[AEAD_NONCE_LEN];
};

/* Keys from the master secret (48 bytes) and both randoms (32 bytes each). ERR_CRYPTO. The caller wipes RET. */
MUST_CHECK int keysched_tls12_block(const struct suite *suite, const uint8_t master[static 48],
                                    const uint8_t client_random[static 32], const uint8_t server_random[static 32],
                                    struct keysched_tls12 *ret);
