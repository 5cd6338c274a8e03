/*
 * Private keys that are elsewhere: our OpenSSL provider's KEYMGMT and SIGNATURE. Such a key has its public half, so libssl can
 * choose and compare it like any other, and a number; signing passes ALL bytes to be signed to a callback, which asks the owner
 * of the key. There is no private half to lose, no decryption, no signing of bare digests.
 *
 * The provider is loaded by kdf_provider_load(). Its keys are made here and nowhere else; every other key of the process stays
 * with OpenSSL's own provider.
 */
#pragma once

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"

#define KEY_SIGNATURE_MAX 1024 /* RSA of 8192 bits */

/* Which key: SET of credentials, KEY in it. */
struct key_name {
    uint32_t set;
    uint32_t key;
};

/*
 * Signs TBS by SCHEME (IANA registry "TLS SignatureScheme") into SIG, CAP bytes. 0, or a negative enum err, which
 * key_provider_error() then gives. Called in the middle of libssl's handshake.
 */
typedef int (*key_sign_fn)(void *ctx, struct key_name name, uint16_t scheme, struct span tbs, uint8_t *sig, size_t cap,
                           size_t *ret_len);

/* Whom to ask, for the whole process; NULL = every signature fails with ERR_SIGNER_TIMEOUT. CTX is kept. */
void key_provider_ask(key_sign_fn fn, void *ctx);

/*
 * A new key with the public half SPKI (DER of a SubjectPublicKeyInfo: RSA, EC on P-256 or P-384, Ed25519). NULL when it is no
 * such thing or the provider cannot be loaded.
 */
EVP_PKEY *key_provider_key(struct span spki, struct key_name name);

/* The same with the public half of another key. */
EVP_PKEY *key_provider_key_like(const EVP_PKEY *plain, struct key_name name);

/* Why the callback failed since the last call; 0 = it has not. */
int key_provider_error(void);
