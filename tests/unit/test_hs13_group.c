/* Key exchange: what a client sends is a share of its group, or nothing; both sides come to the same secret. */
#include "tls/hs13_group.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/defs.h"
#include "base/err.h"

static const struct {
    uint16_t id;
    const char *type, *curve;
    size_t share_len, secret_len;
} groups[] = {{0x001d, "X25519", NULL, 32, 32},
              {0x0017, "EC", "P-256", 65, 32},
              {0x0018, "EC", "P-384", 97, 48},
              {0x0019, "EC", "P-521", 133, 66}};

static EVP_PKEY *new_key(size_t g) {
    EVP_PKEY *key = groups[g].curve ? EVP_EC_gen(groups[g].curve) : EVP_PKEY_Q_keygen(NULL, NULL, groups[g].type);
    assert_non_null(key);
    return key;
}

static void share_of(const EVP_PKEY *key, uint8_t to[HS13_SHARE_MAX], size_t *ret_len) {
    assert_int_equal(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, to, HS13_SHARE_MAX, ret_len), 1);
}

/* The client's side, by libcrypto alone. */
static void their_secret(size_t g, EVP_PKEY *key, const struct hs13_share *ours, uint8_t to[HS13_SECRET_MAX]) {
    EVP_PKEY *peer = new_key(g);
    if (!groups[g].curve) {
        EVP_PKEY_free(peer);
        peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, ours->public, ours->len);
    } else {
        assert_int_equal(EVP_PKEY_set1_encoded_public_key(peer, ours->public, ours->len), 1);
    }
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    size_t len = HS13_SECRET_MAX;
    assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
    assert_int_equal(EVP_PKEY_derive_set_peer(ctx, peer), 1);
    assert_int_equal(EVP_PKEY_derive(ctx, to, &len), 1);
    assert_int_equal(len, groups[g].secret_len);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
}

static void both_sides_have_the_same_secret(void **state) {
    (void)state;
    for (size_t g = 0; g < ARRAY_LEN(groups); g++)
        for (int i = 0; i < 8; i++) {
            uint8_t share[HS13_SHARE_MAX], secret[HS13_SECRET_MAX];
            struct hs13_share ours;
            size_t len = 0;
            EVP_PKEY *key = new_key(g);
            share_of(key, share, &len);
            assert_int_equal(hs13_exchange(groups[g].id, (struct span){share, len}, &ours), 0);
            assert_int_equal(ours.len, groups[g].share_len);
            assert_int_equal(ours.secret_len, groups[g].secret_len);
            their_secret(g, key, &ours, secret);
            assert_memory_equal(secret, ours.secret, ours.secret_len);
            EVP_PKEY_free(key);
        }
}

/* RFC 8446 7.4.2: a secret that begins with zeros keeps them. One in 256 does; of P-521's one in 2 begins with a zero byte. */
static void leading_zeros_of_a_secret_stay(void **state) {
    (void)state;
    for (size_t g = 1; g < 3; g++) {
        uint8_t share[HS13_SHARE_MAX], secret[HS13_SECRET_MAX];
        struct hs13_share ours;
        size_t len = 0;
        EVP_PKEY *key = new_key(g);
        share_of(key, share, &len);
        unsigned tries = 0;
        do {
            assert_int_equal(hs13_exchange(groups[g].id, (struct span){share, len}, &ours), 0);
            assert_in_range(++tries, 1, 10000);
        } while (ours.secret[0]);
        assert_int_equal(ours.secret_len, groups[g].secret_len);
        their_secret(g, key, &ours, secret);
        assert_memory_equal(secret, ours.secret, ours.secret_len);
        EVP_PKEY_free(key);
    }
}

static void no_key_serves_twice(void **state) {
    (void)state;
    uint8_t share[HS13_SHARE_MAX];
    size_t len = 0;
    for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
        struct hs13_share first, second;
        EVP_PKEY *key = new_key(g);
        share_of(key, share, &len);
        assert_int_equal(hs13_exchange(groups[g].id, (struct span){share, len}, &first), 0);
        assert_int_equal(hs13_exchange(groups[g].id, (struct span){share, len}, &second), 0);
        assert_memory_not_equal(first.public, second.public, first.len);
        assert_memory_not_equal(first.secret, second.secret, first.secret_len);
        EVP_PKEY_free(key);
    }
}

static void refused(uint16_t group, const uint8_t *share, size_t len) {
    static const uint8_t nothing[sizeof(((struct hs13_share *)0)->secret)];
    struct hs13_share ours;
    memset(&ours, 0x5a, sizeof(ours));
    assert_int_equal(hs13_exchange(group, (struct span){share, len}, &ours), ERR_KEY_SHARE);
    assert_memory_equal(ours.secret, nothing, sizeof(nothing)); /* whatever was computed is wiped */
}

static void a_share_of_wrong_length_is_refused(void **state) {
    (void)state;
    for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
        uint8_t share[HS13_SHARE_MAX] = {0};
        size_t len = 0;
        EVP_PKEY *key = new_key(g);
        share_of(key, share, &len);
        refused(groups[g].id, share, len - 1);
        refused(groups[g].id, share, len + 1);
        refused(groups[g].id, share, 1);
        EVP_PKEY_free(key);
    }
}

static void a_point_off_its_curve_is_refused_and_the_next_is_taken(void **state) {
    (void)state;
    for (size_t g = 1; g < ARRAY_LEN(groups); g++) {
        uint8_t share[HS13_SHARE_MAX], bad[HS13_SHARE_MAX];
        struct hs13_share ours;
        size_t len = 0;
        EVP_PKEY *key = new_key(g);
        share_of(key, share, &len);
        memcpy(bad, share, len);
        bad[len - 1] ^= 1; /* another y: never on the curve */
        refused(groups[g].id, bad, len);
        memset(bad + 1, 0, len - 1); /* (0, 0) */
        refused(groups[g].id, bad, len);
        memset(bad + 1, 0xff, len - 1); /* coordinates above p */
        refused(groups[g].id, bad, len);
        memset(bad, 0, len); /* infinity, lengthened */
        refused(groups[g].id, bad, len);
        memcpy(bad, share, len); /* compressed and hybrid forms are no TLS 1.3 */
        bad[0] = (uint8_t)(2 | (share[len - 1] & 1));
        refused(groups[g].id, bad, 1 + (len - 1) / 2);
        refused(groups[g].id, bad, len);
        bad[0] = (uint8_t)(6 | (share[len - 1] & 1));
        refused(groups[g].id, bad, len);
        assert_int_equal(hs13_exchange(groups[g].id, (struct span){share, len}, &ours), 0);
        EVP_PKEY_free(key);
    }
}

/* The points of low order (RFC 7748 6.1; Wycheproof's "LowOrderPublic"), each with the top bit that is ignored, too. */
static void an_x25519_share_that_gives_zeros_is_refused(void **state) {
    (void)state;
    static const uint8_t points[][32] = {
        {0},
        {1},
        {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
         0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00},
        {0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
         0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57},
        {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
        {0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
        {0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    };
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        uint8_t share[32];
        memcpy(share, points[i], sizeof(share));
        refused(0x001d, share, sizeof(share));
        share[31] |= 0x80;
        refused(0x001d, share, sizeof(share));
    }
}

/* RFC 7748 5: such u are taken for what they are modulo p. */
static void an_x25519_share_above_p_is_taken(void **state) {
    (void)state;
    uint8_t share[32];
    struct hs13_share ours;
    memset(share, 0xff, sizeof(share));
    assert_int_equal(hs13_exchange(0x001d, (struct span){share, 32}, &ours), 0);
    share[0] = 0xf0; /* p + 3 */
    share[31] = 0x7f;
    assert_int_equal(hs13_exchange(0x001d, (struct span){share, 32}, &ours), 0);
}

static void a_missing_group_is_reported(void **state) {
    (void)state;
    struct hs13_share ours;
    uint8_t share[1216] = {4};
    assert_true(hs13_group_there(0x001d));
    assert_false(hs13_group_there(0x001e));
    assert_int_equal(hs13_exchange(0x001e, (struct span){share, 56}, &ours), ERR_CRYPTO);
    if (!hs13_group_there(0x11ec))
        assert_int_equal(hs13_exchange(0x11ec, (struct span){share, 1216}, &ours), ERR_CRYPTO);
}

/* Where libcrypto has ML-KEM (3.5 and later). */
static void a_hybrid_share_leads_to_the_same_secret(void **state) {
    (void)state;
    if (!hs13_group_there(0x11ec))
        skip();
    struct hs13_share ours;
    uint8_t share[1216], secret[64];
    size_t len = sizeof(share), secret_len = sizeof(secret);
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "X25519MLKEM768");
    assert_int_equal(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, share, sizeof(share), &len), 1);
    assert_int_equal(hs13_exchange(0x11ec, (struct span){share, len}, &ours), 0);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    assert_int_equal(EVP_PKEY_decapsulate_init(ctx, NULL), 1);
    assert_int_equal(EVP_PKEY_decapsulate(ctx, secret, &secret_len, ours.public, ours.len), 1);
    assert_int_equal(secret_len, ours.secret_len);
    assert_memory_equal(secret, ours.secret, secret_len);
    refused(0x11ec, share, len - 1);
    memset(share + 1184, 0, 32); /* the X25519 half gives zeros */
    refused(0x11ec, share, len);
    memset(share, 0xff, 384); /* coefficients above q */
    refused(0x11ec, share, len);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_have_the_same_secret),
        cmocka_unit_test(leading_zeros_of_a_secret_stay),
        cmocka_unit_test(no_key_serves_twice),
        cmocka_unit_test(a_share_of_wrong_length_is_refused),
        cmocka_unit_test(a_point_off_its_curve_is_refused_and_the_next_is_taken),
        cmocka_unit_test(an_x25519_share_that_gives_zeros_is_refused),
        cmocka_unit_test(an_x25519_share_above_p_is_taken),
        cmocka_unit_test(a_missing_group_is_reported),
        cmocka_unit_test(a_hybrid_share_leads_to_the_same_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
