/*
 * The engine on libcrypto's EVP interface: runs everywhere, and is what the others are compared with.
 *
 * Ciphers are fetched once a process. A context keeps its EVP_CIPHER_CTX; loading a key and, for each record, a nonce are
 * then the only initialisations. libcrypto wipes the expanded key when the context is freed.
 */
#include "tls/engine.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "base/err.h"

static const char *const cipher_names[AEAD_COUNT] = {
    [AEAD_AES_128_GCM] = "AES-128-GCM",
    [AEAD_AES_256_GCM] = "AES-256-GCM",
    [AEAD_CHACHA20_POLY1305] = "ChaCha20-Poly1305",
};

/* Fetching takes a lock and a search: done once, kept for the life of the process. */
static EVP_CIPHER *fetched[AEAD_COUNT];

static const EVP_CIPHER *cipher_of(enum aead_id aead) {
    if (!fetched[aead])
        fetched[aead] = EVP_CIPHER_fetch(NULL, cipher_names[aead], NULL);
    return fetched[aead];
}

static void *libcrypto_ctx_new(enum aead_id aead, bool seal) {
    const EVP_CIPHER *cipher = cipher_of(aead);
    if (!cipher)
        return NULL;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (ctx && EVP_CipherInit_ex2(ctx, cipher, NULL, NULL, seal, NULL) == 1)
        return ctx;
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

static void libcrypto_ctx_free(void *ctx) {
    EVP_CIPHER_CTX_free(ctx);
}

static int libcrypto_set_key(void *ctx, const uint8_t *key) {
    return EVP_CipherInit_ex2(ctx, NULL, key, NULL, -1, NULL) == 1 ? 0 : ERR_CRYPTO;
}

/* Nonce, associated data and the bytes themselves: the same for both directions. */
static int run_cipher(EVP_CIPHER_CTX *ctx, const uint8_t *nonce, struct span aad, uint8_t *data, size_t len) {
    int n;
    if (len > INT32_MAX || aad.len > INT32_MAX)
        return ERR_CRYPTO;
    if (EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, -1, NULL) != 1)
        return ERR_CRYPTO;
    if (aad.len > 0 && EVP_CipherUpdate(ctx, NULL, &n, aad.p, (int)aad.len) != 1)
        return ERR_CRYPTO;
    if (len > 0 && (EVP_CipherUpdate(ctx, data, &n, data, (int)len) != 1 || (size_t)n != len))
        return ERR_CRYPTO;
    return 0;
}

/* The tag by parameter: the older control call costs some 30 ns more. */
static OSSL_PARAM tag_param(uint8_t *tag) {
    return OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, AEAD_TAG_LEN);
}

static int libcrypto_seal(void *ctx, const uint8_t nonce[static AEAD_NONCE_LEN], struct span aad, uint8_t *data, size_t len,
                          uint8_t tag[static AEAD_TAG_LEN]) {
    int n;
    uint8_t none[16]; /* an AEAD has no bytes left at the end, but the call wants a place for a block */
    int rc = run_cipher(ctx, nonce, aad, data, len);
    if (rc)
        return rc;
    if (EVP_CipherFinal_ex(ctx, none, &n) != 1)
        return ERR_CRYPTO;
    OSSL_PARAM params[] = {tag_param(tag), OSSL_PARAM_construct_end()};
    return EVP_CIPHER_CTX_get_params(ctx, params) == 1 ? 0 : ERR_CRYPTO;
}

static int libcrypto_open(void *ctx, const uint8_t nonce[static AEAD_NONCE_LEN], struct span aad, uint8_t *data, size_t len,
                          const uint8_t tag[static AEAD_TAG_LEN]) {
    int n;
    uint8_t none[16], expected[AEAD_TAG_LEN];
    int rc = run_cipher(ctx, nonce, aad, data, len);
    if (rc)
        return rc;
    memcpy(expected, tag, sizeof expected); /* a parameter takes no pointer to const */
    OSSL_PARAM params[] = {tag_param(expected), OSSL_PARAM_construct_end()};
    if (EVP_CIPHER_CTX_set_params(ctx, params) != 1)
        return ERR_CRYPTO;
    return EVP_CipherFinal_ex(ctx, none, &n) == 1 ? 0 : ERR_BAD_MAC;
}

static bool libcrypto_usable(void) {
    return engine_known_answers(&engine_libcrypto);
}

const struct engine engine_libcrypto = {
    .name = "libcrypto",
    .usable = libcrypto_usable,
    .ctx_new = libcrypto_ctx_new,
    .ctx_free = libcrypto_ctx_free,
    .set_key = libcrypto_set_key,
    .seal = libcrypto_seal,
    .open = libcrypto_open,
};
