/* The key schedule against RFC 8448 section 3 and against libcrypto's own key derivation functions. */
#include "tls/keysched.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "rfc8448.h"

static void check_traffic_key(const uint8_t *secret, const uint8_t *key, const uint8_t *iv) {
    uint8_t got_key[AEAD_KEY_MAX], got_iv[AEAD_NONCE_LEN], zero[16] = {0};
    assert_int_equal(keysched_traffic_key(suite_by_id(0x1301), secret, got_key, got_iv), 0);
    assert_memory_equal(got_key, key, 16);
    assert_memory_equal(got_key + 16, zero, 16);
    assert_memory_equal(got_iv, iv, 12);
}

static void traffic_keys_are_those_of_rfc8448(void **state) {
    check_traffic_key(rfc8448_client_secret, rfc8448_client_key, rfc8448_client_iv);
    check_traffic_key(rfc8448_server_secret, rfc8448_server_key, rfc8448_server_iv);
    check_traffic_key(rfc8448_client_hs_secret, rfc8448_client_hs_key, rfc8448_client_hs_iv);
    check_traffic_key(rfc8448_server_hs_secret, rfc8448_server_hs_key, rfc8448_server_hs_iv);
}

/* HKDF-Expand-Label by libcrypto: its HKDF given a HkdfLabel put together by hand. */
static void reference_expand(unsigned hash_id, const uint8_t *secret, const char *label, struct span context, uint8_t *out,
                             size_t out_len) {
    uint8_t info[512];
    size_t n = 0, label_len = strlen(label);
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    char sha256[] = "SHA256", sha384[] = "SHA384";
    info[n++] = (uint8_t)(out_len >> 8);
    info[n++] = (uint8_t)out_len;
    info[n++] = (uint8_t)(6 + label_len);
    memcpy(info + n, "tls13 ", 6);
    memcpy(info + n + 6, label, label_len);
    n += 6 + label_len;
    info[n++] = (uint8_t)context.len;
    if (context.len)
        memcpy(info + n, context.p, context.len);
    n += context.len;

    uint8_t key[HASH_LEN_MAX];
    memcpy(key, secret, hash_len(hash_id));
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, hash_id == HASH_SHA384 ? sha384 : sha256, 0),
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key, hash_len(hash_id)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, n),
        OSSL_PARAM_construct_end(),
    };
    assert_int_equal(EVP_KDF_derive(ctx, out, out_len, params), 1);
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
}

static void expand_label_equals_libcryptos_hkdf(void **state) {
    static const size_t lens[] = {1, 12, 16, 31, 32, 33, 48, 49, 64, 97, 300};
    static const uint8_t context[255] = {1, 2, 3};
    uint8_t secret[HASH_LEN_MAX], ours[300], theirs[300];
    for (size_t i = 0; i < sizeof secret; i++)
        secret[i] = (uint8_t)(i * 7);
    for (unsigned hash = HASH_SHA256; hash <= HASH_SHA384; hash++)
        for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++)
            for (size_t c = 0; c < 3; c++) {
                struct span ctx = span_of(context, (size_t[]){0, 32, 255}[c]);
                assert_int_equal(keysched_expand_label(hash, secret, "exp master", ctx, ours, lens[i]), 0);
                reference_expand(hash, secret, "exp master", ctx, theirs, lens[i]);
                assert_memory_equal(ours, theirs, lens[i]);
            }
}

static void expand_label_refuses_what_has_no_encoding(void **state) {
    static uint8_t out[255 * 32 + 1], context[256], secret[HASH_LEN_MAX];
    char label[251];
    memset(label, 'x', sizeof label);
    label[250] = '\0';
    assert_int_equal(keysched_expand_label(HASH_SHA256, secret, label, span_of(NULL, 0), out, 32), ERR_CRYPTO);
    assert_int_equal(keysched_expand_label(HASH_SHA256, secret, "key", span_of(context, 256), out, 32), ERR_CRYPTO);
    assert_int_equal(keysched_expand_label(HASH_SHA256, secret, "key", span_of(NULL, 0), out, sizeof out), ERR_CRYPTO);
    assert_int_equal(keysched_expand_label(HASH_SHA256, secret, "key", span_of(NULL, 0), out, sizeof out - 1), 0);
    label[249] = '\0';
    assert_int_equal(keysched_expand_label(HASH_SHA256, secret, label, span_of(NULL, 0), out, 32), 0);
}

static void next_secret_is_traffic_upd(void **state) {
    for (size_t i = 0; i < 3; i++) {
        const struct suite *suite = suite_at(i);
        uint8_t secret[HASH_LEN_MAX] = {0}, expected[HASH_LEN_MAX] = {0};
        memcpy(secret, rfc8448_client_secret, 32);
        for (int round = 0; round < 3; round++) {
            reference_expand(suite->hash, secret, "traffic upd", span_of(NULL, 0), expected, hash_len(suite->hash));
            assert_int_equal(keysched_next_secret(suite, secret), 0);
            assert_memory_equal(secret, expected, sizeof secret);
        }
    }
}

/* The key block by libcrypto's TLS1-PRF. */
static void reference_block(unsigned hash, const uint8_t *master, const uint8_t *cr, const uint8_t *sr, uint8_t *out,
                            size_t n) {
    uint8_t seed[13 + 64], secret[48];
    char sha256[] = "SHA256", sha384[] = "SHA384";
    memcpy(seed, "key expansion", 13);
    memcpy(seed + 13, sr, 32);
    memcpy(seed + 45, cr, 32);
    memcpy(secret, master, 48);
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, hash == HASH_SHA384 ? sha384 : sha256, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, secret, sizeof secret),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, seed, sizeof seed),
        OSSL_PARAM_construct_end(),
    };
    assert_int_equal(EVP_KDF_derive(ctx, out, n, params), 1);
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
}

static void tls12_block_equals_libcryptos_prf(void **state) {
    uint8_t master[48], cr[32], sr[32], zero[AEAD_KEY_MAX] = {0};
    for (size_t i = 0; i < 48; i++)
        master[i] = (uint8_t)(i + 100);
    for (size_t i = 0; i < 32; i++) {
        cr[i] = (uint8_t)(3 * i);
        sr[i] = (uint8_t)(5 * i + 1);
    }
    for (size_t i = 3; suite_at(i); i++) {
        const struct suite *suite = suite_at(i);
        const struct aead *aead = aead_of(suite->aead);
        struct keysched_tls12 got;
        uint8_t block[88];
        size_t k = aead->key_len, v = aead->tls12_fixed_iv_len;
        memset(&got, 0xff, sizeof got);
        assert_int_equal(keysched_tls12_block(suite, master, cr, sr, &got), 0);
        reference_block(suite->hash, master, cr, sr, block, 2 * (k + v));
        assert_memory_equal(got.client_key, block, k);
        assert_memory_equal(got.server_key, block + k, k);
        assert_memory_equal(got.client_iv, block + 2 * k, v);
        assert_memory_equal(got.server_iv, block + 2 * k + v, v);
        assert_memory_equal(got.client_key + k, zero, AEAD_KEY_MAX - k);
        assert_memory_equal(got.server_iv + v, zero, AEAD_NONCE_LEN - v);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(traffic_keys_are_those_of_rfc8448),         cmocka_unit_test(expand_label_equals_libcryptos_hkdf),
        cmocka_unit_test(expand_label_refuses_what_has_no_encoding), cmocka_unit_test(next_secret_is_traffic_upd),
        cmocka_unit_test(tls12_block_equals_libcryptos_prf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
