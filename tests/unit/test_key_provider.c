/*
 * Keys that are elsewhere, under libssl: every kind of key by every scheme that TLS has for it; what cannot be done with one;
 * and that other keys of the process do not notice.
 */
#include "creds/sign_rule.h"
#include "tls/key_provider.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>

#include "base/err.h"
#include "make_cert.h"
#include "tls/kdf_provider.h"
#include "wire/sign.h"

static const char *const types[] = {"RSA:2048", "EC:P-256", "EC:P-384", "ED25519"};
static const enum creds_kind kinds[] = {CREDS_RSA, CREDS_EC_P256, CREDS_EC_P384, CREDS_ED25519};
#define TYPES ARRAY_LEN(types)

static EVP_PKEY *real[TYPES], *far[TYPES];
static X509 *certs[TYPES];
static uint8_t *spki[TYPES];
static size_t spki_len[TYPES];

/* What the callback saw and does. */
static struct {
    unsigned calls;
    struct key_name name;
    uint16_t scheme;
    enum sign_shape shape;
    int fail;     /* gives this error */
    int len_diff; /* answers so many bytes more or less */
} seen;

static const char *digest_of(uint16_t scheme) {
    switch (scheme) {
    case 0x0401:
    case 0x0403:
    case 0x0804:
        return "SHA256";
    case 0x0501:
    case 0x0503:
    case 0x0805:
        return "SHA384";
    case 0x0807:
        return NULL;
    default:
        return "SHA512";
    }
}

/* Signs as a signer would, with OpenSSL's own means. */
static int sign_here(void *ctx, struct key_name name, uint16_t scheme, struct span tbs, uint8_t *sig, size_t cap,
                     size_t *ret_len) {
    assert_ptr_equal(ctx, &seen);
    seen.calls++;
    seen.name = name;
    seen.scheme = scheme;
    seen.shape = sign_shape(tbs);
    if (seen.fail)
        return seen.fail;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    size_t len = cap;
    assert_true(name.key < TYPES);
    assert_int_equal(EVP_DigestSignInit_ex(md, &pctx, digest_of(scheme), NULL, NULL, real[name.key], NULL), 1);
    if (scheme >> 8 == 8 && scheme != 0x0807) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST), 1);
    }
    assert_int_equal(EVP_DigestSign(md, sig, &len, tbs.p, tbs.len), 1);
    EVP_MD_CTX_free(md);
    *ret_len = (size_t)((long)len + seen.len_diff);
    return 0;
}

static int make_all(void **state) {
    (void)state;
    for (size_t i = 0; i < TYPES; i++) {
        real[i] = make_key(types[i]);
        certs[i] = make_cert(real[i], &(struct make_spec){.cn = "a", .san = "DNS:www.example.org"});
        int len = i2d_PUBKEY(real[i], &spki[i]);
        make_must(len > 0, "SPKI");
        spki_len[i] = (size_t)len;
        far[i] = key_provider_key(span_of(spki[i], spki_len[i]), (struct key_name){77, (uint32_t)i});
        make_must(far[i] != NULL, types[i]);
    }
    key_provider_ask(sign_here, &seen);
    return 0;
}

static int free_all(void **state) {
    (void)state;
    for (size_t i = 0; i < TYPES; i++) {
        EVP_PKEY_free(real[i]);
        EVP_PKEY_free(far[i]);
        X509_free(certs[i]);
        OPENSSL_free(spki[i]);
    }
    return 0;
}

static int forget(void **state) {
    (void)state;
    memset(&seen, 0, sizeof(seen));
    (void)key_provider_error();
    ERR_clear_error();
    return 0;
}

/* ---- handshakes ---- */

static bool shake(size_t type, int version, const char *sigalgs) {
    SSL_CTX *ours = SSL_CTX_new_ex(NULL, KDF_PROVIDER_QUERY, TLS_server_method()), *theirs = SSL_CTX_new(TLS_client_method());
    BIO *a = NULL, *b = NULL;
    assert_int_equal(BIO_new_bio_pair(&a, 64 * 1024, &b, 64 * 1024), 1);
    char list[128]; /* libssl's macro takes away a const */
    (void)snprintf(list, sizeof(list), "%s", sigalgs);
    assert_int_equal(SSL_CTX_set1_sigalgs_list(theirs, list), 1);
    assert_int_equal(SSL_CTX_set_min_proto_version(theirs, version), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(theirs, version), 1);
    SSL *server = SSL_new(ours), *client = SSL_new(theirs);
    assert_int_equal(SSL_use_cert_and_key(server, certs[type], far[type], NULL, 1), 1);
    SSL_set_bio(server, a, a);
    SSL_set_bio(client, b, b);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    int c = 0, s = 0;
    for (int i = 0; i < 10 && (c != 1 || s != 1); i++) {
        c = SSL_do_handshake(client);
        s = SSL_do_handshake(server);
    }
    SSL_free(server);
    SSL_free(client);
    SSL_CTX_free(ours);
    SSL_CTX_free(theirs);
    ERR_clear_error();
    return c == 1 && s == 1;
}

static const struct {
    size_t type;
    const char *sigalgs;
    uint16_t scheme;
    bool tls13;
} schemes[] = {
    {0, "RSA-PSS+SHA256", 0x0804, true}, {0, "RSA-PSS+SHA384", 0x0805, true}, {0, "RSA-PSS+SHA512", 0x0806, true},
    {0, "RSA+SHA256", 0x0401, false},    {0, "RSA+SHA384", 0x0501, false},    {0, "RSA+SHA512", 0x0601, false},
    {1, "ECDSA+SHA256", 0x0403, true},   {1, "ECDSA+SHA384", 0x0503, false},  {1, "ECDSA+SHA512", 0x0603, false},
    {2, "ECDSA+SHA384", 0x0503, true},   {2, "ECDSA+SHA256", 0x0403, false},  {3, "ed25519", 0x0807, true},
};

static void test_every_scheme(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        for (int tls13 = 0; tls13 < 2; tls13++) {
            unsigned before = seen.calls;
            bool wanted = !tls13 || schemes[i].tls13;
            if (shake(schemes[i].type, tls13 ? TLS1_3_VERSION : TLS1_2_VERSION, schemes[i].sigalgs) != wanted)
                fail_msg("%s, TLS 1.%d: %s", schemes[i].sigalgs, 2 + tls13, wanted ? "failed" : "done");
            assert_int_equal(seen.calls - before, wanted);
            if (!wanted)
                continue;
            assert_int_equal(seen.scheme, schemes[i].scheme);
            assert_int_equal(seen.name.set, 77);
            assert_int_equal(seen.name.key, schemes[i].type);
            assert_int_equal(seen.shape, tls13 ? SIGN_SHAPE_TLS13 : SIGN_SHAPE_TLS12);
            assert_true(sign_scheme_fits(kinds[schemes[i].type], seen.scheme, seen.shape));
        }
}

static void test_failing_signer(void **state) {
    (void)state;
    seen.fail = ERR_SIGNER_TIMEOUT;
    assert_false(shake(1, TLS1_3_VERSION, "ECDSA+SHA256"));
    assert_int_equal(key_provider_error(), ERR_SIGNER_TIMEOUT);
    assert_int_equal(key_provider_error(), 0);
    assert_false(shake(0, TLS1_2_VERSION, "RSA+SHA256"));
    assert_int_equal(key_provider_error(), ERR_SIGNER_TIMEOUT);
}

static void test_answers_of_a_wrong_size(void **state) {
    (void)state;
    static const int diffs[] = {1, -1, -256, 1000};
    for (size_t i = 0; i < ARRAY_LEN(diffs); i++) {
        seen.len_diff = diffs[i];
        assert_false(shake(0, TLS1_3_VERSION, "RSA-PSS+SHA256"));
        assert_int_equal(key_provider_error(), ERR_FORMAT);
    }
    seen.len_diff = 50; /* more than any ECDSA signature */
    assert_false(shake(1, TLS1_3_VERSION, "ECDSA+SHA256"));
    assert_int_equal(key_provider_error(), ERR_FORMAT);
}

static void test_nobody_to_ask(void **state) {
    (void)state;
    key_provider_ask(NULL, NULL);
    assert_false(shake(1, TLS1_3_VERSION, "ECDSA+SHA256"));
    assert_int_equal(key_provider_error(), ERR_SIGNER_TIMEOUT);
    key_provider_ask(sign_here, &seen);
}

/* ---- what is public ---- */

static void test_public_half(void **state) {
    (void)state;
    for (size_t i = 0; i < TYPES; i++) {
        assert_int_equal(EVP_PKEY_get_bits(far[i]), EVP_PKEY_get_bits(real[i]));
        assert_int_equal(EVP_PKEY_get_security_bits(far[i]), EVP_PKEY_get_security_bits(real[i]));
        assert_int_equal(EVP_PKEY_get_size(far[i]), EVP_PKEY_get_size(real[i]));
        assert_int_equal(EVP_PKEY_get_base_id(far[i]), EVP_PKEY_get_base_id(real[i]));
        assert_int_equal(X509_check_private_key(certs[i], far[i]), 1);
        assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(certs[i]), far[i]), 1);
        assert_int_equal(EVP_PKEY_missing_parameters(far[i]), 0);
        for (size_t k = 0; k < TYPES; k++)
            if (k != i)
                assert_int_not_equal(X509_check_private_key(certs[k], far[i]), 1);
        char a[64] = "", b[64] = "";
        assert_int_equal(EVP_PKEY_get_group_name(far[i], a, sizeof(a), NULL),
                         EVP_PKEY_get_group_name(real[i], b, sizeof(b), NULL));
        assert_string_equal(a, b);
        uint8_t *der = NULL;
        int len = i2d_PUBKEY(far[i], &der);
        assert_int_equal(len, spki_len[i]);
        assert_memory_equal(der, spki[i], spki_len[i]);
        OPENSSL_free(der);
    }
}

static void test_other_key_of_the_same_kind(void **state) {
    (void)state;
    for (size_t i = 0; i < TYPES; i++) {
        EVP_PKEY *other = make_key(types[i]);
        X509 *cert = make_cert(other, &(struct make_spec){.cn = "b"});
        assert_int_not_equal(X509_check_private_key(cert, far[i]), 1);
        X509_free(cert);
        EVP_PKEY_free(other);
    }
}

static void test_broken_spki(void **state) {
    (void)state;
    for (size_t i = 0; i < TYPES; i++) {
        uint8_t longer[1024];
        for (size_t len = 0; len < spki_len[i]; len++)
            assert_null(key_provider_key(span_of(spki[i], len), (struct key_name){1, 1}));
        memcpy(longer, spki[i], spki_len[i]);
        longer[spki_len[i]] = 0;
        assert_null(key_provider_key(span_of(longer, spki_len[i] + 1), (struct key_name){1, 1}));
    }
    static const char *const unknown[] = {"EC:P-521", "ED448", "X25519"};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        EVP_PKEY *key = make_key(unknown[i]);
        uint8_t *der = NULL;
        int len = i2d_PUBKEY(key, &der);
        assert_null(key_provider_key(span_of(der, (size_t)len), (struct key_name){1, 1}));
        OPENSSL_free(der);
        EVP_PKEY_free(key);
    }
    assert_int_equal(ERR_peek_error(), 0);
}

/* ---- what cannot be done ---- */

static void test_no_private_half_comes_out(void **state) {
    (void)state;
    for (size_t i = 0; i < TYPES; i++) {
        OSSL_PARAM *params = NULL;
        uint8_t *der = NULL, raw[64];
        size_t raw_len = sizeof(raw);
        BIGNUM *bn = NULL;
        assert_int_not_equal(EVP_PKEY_todata(far[i], EVP_PKEY_KEYPAIR, &params), 1);
        assert_true(i2d_PrivateKey(far[i], &der) <= 0);
        assert_null(EVP_PKEY2PKCS8(far[i]));
        assert_int_not_equal(EVP_PKEY_get_raw_private_key(far[i], raw, &raw_len), 1);
        assert_int_not_equal(EVP_PKEY_get_bn_param(far[i], OSSL_PKEY_PARAM_PRIV_KEY, &bn), 1);
        assert_int_not_equal(EVP_PKEY_get_bn_param(far[i], OSSL_PKEY_PARAM_RSA_D, &bn), 1);
    }
}

static void test_no_other_operation(void **state) {
    (void)state;
    uint8_t sig[1024], digest[32] = {1};
    for (size_t i = 0; i < TYPES; i++) {
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(far[i], NULL);
        size_t len = sizeof(sig);
        assert_true(EVP_PKEY_sign_init(ctx) <= 0 || EVP_PKEY_sign(ctx, sig, &len, digest, sizeof(digest)) <= 0);
        assert_true(EVP_PKEY_decrypt_init(ctx) <= 0 || EVP_PKEY_decrypt(ctx, sig, &len, digest, sizeof(digest)) <= 0);
        assert_true(EVP_PKEY_derive_init(ctx) <= 0);
        EVP_PKEY_CTX_free(ctx);
    }
    assert_int_equal(seen.calls, 0);
}

static void test_digests_and_paddings_that_tls_has_not(void **state) {
    (void)state;
    uint8_t sig[1024];
    static const char *const digests[] = {"SHA1", "SHA224", "MD5", "SHA3-256", "SHA512-256"};
    for (size_t d = 0; d < ARRAY_LEN(digests); d++) {
        EVP_MD_CTX *md = EVP_MD_CTX_new();
        size_t len = sizeof(sig);
        assert_true(EVP_DigestSignInit_ex(md, NULL, digests[d], NULL, NULL, far[1], NULL) != 1 ||
                    EVP_DigestSign(md, sig, &len, sig, 6) != 1);
        EVP_MD_CTX_free(md);
    }
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    assert_int_equal(EVP_DigestSignInit_ex(md, &pctx, "SHA256", NULL, NULL, far[0], NULL), 1);
    assert_true(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_NO_PADDING) <= 0);
    size_t len = sizeof(sig);
    assert_int_not_equal(EVP_DigestSign(md, sig, &len, sig, 6), 1);
    EVP_MD_CTX_free(md);
    assert_int_equal(seen.calls, 0);
}

static void test_a_compared_key_cannot_be_signed_with(void **state) {
    (void)state;
    const uint8_t *p = spki[1];
    EVP_PKEY *pub = d2i_PUBKEY(NULL, &p, (long)spki_len[1]);
    uint8_t sig[128];
    size_t len = sizeof(sig);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    assert_int_equal(EVP_PKEY_eq(pub, far[1]), 1);
    assert_true(EVP_DigestSignInit_ex(md, NULL, "SHA256", NULL, NULL, pub, NULL) != 1 ||
                EVP_DigestSign(md, sig, &len, sig, 6) != 1);
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(pub);
    assert_int_equal(seen.calls, 0);
}

/* ---- the rest of the process ---- */

static void test_other_keys_are_openssls_own(void **state) {
    (void)state;
    static const char *const queries[] = {NULL, "", KDF_PROVIDER_QUERY};
    static const char *const names[] = {"RSA", "EC", "ED25519", "id-ecPublicKey"};
    for (size_t q = 0; q < ARRAY_LEN(queries); q++)
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            EVP_KEYMGMT *m = EVP_KEYMGMT_fetch(NULL, names[i], queries[q]);
            assert_non_null(m);
            assert_string_equal(OSSL_PROVIDER_get0_name(EVP_KEYMGMT_get0_provider(m)), "default");
            EVP_KEYMGMT_free(m);
        }
    EVP_PKEY *key = make_key("EC:P-256");
    assert_string_equal(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(key)), "default");
    EVP_PKEY_free(key);
}

static void test_references_are_counted(void **state) {
    (void)state;
    EVP_PKEY *copy = EVP_PKEY_dup(far[1]);
    assert_non_null(copy);
    assert_int_equal(EVP_PKEY_eq(copy, far[1]), 1);
    EVP_PKEY_free(copy);
    assert_true(shake(1, TLS1_3_VERSION, "ECDSA+SHA256"));
}

#define CASE(f) cmocka_unit_test_setup(f, forget)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_every_scheme),
        CASE(test_failing_signer),
        CASE(test_answers_of_a_wrong_size),
        CASE(test_nobody_to_ask),
        CASE(test_public_half),
        CASE(test_other_key_of_the_same_kind),
        CASE(test_broken_spki),
        CASE(test_no_private_half_comes_out),
        CASE(test_no_other_operation),
        CASE(test_digests_and_paddings_that_tls_has_not),
        CASE(test_a_compared_key_cannot_be_signed_with),
        CASE(test_other_keys_are_openssls_own),
        CASE(test_references_are_counted),
    };
    return cmocka_run_group_tests(tests, make_all, free_all);
}
