/* Clients with certificates, libssl on both sides: proof of the key, what a ticket is worth later, rules that change. */
#include "tls/client_auth.h"

#include <openssl/core_names.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "handshake_talk.h"

#define HOUR 3600L

static X509 *ca;
static EVP_PKEY *ca_key;
static struct tls_server *strict; /* asks for certificates of CA */

/* Our clock; libssl's own stays. */
static time_t ahead_s;

time_t __real_time(time_t *t);
time_t __wrap_time(time_t *t);
time_t __wrap_time(time_t *t) {
    return __real_time(t) + ahead_s;
}

/* A certificate of CA for KEY, that ends so many seconds from now. */
static X509 *issue(EVP_PKEY *key, const char *san, long ends_s) {
    struct make_spec spec = {
        .cn = "robot", .san = san, .begins_s = -HOUR, .ends_s = ends_s, .issuer = ca, .issuer_key = ca_key};
    return make_cert(key, &spec);
}

static struct client_auth *rules(const char *allow) {
    char said[256];
    struct text why = text_of(said, sizeof(said));
    uint8_t *der = NULL;
    int len = i2d_X509(ca, &der);
    assert_true(len > 0);
    struct span list = span_of(der, (size_t)len);
    struct client_policy p = {.required = true, .ca = &list, .nca = 1, .depth = 2, .allow = &allow, .nallow = allow ? 1 : 0};
    struct client_auth *a = client_auth_new(&p, &why);
    if (!a)
        fail_msg("%s", said);
    OPENSSL_free(der);
    return a;
}

static int all_setup(void **state) {
    setup(state);
    ca_key = make_key("EC:P-256");
    ca = make_cert(ca_key, &(struct make_spec){.cn = "clients authority", .ca = true});
    struct tls_policy p = service_policy("strict");
    p.clients = rules(NULL);
    p.reports_client_cert = true;
    strict = service_new(&p, certs, tickets);
    return 0;
}

static int all_teardown(void **state) {
    tls_server_free(strict);
    X509_free(ca);
    EVP_PKEY_free(ca_key);
    return teardown(state);
}

static int each_teardown(void **state) {
    ahead_s = 0;
    return clean_up(state);
}

static void client_shows(X509 *cert, EVP_PKEY *key) {
    assert_int_equal(SSL_use_certificate(client, cert), 1);
    assert_int_equal(SSL_use_PrivateKey(client, key), 1);
}

/* A full handshake with a certificate that ends so many seconds from now; the session that it leaves. */
static SSL_SESSION *session_that_ends(uint16_t version, long ends_s, X509 **ret_cert, EVP_PKEY **ret_key) {
    *ret_key = make_key("EC:P-256");
    *ret_cert = issue(*ret_key, "DNS:robot.example.org", ends_s);
    client_speaks(version);
    client_shows(*ret_cert, *ret_key);
    establish(strict);
    assert_non_null(result.client);
    assert_int_equal(result.client->name_len, strlen("robot.example.org"));
    assert_memory_equal(result.client->name, "robot.example.org", result.client->name_len);
    both_ways(10);
    SSL_SESSION *session = SSL_get1_session(client);
    SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    leave();
    return session;
}

/* Whether the session is resumed so much later; the client can always show its certificate again. */
static bool resumed_later(SSL_SESSION *session, uint16_t version, X509 *cert, EVP_PKEY *key, time_t later_s) {
    ahead_s = later_s;
    client_speaks(version);
    client_shows(cert, key);
    assert_int_equal(SSL_set_session(client, session), 1);
    establish(strict);
    bool resumed = result.resumed;
    assert_non_null(result.client); /* by either way the name is known */
    assert_int_equal(result.client->cn_len, 5);
    assert_memory_equal(result.client->cn, "robot", 5);
    assert_true(result.client_cert.len > 100);
    SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* or libssl takes the session for a broken one */
    leave();
    ahead_s = 0;
    return resumed;
}

static void a_ticket_ends_with_the_certificate(void **state) {
    for (size_t v = 0; v < LIBSSLS_VERSIONS; v++) {
        X509 *cert;
        EVP_PKEY *key;
        SSL_SESSION *s = session_that_ends(both_versions[v], 2 * HOUR, &cert, &key);
        assert_true(resumed_later(s, both_versions[v], cert, key, 0));
        assert_true(resumed_later(s, both_versions[v], cert, key, 2 * HOUR - 60));
        assert_false(resumed_later(s, both_versions[v], cert, key, 2 * HOUR + 60));
        SSL_SESSION_free(s);
        X509_free(cert);
        EVP_PKEY_free(key);
    }
}

static void after_a_day_the_certificate_is_shown_again(void **state) {
    for (size_t v = 0; v < LIBSSLS_VERSIONS; v++) {
        X509 *cert;
        EVP_PKEY *key;
        SSL_SESSION *s = session_that_ends(both_versions[v], 1000 * HOUR, &cert, &key);
        assert_true(resumed_later(s, both_versions[v], cert, key, 23 * HOUR));
        assert_false(resumed_later(s, both_versions[v], cert, key, 25 * HOUR));
        assert_false(resumed_later(s, both_versions[v], cert, key, -2 * HOUR)); /* shown in the future: some clock is wrong */
        SSL_SESSION_free(s);
        X509_free(cert);
        EVP_PKEY_free(key);
    }
}

/* The day is counted from the certificate, not from the last ticket. */
static void resuming_does_not_make_the_day_longer(void **state) {
    if (OWN_TLS13)
        skip();
    X509 *cert;
    EVP_PKEY *key;
    SSL_SESSION *s = session_that_ends(TLS_1_3, 1000 * HOUR, &cert, &key);
    ahead_s = 20 * HOUR;
    client_speaks(TLS_1_3);
    assert_int_equal(SSL_set_session(client, s), 1);
    establish(strict);
    assert_true(result.resumed);
    both_ways(10);
    SSL_SESSION *next = SSL_get1_session(client);
    SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    leave();
    assert_true(resumed_later(next, TLS_1_3, cert, key, 23 * HOUR));
    assert_false(resumed_later(next, TLS_1_3, cert, key, 25 * HOUR));
    SSL_SESSION_free(s);
    SSL_SESSION_free(next);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void new_rules_end_old_tickets_and_the_same_rules_do_not(void **state) {
    for (size_t v = 0; v < 2; v++) {
        X509 *cert;
        EVP_PKEY *key;
        SSL_SESSION *s = session_that_ends(both_versions[v], 1000 * HOUR, &cert, &key);
        assert_int_equal(tls_server_use_clients(strict, rules(NULL)), 0);
        assert_true(resumed_later(s, both_versions[v], cert, key, 0));
        assert_int_equal(tls_server_use_clients(strict, rules("cn:robot")), 0);
        assert_false(resumed_later(s, both_versions[v], cert, key, 0));
        assert_int_equal(tls_server_use_clients(strict, rules(NULL)), 0);
        assert_true(resumed_later(s, both_versions[v], cert, key, 0));
        SSL_SESSION_free(s);
        X509_free(cert);
        EVP_PKEY_free(key);
    }
}

/* The client's last word is its Finished in 1.3, so it is refused after it. What it receives then. */
static int alert_heard;

static void receive_alert(const SSL *ssl, int where, int ret) {
    (void)ssl;
    if (where == SSL_CB_READ_ALERT)
        alert_heard = ret & 0xff;
}

static void refused(int reason, int alert) {
    uint8_t peer_alert = 0;
    alert_heard = -1;
    SSL_set_info_callback(client, receive_alert);
    meet(strict);
    assert_int_equal(shake(), STEP_FAILED);
    assert_int_equal(handshake_error(hs, &peer_alert), reason);
    answer_client();
    char byte;
    (void)SSL_do_handshake(client);
    (void)SSL_read(client, &byte, 1); /* nothing comes but the alert */
    assert_int_equal(alert_heard, alert);
    leave();
}

static void new_rules_hold_for_new_handshakes(void **state) {
    EVP_PKEY *key = make_key("EC:P-256");
    X509 *cert = issue(key, NULL, HOUR);
    assert_int_equal(tls_server_use_clients(strict, rules("cn:somebody")), 0);
    for (size_t v = 0; v < 2; v++) {
        client_speaks(both_versions[v]);
        client_shows(cert, key);
        refused(ERR_CLIENT_NOT_ALLOWED, ALERT_ACCESS_DENIED);
    }
    assert_int_equal(tls_server_use_clients(strict, rules(NULL)), 0);
    X509_free(cert);
    EVP_PKEY_free(key);
}

/* A key that calls itself the certificate's: its public half is, its private half is another's. */
static EVP_PKEY *impostor(EVP_PKEY *of) {
    uint8_t point[133];
    size_t len = 0;
    EVP_PKEY *key = make_key("EC:P-256");
    assert_int_equal(EVP_PKEY_get_octet_string_param(of, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point), &len), 1);
    assert_int_equal(EVP_PKEY_set1_encoded_public_key(key, point, len), 1);
    return key;
}

static void who_does_not_hold_the_key_is_refused(void **state) {
    EVP_PKEY *key = make_key("EC:P-256"), *wrong = impostor(key);
    X509 *cert = issue(key, NULL, HOUR);
    for (size_t v = 0; v < 2; v++) {
        client_speaks(both_versions[v]);
        client_shows(cert, wrong);
        refused(ERR_CLIENT_CERT_PROOF, ALERT_DECRYPT_ERROR);
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    EVP_PKEY_free(wrong);
}

static void who_shows_none_is_refused(void **state) {
    for (size_t v = 0; v < 2; v++) {
        client_speaks(both_versions[v]);
        refused(ERR_CLIENT_CERT_MISSING, both_versions[v] == TLS_1_3 ? ALERT_CERTIFICATE_REQUIRED : ALERT_HANDSHAKE_FAILURE);
    }
}

/* With the key log and with our provider: the alert of 1.3 is sealed under a secret from either. */
static void alerts_are_right_after_the_selftest_too(void **state) {
    (void)tls_server_selftest(strict);
    who_shows_none_is_refused(state);
    who_does_not_hold_the_key_is_refused(state);
}

static void rules_without_a_ca_are_none(void **state) {
    char said[256];
    struct text why = text_of(said, sizeof(said));
    struct client_policy p = {.required = true};
    assert_null(client_auth_new(&p, &why));
    assert_true(why.len > 0);
    struct span broken = span_str("no DER");
    p = (struct client_policy){.ca = &broken, .nca = 1};
    assert_null(client_auth_new(&p, &why));
    client_auth_free(NULL);
}

/* ---- what a ticket carries ---- */

static struct client_id sample_id(void) {
    struct client_id id = {.verified = true, .verified_s = 1700000000, .expires_s = 1800000000, .identity_source = IDENTITY_CN};
    id.name_len = CLIENT_NAME_MAX;
    id.cn_len = CLIENT_CN_MAX;
    id.serial_len = CLIENT_SERIAL_MAX;
    memset(id.name, 'n', sizeof(id.name));
    memset(id.cn, 'c', sizeof(id.cn));
    memset(id.serial, 7, sizeof(id.serial));
    memset(id.fingerprint, 9, sizeof(id.fingerprint));
    return id;
}

static void what_a_ticket_carries_comes_back(void **state) {
    uint8_t packed[CLIENT_ID_PACKED];
    struct client_id id = sample_id(), back, none = {0};
    size_t len = client_id_pack(&id, packed);
    assert_int_equal(client_id_unpack(span_of(packed, len), &back), 0);
    assert_memory_equal(&back, &id, sizeof(id));
    for (size_t n = 0; n < len; n++)
        assert_int_equal(client_id_unpack(span_of(packed, n), &back), ERR_FORMAT);
    assert_int_equal(client_id_unpack(span_of(packed, len + 1), &back), ERR_FORMAT);
    len = client_id_pack(&none, packed);
    assert_int_equal(client_id_unpack(span_of(packed, len), &back), 0);
    assert_false(back.verified);
}

static void what_makes_no_sense_in_a_ticket_is_refused(void **state) {
    uint8_t packed[CLIENT_ID_PACKED];
    struct client_id id = sample_id(), back;
    size_t len = client_id_pack(&id, packed);
    static const struct {
        size_t at;
        uint8_t value;
    } bad[] = {{0, 0}, {0, 2}, {1, 2}, {18, IDENTITY_COUNT}, {18, IDENTITY_NOTHING}, {51, 0xff}, {52, 1}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint8_t before = packed[bad[i].at];
        packed[bad[i].at] = bad[i].value;
        assert_int_equal(client_id_unpack(span_of(packed, len), &back), ERR_FORMAT);
        packed[bad[i].at] = before;
    }
    assert_int_equal(client_id_unpack(span_of(packed, len), &back), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_ticket_ends_with_the_certificate, each_teardown),
        cmocka_unit_test_teardown(after_a_day_the_certificate_is_shown_again, each_teardown),
        cmocka_unit_test_teardown(resuming_does_not_make_the_day_longer, each_teardown),
        cmocka_unit_test_teardown(new_rules_end_old_tickets_and_the_same_rules_do_not, each_teardown),
        cmocka_unit_test_teardown(new_rules_hold_for_new_handshakes, each_teardown),
        cmocka_unit_test_teardown(who_does_not_hold_the_key_is_refused, each_teardown),
        cmocka_unit_test_teardown(who_shows_none_is_refused, each_teardown),
        cmocka_unit_test_teardown(alerts_are_right_after_the_selftest_too, each_teardown),
        cmocka_unit_test(rules_without_a_ca_are_none),
        cmocka_unit_test(what_a_ticket_carries_comes_back),
        cmocka_unit_test(what_makes_no_sense_in_a_ticket_is_refused),
    };
    return cmocka_run_group_tests(tests, all_setup, all_teardown);
}
