/*
 * Our own OpenSSL provider, built in: a lean TLS13-KDF (RFC 8446 7.1 over SHA-256 and SHA-384) in place of libssl's, which on
 * OpenSSL 3.0 spends a tenth of a handshake on building HMAC objects. As it computes every secret it also publishes the two we
 * take over, which spares the key-log callback and its hexadecimal text.
 *
 * It is preferred by the property query KDF_PROVIDER_QUERY of an SSL_CTX, so nothing else in the process changes. The same
 * provider has the keys of key_provider.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tls/suite.h"

#define KDF_PROVIDER_QUERY "?structure=tls-off-kdf"

/* The application traffic secrets of one handshake (RFC 8446 7.1, "c ap traffic" and "s ap traffic"); lengths 0 = not seen. */
struct kdf_secrets {
    uint8_t client[HASH_LEN_MAX], server[HASH_LEN_MAX];
    uint8_t client_len, server_len;
};

/* Makes the provider known to libcrypto's default context. False when it cannot be loaded. */
bool kdf_provider_load(void);

/* From now on secrets go to TO (kept until the next call; NULL = nowhere): the handshake that runs in this process now. */
void kdf_provider_watch(struct kdf_secrets *to);
