/* Who may take up whose sessions, and that a resumed session goes on like any other. */
#include "tls/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "handshake_talk.h"

#define MINUTE 60

/* Our clock; libssl's own stays, as does the hour of the tickets' keys. */
static time_t ahead_s;
time_t __real_time(time_t *t);
time_t __wrap_time(time_t *t);
time_t __wrap_time(time_t *t) {
    return __real_time(t) + ahead_s;
}

static void expect_resumed(SSL_SESSION *session, const struct tls_server *with, uint16_t version, bool resumed) {
    client_speaks(version);
    assert_int_equal(SSL_set_session(client, session), 1);
    establish(with);
    assert_int_equal(result.resumed, resumed);
    assert_int_equal(result.sig_scheme != 0, !resumed);
    assert_int_equal(result.group, version == TLS_1_2 && resumed ? 0 : 0x001d);
    talk_and_close();
    leave();
}

static void the_same_service_resumes_its_sessions(void **state) {
    for (size_t v = 0; v < 2; v++)
        for (size_t i = 0; i < 3; i++) {
            SSL_SESSION *session = session_with(server, both_versions[v]);
            expect_resumed(session, server, both_versions[v], true);
            SSL_SESSION_free(session);
        }
}

/* As another handshaker process would: the same name, tickets from the same secret. */
static void another_process_resumes_them_too(void **state) {
    struct tls_policy p = service_policy("web");
    struct tickets *same = service_tickets(1);
    struct tls_server *s = service_new(&p, certs, same);
    for (size_t v = 0; v < 2; v++) {
        SSL_SESSION *session = session_with(server, both_versions[v]);
        expect_resumed(session, s, both_versions[v], true);
        SSL_SESSION_free(session);
    }
    tls_server_free(s);
    tickets_free(same);
}

static void a_service_of_another_name_does_not(void **state) {
    struct tls_policy p = service_policy("admin");
    struct tls_server *s = service_new(&p, certs, tickets);
    for (size_t v = 0; v < 2; v++) {
        SSL_SESSION *session = session_with(server, both_versions[v]);
        expect_resumed(session, s, both_versions[v], false);
        SSL_SESSION_free(session);
    }
    tls_server_free(s);
}

/* Names that begin alike are not the same name, however long they are. */
static void a_service_of_a_similar_long_name_does_not(void **state) {
    struct tls_policy p = service_policy("a-service-with-a-rather-long-name-1");
    struct tls_policy q = service_policy("a-service-with-a-rather-long-name-2");
    struct tls_server *s = service_new(&p, certs, tickets), *t = service_new(&q, certs, tickets);
    for (size_t v = 0; v < 2; v++) {
        SSL_SESSION *session = session_with(s, both_versions[v]);
        expect_resumed(session, t, both_versions[v], false);
        expect_resumed(session, s, both_versions[v], true);
        SSL_SESSION_free(session);
    }
    tls_server_free(s);
    tls_server_free(t);
}

static void other_ticket_keys_mean_a_full_handshake(void **state) {
    struct tls_policy p = service_policy("web");
    struct tickets *other = service_tickets(2);
    struct tls_server *s = service_new(&p, certs, other);
    for (size_t v = 0; v < 2; v++) {
        SSL_SESSION *session = session_with(server, both_versions[v]);
        expect_resumed(session, s, both_versions[v], false);
        SSL_SESSION_free(session);
    }
    tls_server_free(s);
    tickets_free(other);
}

static SSL_SESSION *session_of_name(const struct tls_server *with, uint16_t version, const char *name) {
    client_speaks(version);
    assert_int_equal(client_asks_for(name), 1);
    establish(with);
    both_ways(10);
    SSL_SESSION *session = SSL_get1_session(client);
    SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    leave();
    return session;
}

static bool resumes_for_name(SSL_SESSION *session, uint16_t version, const char *name) {
    client_speaks(version);
    assert_int_equal(client_asks_for(name), 1);
    assert_int_equal(SSL_set_session(client, session), 1);
    establish(server);
    bool resumed = result.resumed;
    talk_and_close();
    leave();
    return resumed;
}

/* One service, two names: what one of them lets in must not come in under the other. */
static void another_server_name_means_a_full_handshake(void **state) {
    static const char *const names[] = {"a.www.example.org", "b.www.example.org", NULL};
    for (size_t v = 0; v < 2; v++)
        for (size_t i = 0; i < 3; i++) {
            SSL_SESSION *session = session_of_name(server, both_versions[v], names[i]);
            for (size_t j = 0; j < 3; j++)
                assert_int_equal(resumes_for_name(session, both_versions[v], names[j]), i == j);
            SSL_SESSION_free(session);
        }
}

/* A ticket from before the service was made stricter does not pass under the new rules. */
static void other_versions_or_suites_mean_a_full_handshake(void **state) {
    struct tls_policy p = service_policy("web"), q = p;
    uint16_t fewer[16];
    memcpy(fewer, p.suites, p.nsuites * sizeof(*fewer));
    q.suites = fewer;
    q.nsuites = p.nsuites - 1;
    struct tls_server *s = service_new(&q, certs, tickets);
    p.min_version = TLS_1_3;
    struct tls_server *t = service_new(&p, certs, tickets);
    SSL_SESSION *session = session_with(server, TLS_1_3);
    expect_resumed(session, s, TLS_1_3, false);
    expect_resumed(session, t, TLS_1_3, false);
    expect_resumed(session, server, TLS_1_3, true);
    SSL_SESSION_free(session);
    session = session_with(server, TLS_1_2);
    expect_resumed(session, s, TLS_1_2, false);
    SSL_SESSION_free(session);
    tls_server_free(s);
    tls_server_free(t);
}

static void a_resumed_session_can_be_resumed_after_a_retry(void **state) {
    SSL_SESSION *session = session_with(server, TLS_1_3);
    client_speaks(TLS_1_3);
    assert_int_equal(SSL_set_session(client, session), 1);
    client_groups("P-521:P-256");
    establish(server);
    assert_true(result.resumed);
    assert_int_equal(result.group, 0x0017);
    talk_and_close();
    leave();
    SSL_SESSION_free(session);
}

/* In a process that has just begun: none is asked for, none is to be had, and our certificate is reported all the same. */
static void a_resumed_session_needs_no_key(void **state) {
    struct tls_policy p = service_policy("web");
    for (size_t v = 0; v < LIBSSLS_VERSIONS; v++) {
        struct certs *unused = service_certs_both();
        struct tls_server *s = service_new(&p, unused, tickets);
        SSL_SESSION *session = session_with(server, both_versions[v]);
        shop_gives(0, NULL);
        expect_resumed(session, s, both_versions[v], true);
        assert_int_equal(shop_asked.asked, 0);
        assert_int_equal(result.our_cert.key, CERT_KEY_RSA);
        assert_int_equal(result.our_cert.bits, 2048);
        assert_int_equal(result.our_cert.sig, CERT_SIG_RSA_SHA256);
        shop_gives(UINT_MAX, NULL);
        client_speaks(both_versions[v]);
        establish(s);
        assert_int_equal(shop_asked.asked, both_versions[v] == TLS_1_3 ? 1 : 2); /* of that which is chosen; of all */
        leave();
        SSL_SESSION_free(session);
        tls_server_free(s);
        certs_free(unused);
    }
}

/* P9: a session ends a week after its full handshake, however often its ticket was renewed. */
static void renewals_end_after_a_week(void **state) {
    SSL_SESSION *session = session_with(server, TLS_1_3);
    unsigned minutes = 0;
    do {
        ahead_s = (time_t)(minutes += 50) * MINUTE;
        client_speaks(TLS_1_3);
        assert_int_equal(SSL_set_session(client, session), 1);
        establish(server);
        both_ways(10);
        SSL_SESSION_free(session);
        session = SSL_get1_session(client);
        SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        leave();
    } while (result.resumed && minutes < 8 * 24 * 60);
    assert_in_range(minutes, 7 * 24 * 60, 7 * 24 * 60 + 50);
    ahead_s = 0;
    SSL_SESSION_free(session);
}

/* ---- a ticket of one version shown in the other: passed over, without an alert ---- */

static const uint8_t *shown;
static size_t shown_len;

/* libssl's client: our ticket as the identity of a key that is not ours. */
static int show_as_psk(SSL *ssl, const EVP_MD *md, const unsigned char **ret_id, size_t *ret_len, SSL_SESSION **ret) {
    static const uint8_t suite[] = {0x13, 0x01};
    uint8_t key[32] = {7};
    SSL_SESSION *s = SSL_SESSION_new();
    assert_non_null(s);
    assert_int_equal(SSL_SESSION_set1_master_key(s, key, sizeof(key)), 1);
    assert_int_equal(SSL_SESSION_set_cipher(s, SSL_CIPHER_find(ssl, suite)), 1);
    assert_int_equal(SSL_SESSION_set_protocol_version(s, TLS_1_3), 1);
    *ret_id = shown;
    *ret_len = shown_len;
    *ret = s;
    return 1;
}

static void a_ticket_of_1_2_is_no_psk(void **state) {
    SSL_SESSION *session = session_with(server, TLS_1_2);
    SSL_SESSION_get0_ticket(session, &shown, &shown_len);
    assert_true(shown_len > 0);
    client_speaks(TLS_1_3);
    SSL_set_psk_use_session_callback(client, show_as_psk);
    establish(server);
    assert_false(result.resumed);
    talk_and_close();
    leave();
    SSL_SESSION_free(session);
}

static void a_ticket_of_1_3_resumes_nothing_in_1_2(void **state) {
    SSL_SESSION *session = session_with(server, TLS_1_3);
    SSL_SESSION_get0_ticket(session, &shown, &shown_len);
    client_speaks(TLS_1_2);
    assert_int_equal(SSL_set_session_ticket_ext(client, (void *)(uintptr_t)shown, (int)shown_len), 1);
    establish(server);
    assert_false(result.resumed);
    talk_and_close();
    leave();
    SSL_SESSION_free(session);
}

/* RFC 8446 4.2.10: what a client sends ahead under a ticket of somebody else's is passed over. */
static void early_data_of_a_foreign_ticket_is_passed_over(void **state) {
    static const size_t sizes[] = {1, 16384, 40000, 65536};
    struct tickets *others = service_tickets(9);
    struct tls_policy p = service_policy("web");
    struct tls_server *s = service_new(&p, certs, others);
    for (size_t i = 0; i < 2 * ARRAY_LEN(sizes); i++) {
        size_t n;
        SSL_SESSION *session = session_with(s, TLS_1_3);
        assert_int_equal(SSL_SESSION_set_max_early_data(session, UINT32_MAX), 1);
        client_speaks(TLS_1_3);
        assert_int_equal(SSL_set_session(client, session), 1);
        if (i % 2)
            client_groups("P-521:P-256"); /* a retry comes between */
        assert_int_equal(SSL_write_early_data(client, data, sizes[i / 2], &n), 1);
        establish(server);
        assert_false(result.resumed);
        talk_and_close();
        leave();
        SSL_SESSION_free(session);
    }
    tls_server_free(s);
    tickets_free(others);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_same_service_resumes_its_sessions, clean_up),
        cmocka_unit_test_teardown(another_process_resumes_them_too, clean_up),
        cmocka_unit_test_teardown(a_service_of_another_name_does_not, clean_up),
        cmocka_unit_test_teardown(a_service_of_a_similar_long_name_does_not, clean_up),
        cmocka_unit_test_teardown(other_ticket_keys_mean_a_full_handshake, clean_up),
        cmocka_unit_test_teardown(another_server_name_means_a_full_handshake, clean_up),
        cmocka_unit_test_teardown(other_versions_or_suites_mean_a_full_handshake, clean_up),
        cmocka_unit_test_teardown(a_resumed_session_can_be_resumed_after_a_retry, clean_up),
        cmocka_unit_test_teardown(a_resumed_session_needs_no_key, clean_up),
        cmocka_unit_test_teardown(renewals_end_after_a_week, clean_up),
        cmocka_unit_test_teardown(a_ticket_of_1_2_is_no_psk, clean_up),
        cmocka_unit_test_teardown(a_ticket_of_1_3_resumes_nothing_in_1_2, clean_up),
        cmocka_unit_test_teardown(early_data_of_a_foreign_ticket_is_passed_over, clean_up),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
