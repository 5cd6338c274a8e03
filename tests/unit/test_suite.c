/* The suite and group tables: complete, unambiguous, and known to libssl under the names they give. */
#include "tls/suite.h"

#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void every_suite_is_found_by_id(void **state) {
    size_t n = 0;
    for (const struct suite *s; (s = suite_at(n)); n++) {
        assert_ptr_equal(suite_by_id(s->id), s);
    }
    assert_int_equal(n, 9);
    assert_null(suite_at(n));
    assert_null(suite_at((size_t)-1));
}

static void tls13_suites_come_first(void **state) {
    bool old_seen = false;
    for (size_t i = 0; suite_at(i); i++) {
        old_seen = old_seen || suite_at(i)->version == TLS_1_2;
        assert_true(suite_at(i)->version == (old_seen ? TLS_1_2 : TLS_1_3));
    }
    assert_int_equal(suite_at(0)->id, 0x1301);
    assert_int_equal(suite_at(1)->id, 0x1302);
    assert_int_equal(suite_at(2)->id, 0x1303);
}

static void unknown_suites_are_not_found(void **state) {
    assert_null(suite_by_id(0));
    assert_null(suite_by_id(0x009c)); /* static RSA */
    assert_null(suite_by_id(0xc013)); /* CBC */
}

/* libssl's own table is the judge of ids, names and properties. */
static void libssl_agrees_about_every_suite(void **state) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    SSL *ssl = SSL_new(ctx);
    for (size_t i = 0; suite_at(i); i++) {
        const struct suite *s = suite_at(i);
        unsigned char id[2] = {(unsigned char)(s->id >> 8), (unsigned char)s->id};
        const SSL_CIPHER *c = SSL_CIPHER_find(ssl, id);
        assert_non_null(c);
        assert_string_equal(SSL_CIPHER_standard_name(c), s->name);
        assert_string_equal(SSL_CIPHER_get_name(c), s->openssl_name);
        assert_true(SSL_CIPHER_is_aead(c));
        assert_int_equal(SSL_CIPHER_get_bits(c, NULL), aead_of(s->aead)->key_len * 8);
        assert_int_equal(EVP_MD_get_size(SSL_CIPHER_get_handshake_digest(c)), hash_len(s->hash));
        assert_int_equal(SSL_CIPHER_get_kx_nid(c), s->version == TLS_1_3 ? NID_kx_any : NID_kx_ecdhe);
    }
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

static void aead_sizes_fit_their_room(void **state) {
    for (unsigned i = 0; i < AEAD_COUNT; i++) {
        const struct aead *a = aead_of(i);
        assert_true(a->key_len <= AEAD_KEY_MAX);
        assert_true(a->tls12_fixed_iv_len + a->tls12_explicit_len == AEAD_NONCE_LEN);
        assert_true(a->seal_limit_1_3 >= UINT64_C(1) << 24);
        assert_true(a->seal_limit_1_2 <= UINT64_C(1) << 48);
    }
    assert_true(hash_len(HASH_SHA256) <= HASH_LEN_MAX);
    assert_true(hash_len(HASH_SHA384) <= HASH_LEN_MAX);
}

static void every_group_is_found_by_id_and_name(void **state) {
    static const uint16_t ids[] = {0x11ec, 0x001d, 0x0017, 0x0018, 0x0019};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        const struct group *g = group_at(i);
        assert_non_null(g);
        assert_int_equal(g->id, ids[i]);
        assert_ptr_equal(group_by_id(g->id), g);
    }
    assert_null(group_at(sizeof ids / sizeof ids[0]));
    assert_null(group_by_id(0));
}

static void libssl_knows_the_classic_groups(void **state) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    for (size_t i = 0; group_at(i); i++)
        if (group_at(i)->id < 0x100) {
            char name[32]; /* the macro casts const away */
            assert_true(snprintf(name, sizeof name, "%s", group_at(i)->openssl_name) < (int)sizeof name);
            assert_int_equal(SSL_CTX_set1_groups_list(ctx, name), 1);
        }
    SSL_CTX_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_suite_is_found_by_id),      cmocka_unit_test(tls13_suites_come_first),
        cmocka_unit_test(unknown_suites_are_not_found),    cmocka_unit_test(libssl_agrees_about_every_suite),
        cmocka_unit_test(aead_sizes_fit_their_room),       cmocka_unit_test(every_group_is_found_by_id_and_name),
        cmocka_unit_test(libssl_knows_the_classic_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
