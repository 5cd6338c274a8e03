/*
 * The record layer against libssl itself: a libssl client and a libssl server shake hands in memory, the server's keys are
 * taken out, and from then on our record layer is the server.
 */
#include "tls/record_layer.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "libssl_talk.h"
#include "tls/keysched.h"

static SSL_CTX *server_ctx, *client_ctx;
static const struct suite *suite;

/* Secrets as the key log gives them, and records as the wire shows them. */
static uint8_t client_secret[HASH_LEN_MAX], server_secret[HASH_LEN_MAX];
static uint64_t server_app_records;
static uint64_t last_explicit_nonce;

static uint8_t nibble(char c) {
    return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* "LABEL client_random secret", all hexadecimal (NSS key log format). */
static void keylog(const SSL *ssl, const char *line) {
    uint8_t *to = NULL;
    if (strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) == 0)
        to = client_secret;
    else if (strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) == 0)
        to = server_secret;
    const char *hex = strrchr(line, ' ');
    for (size_t i = 0; to && hex && i < HASH_LEN_MAX && hex[1 + 2 * i]; i++)
        to[i] = (uint8_t)(nibble(hex[1 + 2 * i]) << 4 | nibble(hex[2 + 2 * i]));
}

static void use_key(SSL_CTX *ctx, EVP_PKEY *key) {
    X509 *cert = X509_new();
    assert_int_equal(X509_set_version(cert, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), 1), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), -3600));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), 3600));
    X509_NAME *name = X509_get_subject_name(cert);
    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0), 1);
    assert_int_equal(X509_set_issuer_name(cert, name), 1);
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static int setup(void **state) {
    server_ctx = SSL_CTX_new(TLS_server_method());
    client_ctx = SSL_CTX_new(TLS_client_method());
    use_key(server_ctx, EVP_EC_gen("P-256"));
    use_key(server_ctx, EVP_RSA_gen(2048));
    SSL_CTX_set_keylog_callback(server_ctx, keylog);
    SSL_CTX_set_num_tickets(server_ctx, 2);
    talk_setup();
    return 0;
}

static int teardown(void **state) {
    talk_teardown();
    SSL_CTX_free(server_ctx);
    SSL_CTX_free(client_ctx);
    return 0;
}

/* Moves all bytes waiting in one BIO to another, and counts the protected records that pass. */
static bool move(BIO *from, BIO *to, bool from_server) {
    int n = BIO_read(from, wire, sizeof wire);
    if (n <= 0)
        return false;
    for (int off = 0; from_server && off + RECORD_HEADER_LEN <= n;) {
        if (wire[off] == CONTENT_APPLICATION_DATA)
            server_app_records++;
        if (wire[off] == CONTENT_HANDSHAKE)
            for (int i = 0; i < 8; i++)
                last_explicit_nonce = last_explicit_nonce << 8 | wire[off + 5 + i];
        off += RECORD_HEADER_LEN + (wire[off + 3] << 8 | wire[off + 4]);
    }
    assert_int_equal(BIO_write(to, wire, n), n);
    return true;
}

/* The server's keys and numbers become a record layer. */
static void leave_1_3(uint64_t tickets) {
    memcpy(record_layer.in.secret, client_secret, HASH_LEN_MAX);
    memcpy(record_layer.out.secret, server_secret, HASH_LEN_MAX);
    record_layer.out.seq = tickets;
    assert_int_equal(keysched_traffic_key(suite, record_layer.in.secret, record_layer.in.key, record_layer.in.iv), 0);
    assert_int_equal(keysched_traffic_key(suite, record_layer.out.secret, record_layer.out.key, record_layer.out.iv), 0);
}

static void leave_1_2(SSL *server) {
    uint8_t master[48], cr[32], sr[32];
    struct keysched_tls12 block;
    assert_int_equal(SSL_SESSION_get_master_key(SSL_get_session(server), master, sizeof master), 48);
    assert_int_equal(SSL_get_client_random(server, cr, 32), 32);
    assert_int_equal(SSL_get_server_random(server, sr, 32), 32);
    assert_int_equal(keysched_tls12_block(suite, master, cr, sr, &block), 0);
    memcpy(record_layer.in.key, block.client_key, AEAD_KEY_MAX);
    memcpy(record_layer.in.iv, block.client_iv, AEAD_NONCE_LEN);
    memcpy(record_layer.out.key, block.server_key, AEAD_KEY_MAX);
    memcpy(record_layer.out.iv, block.server_iv, AEAD_NONCE_LEN);
    record_layer.in.seq = record_layer.out.seq = 1;
    record_layer.out.explicit_nonce = last_explicit_nonce + 1;
}

static void connect_with(const struct suite *with) {
    suite = with;
    record_layer = (struct record_layer){.suite_id = with->id, .out_max = RECORD_PLAIN_MAX};
    server_app_records = 0;

    SSL *server = SSL_new(server_ctx);
    client_new(client_ctx);
    client_offers(with);

    BIO *server_in = BIO_new(BIO_s_mem()), *server_out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(server_in, -1);
    SSL_set_bio(server, server_in, server_out);
    SSL_set_accept_state(server);

    uint64_t before_last_flight = 0;
    bool moved = true;
    while (moved) {
        (void)SSL_do_handshake(client); /* progress shows in the bytes */
        moved = move(from_client, server_in, false);
        before_last_flight = server_app_records;
        (void)SSL_do_handshake(server);
        moved = move(server_out, to_client, true) || moved;
        if (SSL_is_init_finished(server) && SSL_is_init_finished(client))
            break;
    }
    assert_true(SSL_is_init_finished(server));
    assert_true(SSL_is_init_finished(client));
    assert_int_equal(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(server)), with->id);
    if (with->version == TLS_1_3)
        leave_1_3(server_app_records - before_last_flight);
    else
        leave_1_2(server);
    assert_true(record_layer_valid(&record_layer));
    SSL_free(server);
}

static void data_of_all_sizes_passes_both_ways(void **state) {
    static const size_t sizes[] = {1, 2, 15, 16, 17, 63, 64, 1000, 1400, 16383, 16384, 16385, 65536, 300 * 1024};
    for (size_t i = 0; suite_at(i); i++) {
        connect_with(suite_at(i));
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
            both_ways(sizes[s]);
        for (size_t len = 1; len < 120; len++)
            both_ways(len);
        disconnect();
    }
}

static void small_records_pass(void **state) {
    for (size_t i = 0; suite_at(i); i++) {
        connect_with(suite_at(i));
        record_layer.out_max = 511;
        assert_int_equal(SSL_set_max_send_fragment(client, 512), 1);
        both_ways(20000);
        disconnect();
    }
}

static void padded_records_of_libssl_open(void **state) {
    for (size_t i = 0; i < 3; i++) {
        connect_with(suite_at(i));
        assert_int_equal(SSL_set_block_padding(client, 512), 1);
        both_ways(1);
        both_ways(511);
        both_ways(100000);
        disconnect();
    }
}

static void key_updates_of_the_client_are_followed(void **state) {
    static const int kinds[] = {SSL_KEY_UPDATE_NOT_REQUESTED, SSL_KEY_UPDATE_REQUESTED};
    for (size_t i = 0; i < 3; i++)
        for (int k = 0; k < 2; k++) {
            connect_with(suite_at(i));
            for (unsigned round = 1; round <= 5; round++) {
                both_ways(1000);
                assert_int_equal(SSL_key_update(client, kinds[k]), 1);
                client_sends(5000); /* the update goes in front */
                assert_int_equal(record_layer.key_updates_in, round);
                assert_int_equal(record_layer_control_owed(&record_layer), kinds[k] == SSL_KEY_UPDATE_REQUESTED);
                record_layer_sends(5000);
                client_takes(5000);
                assert_int_equal(record_layer.key_updates_out, k ? round : 0);
                assert_false(record_layer_control_owed(&record_layer));
            }
            disconnect();
        }
}

static void a_key_update_alone_is_answered(void **state) {
    connect_with(suite_at(0));
    size_t n;
    int err;
    assert_int_equal(SSL_key_update(client, SSL_KEY_UPDATE_REQUESTED), 1);
    assert_int_equal(SSL_do_handshake(client), 1);
    assert_int_equal(record_layer_take(&n, &err), STEP_WANT_READ);
    assert_int_equal(n, 0);
    assert_true(record_layer_control_owed(&record_layer));
    both_ways(100);
    disconnect();
}

static void the_client_follows_our_own_key_update(void **state) {
    for (size_t i = 0; i < 3; i++) {
        connect_with(suite_at(i));
        for (unsigned round = 1; round <= 5; round++) {
            both_ways(1000);
            record_layer.key_update_owed = true;
            both_ways(20000);
            assert_int_equal(record_layer.key_updates_out, round);
        }
        disconnect();
    }
}

static void close_notify_passes_both_ways(void **state) {
    for (size_t i = 0; suite_at(i); i++) {
        size_t n;
        int err;
        connect_with(suite_at(i));
        both_ways(10);
        assert_int_equal(SSL_shutdown(client), 0);
        assert_int_equal(record_layer_take(&n, &err), STEP_EOF);
        assert_true(record_layer.close_seen);
        record_layer_sends(3000); /* half-closed: our way is still open */
        client_takes(3000);
        assert_int_equal(record_layer_alert(&record_layer, &contexts, ALERT_CLOSE_NOTIFY, out, &n), 0);
        assert_int_equal(BIO_write(to_client, out, (int)n), (int)n);
        assert_int_equal(SSL_shutdown(client), 1);
        assert_int_equal(SSL_get_shutdown(client), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        disconnect();
    }
}

static void our_close_is_a_clean_end_for_the_client(void **state) {
    for (size_t i = 0; suite_at(i); i++) {
        size_t n;
        connect_with(suite_at(i));
        assert_int_equal(record_layer_alert(&record_layer, &contexts, ALERT_CLOSE_NOTIFY, out, &n), 0);
        assert_int_equal(BIO_write(to_client, out, (int)n), (int)n);
        int rc = SSL_read(client, got, 1);
        assert_int_equal(SSL_get_error(client, rc), SSL_ERROR_ZERO_RETURN);
        disconnect();
    }
}

static void the_client_understands_our_fatal_alert(void **state) {
    for (size_t i = 0; suite_at(i); i++) {
        size_t n;
        connect_with(suite_at(i));
        assert_int_equal(record_layer_alert(&record_layer, &contexts, ALERT_INTERNAL_ERROR, out, &n), 0);
        assert_int_equal(BIO_write(to_client, out, (int)n), (int)n);
        int rc = SSL_read(client, got, 1);
        assert_int_equal(SSL_get_error(client, rc), SSL_ERROR_SSL);
        assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()), SSL_AD_REASON_OFFSET + ALERT_INTERNAL_ERROR);
        disconnect();
    }
}

static void the_clients_fatal_alert_is_understood(void **state) {
    for (size_t i = 0; suite_at(i); i++) {
        size_t n;
        int err;
        connect_with(suite_at(i));
        record_layer_sends(100);
        memset(out, 0, 64);
        out[0] = 23; /* a record that does not authenticate */
        out[1] = out[2] = 3;
        out[4] = 40;
        assert_int_equal(BIO_write(to_client, out, 45), 45);
        client_takes(100);
        assert_true(SSL_read(client, got, 1) <= 0);
        assert_int_equal(record_layer_take(&n, &err), STEP_FAILED);
        assert_int_equal(err, ERR_PEER_ALERT);
        assert_int_equal(record_layer.alert_seen, ALERT_BAD_RECORD_MAC);
        disconnect();
    }
}

static void renegotiation_is_refused(void **state) {
    for (size_t i = 3; suite_at(i); i++) {
        size_t n;
        int err;
        connect_with(suite_at(i));
        both_ways(100);
        assert_int_equal(SSL_renegotiate(client), 1);
        assert_int_equal(SSL_do_handshake(client), -1);
        assert_int_equal(record_layer_take(&n, &err), STEP_WANT_READ);
        assert_true(record_layer_control_owed(&record_layer));
        assert_int_equal(record_layer_control(&record_layer, &contexts, out, &n), 0);
        assert_int_equal(BIO_write(to_client, out, (int)n), (int)n);
        ERR_clear_error();
        /* libssl gives up on a refusal: that is its choice. It must have understood it. */
        assert_true(SSL_do_handshake(client) <= 0);
        assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_NO_RENEGOTIATION);
        disconnect();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_of_all_sizes_passes_both_ways),
        cmocka_unit_test(small_records_pass),
        cmocka_unit_test(padded_records_of_libssl_open),
        cmocka_unit_test(key_updates_of_the_client_are_followed),
        cmocka_unit_test(a_key_update_alone_is_answered),
        cmocka_unit_test(the_client_follows_our_own_key_update),
        cmocka_unit_test(close_notify_passes_both_ways),
        cmocka_unit_test(our_close_is_a_clean_end_for_the_client),
        cmocka_unit_test(the_client_understands_our_fatal_alert),
        cmocka_unit_test(the_clients_fatal_alert_is_understood),
        cmocka_unit_test(renegotiation_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
