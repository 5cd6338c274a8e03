/*
 * The key schedule and our messages against RFC 8448, byte by byte. Sections 3 and 4; our EncryptedExtensions has less in it
 * than the trace's, so what comes behind it in our own flight is another.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hs13_talk.h"
#include "rfc8448.h"
#include "rfc8448_messages.h"
#include "tls/hs13_client.h"
#include "tls/hs13_keys.h"
#include "tls/keysched.h"

#define LEN 32 /* SHA-256 */

static void add(struct hs13_keys *k, const uint8_t *message, size_t len) {
    hs13_keys_add(k, span_of(message, len));
}
#define ADD(k, message) add(k, rfc8448_##message, sizeof(rfc8448_##message))

static void check(const struct hs13_keys *k, const char *label, const uint8_t *want) {
    uint8_t got_secret[HASH_LEN_MAX];
    hs13_keys_derive(k, label, got_secret);
    assert_memory_equal(got_secret, want, LEN);
}

static void check_mac(const struct hs13_keys *k, const uint8_t *base, const uint8_t *message) {
    uint8_t digest[HASH_LEN_MAX], mac[HASH_LEN_MAX];
    hs13_keys_digest(k, digest);
    hs13_keys_mac(HASH_SHA256, base, digest, mac);
    assert_memory_equal(mac, message + 4, LEN);
}

/* Up to the master secret, with all messages up to our Finished. */
static void run_section_3(struct hs13_keys *k) {
    hs13_keys_begin(k, HASH_SHA256);
    hs13_keys_early(k, span_of(NULL, 0));
    assert_memory_equal(k->secret, rfc8448_early_secret, LEN);
    ADD(k, client_hello);
    ADD(k, server_hello);
    hs13_keys_next(k, span_of(rfc8448_exchange_secret, LEN));
    assert_memory_equal(k->secret, rfc8448_handshake_secret, LEN);
    check(k, "c hs traffic", rfc8448_client_hs_secret);
    check(k, "s hs traffic", rfc8448_server_hs_secret);
    ADD(k, encrypted_extensions);
    ADD(k, certificate);
    ADD(k, certificate_verify);
    check_mac(k, rfc8448_server_hs_secret, rfc8448_server_finished);
    ADD(k, server_finished);
    hs13_keys_next(k, span_of(NULL, 0));
    assert_memory_equal(k->secret, rfc8448_master_secret, LEN);
}

static void the_key_schedule_is_that_of_section_3(void **state) {
    (void)state;
    struct hs13_keys k;
    uint8_t resumption[HASH_LEN_MAX], psk[HASH_LEN_MAX];
    run_section_3(&k);
    check(&k, "c ap traffic", rfc8448_client_secret);
    check(&k, "s ap traffic", rfc8448_server_secret);
    check(&k, "exp master", rfc8448_exporter_secret);
    check_mac(&k, rfc8448_client_hs_secret, rfc8448_client_finished);
    ADD(&k, client_finished);
    hs13_keys_derive(&k, "res master", resumption);
    hs13_keys_ticket(HASH_SHA256, resumption, span_of("\0\0", 2), psk);
    assert_memory_equal(psk, rfc8448_psk, LEN);
}

static void traffic_keys_begin_at_number_0(void **state) {
    (void)state;
    struct traffic_keys keys = {.seq = 7};
    memcpy(keys.secret, rfc8448_server_hs_secret, LEN);
    hs13_keys_traffic(suite_by_id(0x1301), &keys);
    assert_memory_equal(keys.key, rfc8448_server_hs_key, 16);
    assert_memory_equal(keys.iv, rfc8448_server_hs_iv, sizeof(keys.iv));
    assert_int_equal(keys.seq, 0);
}

/* The RFC's signature over the RFC's transcript, by the key of the RFC's certificate. */
static void what_is_signed_is_what_section_3_signs(void **state) {
    (void)state;
    struct hs13_keys k;
    uint8_t digest[HASH_LEN_MAX], content[HANDSHAKE_TBS_MAX];
    const uint8_t *der = rfc8448_certificate + 4 + 1 + 3 + 3;
    X509 *cert = d2i_X509(NULL, &der, sizeof(rfc8448_certificate) - 11 - 2);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx = NULL;
    assert_non_null(cert);
    hs13_keys_begin(&k, HASH_SHA256);
    ADD(&k, client_hello);
    ADD(&k, server_hello);
    ADD(&k, encrypted_extensions);
    ADD(&k, certificate);
    hs13_keys_digest(&k, digest);
    size_t len = hs13_signed_content(true, span_of(digest, LEN), content);
    assert_int_equal(EVP_DigestVerifyInit_ex(md, &ctx, "SHA256", NULL, NULL, X509_get0_pubkey(cert), NULL), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST), 1);
    assert_int_equal(EVP_DigestVerify(md, rfc8448_certificate_verify + 8, 128, content, len), 1);
    len = hs13_signed_content(false, span_of(digest, LEN), content); /* the other side's is another */
    assert_int_not_equal(EVP_DigestVerify(md, rfc8448_certificate_verify + 8, 128, content, len), 1);
    EVP_MD_CTX_free(md);
    X509_free(cert);
}

static void the_binder_is_that_of_section_4(void **state) {
    (void)state;
    struct hs13_keys k;
    struct hello hello;
    uint8_t base[HASH_LEN_MAX], digest[HASH_LEN_MAX], mac[HASH_LEN_MAX];
    struct span message = span_of(rfc8448_resumed_hello, sizeof(rfc8448_resumed_hello));
    assert_int_equal(hello_parse(message, &hello), 0);
    assert_true(hello.has_early_data);
    hs13_keys_begin(&k, HASH_SHA256);
    hs13_keys_early(&k, span_of(rfc8448_psk, LEN));
    hs13_keys_binder(&k, base);
    size_t cut = (size_t)(hello.psk_binders.p - 2 - message.p);
    assert_int_equal(cut, message.len - 35);
    hs13_keys_add(&k, span_of(message.p, cut));
    hs13_keys_digest(&k, digest);
    hs13_keys_mac(HASH_SHA256, base, digest, mac);
    assert_memory_equal(mac, hello.psk_binders.p + 1, LEN);
}

/* ---- our side of section 3, with the RFC's random and key ---- */

static void rfc_random(void *to, size_t n) {
    assert_int_equal(n, 32);
    memcpy(to, rfc8448_server_hello + 6, n);
}

static int rfc_exchange(uint16_t group, struct span peer, struct hs13_share *ret) {
    size_t len = sizeof(ret->secret), public_len = sizeof(ret->public);
    EVP_PKEY *own = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, rfc8448_server_private, 32);
    EVP_PKEY *theirs = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, peer.p, peer.len);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(own, NULL);
    assert_int_equal(group, 0x001d);
    assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
    assert_int_equal(EVP_PKEY_derive_set_peer(ctx, theirs), 1);
    assert_int_equal(EVP_PKEY_derive(ctx, ret->secret, &len), 1);
    assert_int_equal(EVP_PKEY_get_raw_public_key(own, ret->public, &public_len), 1);
    ret->len = (uint16_t)public_len;
    ret->secret_len = (uint16_t)len;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(own);
    EVP_PKEY_free(theirs);
    return 0;
}

static unsigned logged;

static void rfc_key_log(void *ctx, struct span line) {
    static const char *const labels[] = {"CLIENT_HANDSHAKE_TRAFFIC_SECRET ", "SERVER_HANDSHAKE_TRAFFIC_SECRET "};
    const uint8_t *const secrets[] = {rfc8448_client_hs_secret, rfc8448_server_hs_secret};
    char want[256];
    for (size_t i = 0; i < ARRAY_LEN(labels); i++) {
        struct text t = text_of(want, sizeof(want));
        text_add(&t, labels[i]);
        text_add_hex(&t, span_of(rfc8448_client_hello + 6, 32));
        text_add(&t, " ");
        text_add_hex(&t, span_of(secrets[i], LEN));
        text_add(&t, "\n");
        logged += span_eq(line, span_of(t.p, t.len));
    }
}

static void our_flight_begins_as_that_of_section_3(void **state) {
    (void)state;
    uint8_t record[5 + sizeof(rfc8448_client_hello)] = {22, 3, 1, 0, sizeof(rfc8448_client_hello)};
    struct buf in;
    memcpy(record + 5, rfc8448_client_hello, sizeof(rfc8448_client_hello));
    buf_init(&in, 4096);
    assert_int_equal(buf_append(&in, record, sizeof(record)), 0);
    env.random = rfc_random;
    env.exchange = rfc_exchange;
    logged = 0;
    hs13_conn_open(&conn, &env, server, NULL);
    conn.log = &(const struct key_log){rfc_key_log, NULL};
    assert_int_equal(hs13_conn_step(&conn, &in), HS13_WANT_SIGN);
    struct span s = buf_span(&conn.out);
    assert_int_equal(s.p[0], 22);
    assert_memory_equal(s.p + 5, rfc8448_server_hello, sizeof(rfc8448_server_hello));
    assert_int_equal(s.p[5 + sizeof(rfc8448_server_hello)], 23); /* no session ID: no ChangeCipherSpec */
    assert_int_equal(logged, 2);
    buf_fini(&in);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_schedule_is_that_of_section_3),
        cmocka_unit_test(traffic_keys_begin_at_number_0),
        cmocka_unit_test(what_is_signed_is_what_section_3_signs),
        cmocka_unit_test(the_binder_is_that_of_section_4),
        cmocka_unit_test_teardown(our_flight_begins_as_that_of_section_3, clean_up),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
