/* Handshakes that fail: our reason, and the alert sent to the client. */
#include "tls/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "handshake_talk.h"

static void expect_failed(int err) {
    uint8_t alert = 0;
    assert_int_equal(handshake_error(hs, &alert), err);
}

/* The client's next word, after ours, is why it refuses. */
static int refuse_certificate(int ok, X509_STORE_CTX *store) {
    return 0;
}

static void the_clients_alert_is_reported(void **state) {
    for (size_t v = 0; v < LIBSSLS_VERSIONS; v++) {
        uint8_t alert = 0;
        client_speaks(both_versions[v]);
        SSL_set_verify(client, SSL_VERIFY_PEER, refuse_certificate);
        meet(server);
        assert_int_equal(shake(), STEP_FAILED);
        assert_int_equal(handshake_error(hs, &alert), ERR_PEER_ALERT);
        assert_int_equal(alert, 48); /* unknown_ca */
        assert_true(handshake_detail(hs)[0] != 0);
        assert_int_equal(handshake_finish(hs, &result), ERR_LEAVE);
        leave();
    }
}

static void plain_alert(uint8_t level, uint8_t description) {
    uint8_t record[] = {21, 3, 3, 0, 2, level, description};
    assert_int_equal(buf_append(&pending, record, sizeof(record)), 0);
}

static void every_number_of_an_alert_is_reported(void **state) {
    for (unsigned d = 1; d < 128; d++) {
        uint8_t alert = 0;
        if (d == 90) /* user_canceled: close_notify follows (RFC 8446 6.1) */
            continue;
        client_speaks(TLS_1_2);
        meet(server);
        assert_int_equal(step_all(), STEP_WANT_READ);
        plain_alert(2, (uint8_t)d);
        assert_int_equal(step_all(), STEP_FAILED);
        assert_int_equal(handshake_error(hs, &alert), ERR_PEER_ALERT);
        assert_int_equal(alert, d);
        leave();
    }
}

/* RFC 8446 6: all alerts but the closing ones are fatal in 1.3, whatever level the client wrote. */
static void in_1_3_the_level_of_an_alert_is_ignored(void **state) {
    uint8_t alert = 0;
    client_speaks(TLS_1_3);
    meet(server);
    assert_int_equal(step_all(), STEP_WANT_READ);
    plain_alert(1, 42);
    assert_int_equal(step_all(), STEP_FAILED);
    assert_int_equal(handshake_error(hs, &alert), ERR_PEER_ALERT);
    assert_int_equal(alert, 42);
    leave();
}

static void a_close_notify_is_the_end_of_the_handshake(void **state) {
    for (size_t v = 0; v < 2; v++) {
        client_speaks(both_versions[v]);
        meet(server);
        assert_int_equal(step_all(), STEP_WANT_READ);
        plain_alert(1, 0);
        assert_int_equal(step_all(), STEP_FAILED);
        expect_failed(ERR_HANDSHAKE_CLOSED);
        leave();
    }
}

/* The client must be able to read why we refuse: an alert as the last record we send. */
static void a_changed_byte_fails_with_an_alert_for_the_client(void **state) {
    for (size_t v = 0; v < LIBSSLS_VERSIONS; v++) {
        client_speaks(both_versions[v]);
        meet(server);
        assert_int_equal(step_all(), STEP_WANT_READ);
        answer_client();
        receive_client();
        struct span s = buf_span(&pending);
        ((uint8_t *)(uintptr_t)s.p)[s.len - 1] ^= 1; /* in the tag of Finished */
        assert_int_equal(step_all(), STEP_FAILED);
        expect_failed(ERR_BAD_MAC);
        assert_true(handshake_detail(hs)[0] != 0);
        assert_true(buf_len(&answer) > 0);
        answer_client();
        uint8_t byte;
        (void)SSL_do_handshake(client);
        assert_true(SSL_read(client, &byte, 1) <= 0);
        assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()), SSL_AD_REASON_OFFSET + ALERT_BAD_RECORD_MAC);
        leave();
    }
}

/* A key per kind of certificate: none is to be had, only the first is, one is another certificate's. */
static void a_certificate_that_cannot_be_used_fails_with_an_alert(void **state) {
    static const uint8_t alert[] = {21, 3, 3, 0, 2, 2, 80}; /* internal_error */
    EVP_PKEY *other = make_key("EC:P-256");
    const struct {
        unsigned good;
        EVP_PKEY *bad;
    } rows[] = {{0, NULL}, {1, NULL}, {0, other}};
    struct tls_policy p = service_policy("web");
    for (size_t v = 0; v < LIBSSLS_VERSIONS; v++)
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            if (rows[i].good && both_versions[v] == TLS_1_3) /* one certificate is given to libssl, so one key is asked for */
                continue;
            struct certs *unused = service_certs_both();
            struct tls_server *s = service_new(&p, unused, tickets);
            shop_gives(rows[i].good, rows[i].bad);
            client_speaks(both_versions[v]);
            meet(s);
            assert_int_equal(step_all(), STEP_FAILED);
            expect_failed(ERR_CRYPTO);
            assert_int_equal(shop_asked.asked, rows[i].good + 1);
            assert_int_equal(buf_len(&answer), sizeof(alert));
            assert_memory_equal(buf_span(&answer).p, alert, sizeof(alert));
            leave();

            shop_gives(UINT_MAX, NULL);
            if (!rows[i].bad) { /* it is not for ever */
                client_speaks(both_versions[v]);
                establish(s);
                leave();
            }
            tls_server_free(s);
            certs_free(unused);
        }
    EVP_PKEY_free(other);
}

static void records_that_make_no_sense_fail(void **state) {
    static const uint8_t too_long[] = {22, 3, 3, 0x41, 0x50}, data_record[] = {23, 3, 3, 0, 1, 0},
                         wrong[] = {99, 3, 3, 0, 1, 0}, old[] = {22, 9, 9, 0, 1, 0}, empty[] = {22, 3, 3, 0, 0},
                         empty_alert[] = {21, 3, 3, 0, 0}, long_plain[] = {22, 3, 3, 0x40, 1};
    static const struct {
        const uint8_t *p;
        size_t len;
        int err[2]; /* in 1.2, and 1.3 */
    } rows[] = {
        {too_long, sizeof(too_long), {ERR_RECORD_OVERFLOW, ERR_RECORD_OVERFLOW}},
        {data_record, sizeof(data_record), {ERR_RECORD_TYPE, ERR_BAD_MAC}},
        {wrong, sizeof(wrong), {ERR_RECORD_TYPE, ERR_RECORD_TYPE}},
        {old, sizeof(old), {ERR_RECORD_VERSION, ERR_RECORD_VERSION}},
        {empty, sizeof(empty), {ERR_RECORD_TYPE, ERR_RECORD_TYPE}},
        {empty_alert, sizeof(empty_alert), {ERR_RECORD_TYPE, ERR_RECORD_TYPE}},
        {long_plain, sizeof(long_plain), {ERR_RECORD_OVERFLOW, ERR_RECORD_OVERFLOW}},
    };
    for (size_t v = 0; v < LIBSSLS_VERSIONS; v++)
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            client_speaks(both_versions[v]);
            meet(server);
            assert_int_equal(step_all(), STEP_WANT_READ);
            assert_int_equal(buf_append(&pending, rows[i].p, rows[i].len), 0);
            assert_int_equal(step_all(), STEP_FAILED);
            expect_failed(rows[i].err[v]);
            leave();
        }
}

/* ---- our own alerts, which the client must be able to read ---- */

/* What the client makes of our answer: the alert it received, -1 = none. */
static int alert_heard(void) {
    uint8_t byte;
    answer_client();
    ERR_clear_error();
    if (SSL_do_handshake(client) == 1) /* in 1.3 it may be done already */
        (void)SSL_read(client, &byte, 1);
    int reason = ERR_GET_REASON(ERR_peek_error());
    ERR_clear_error();
    return reason > SSL_AD_REASON_OFFSET ? reason - SSL_AD_REASON_OFFSET : -1;
}

static void fault_is_reported(const uint8_t *record, size_t len, int want_err, int want_alert) {
    assert_int_equal(buf_append(&pending, record, len), 0);
    assert_int_equal(step_all(), STEP_FAILED);
    expect_failed(want_err);
    handshake_alert(hs, want_err);
    size_t once = buf_len(&answer);
    handshake_alert(hs, want_err); /* only one */
    assert_int_equal(buf_len(&answer), once);
    assert_int_equal(alert_heard(), want_alert);
    leave();
}

/* Each point of a handshake at which the client speaks, and what protects our alert there. */
enum point { FLIGHT_1_3, RETRY_1_3, FLIGHT_1_2, RESUMED_1_2, RESUMED_1_3, POINTS };

static void come_to(enum point point, SSL_SESSION *sessions[2]) {
    bool is_1_2 = point == FLIGHT_1_2 || point == RESUMED_1_2;
    client_speaks(is_1_2 ? TLS_1_2 : TLS_1_3);
    if (point == RETRY_1_3)
        client_groups("P-521:P-256");
    if (point == RESUMED_1_2 || point == RESUMED_1_3)
        assert_int_equal(SSL_set_session(client, sessions[is_1_2 ? 0 : 1]), 1);
    meet(server);
    assert_int_equal(step_all(), STEP_WANT_READ);
    assert_int_equal(buf_len(&pending), 0);
}

static void our_own_faults_are_reported_at_every_point(void **state) {
    static const uint8_t too_long[] = {23, 3, 3, 0x41, 0x01}, inner_too_long[] = {23, 3, 3, 0x40, 0x12},
                         empty[] = {22, 3, 3, 0, 0}, empty_alert[] = {21, 3, 3, 0, 0};
    SSL_SESSION *sessions[] = {session_with(server, TLS_1_2), session_with(server, TLS_1_3)};
    for (enum point p = 0; p < POINTS; p++) {
        come_to(p, sessions);
        fault_is_reported(too_long, sizeof(too_long), ERR_RECORD_OVERFLOW, 22);
        come_to(p, sessions);
        fault_is_reported(inner_too_long, sizeof(inner_too_long), ERR_RECORD_OVERFLOW, 22);
        come_to(p, sessions);
        fault_is_reported(empty, sizeof(empty), ERR_RECORD_TYPE, 10);
        come_to(p, sessions);
        fault_is_reported(empty_alert, sizeof(empty_alert), ERR_RECORD_TYPE, 10);
    }
    SSL_SESSION_free(sessions[0]);
    SSL_SESSION_free(sessions[1]);
}

/* Faults that show when all is done: the tickets before the alert have used up numbers. */
static void an_alert_behind_the_handshake_is_read(void **state) {
    for (size_t v = 0; v < 2; v++) {
        client_speaks(both_versions[v]);
        meet(server);
        assert_int_equal(shake(), STEP_DONE);
        handshake_alert(hs, ERR_CLIENT_CERT_REVOKED);
        assert_int_equal(alert_heard(), 44);
        leave();
    }
}

static void no_alert_answers_the_clients(void **state) {
    client_speaks(TLS_1_2);
    meet(server);
    assert_int_equal(step_all(), STEP_WANT_READ);
    size_t before = buf_len(&answer);
    plain_alert(2, 40);
    assert_int_equal(step_all(), STEP_FAILED);
    handshake_alert(hs, ERR_PEER_ALERT);
    handshake_alert(hs, ERR_RECORD_OVERFLOW);
    assert_int_equal(buf_len(&answer), before);
    leave();
}

static void an_answer_that_does_not_fit_fails(void **state) {
    for (size_t v = 0; v < 2; v++) {
        client_speaks(both_versions[v]);
        buf_init(&answer, 200);
        meet(server);
        assert_int_equal(step_all(), STEP_FAILED);
        expect_failed(ERR_LIMIT);
        leave();
        buf_init(&answer, 128 * 1024);
    }
}

static void nothing_is_taken_out_before_it_is_done(void **state) {
    for (size_t v = 0; v < 2; v++) {
        client_speaks(both_versions[v]);
        meet(server);
        assert_int_equal(handshake_finish(hs, &result), ERR_LEAVE);
        assert_int_equal(step_all(), STEP_WANT_READ);
        assert_int_equal(handshake_finish(hs, &result), ERR_LEAVE);
        leave();
    }
}

static void freed_at_any_point(void **state) {
    handshake_free(NULL);
    tls_server_free(NULL);
    client_speaks(TLS_1_3);
    meet(server);
    leave();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_clients_alert_is_reported, clean_up),
        cmocka_unit_test_teardown(every_number_of_an_alert_is_reported, clean_up),
        cmocka_unit_test_teardown(in_1_3_the_level_of_an_alert_is_ignored, clean_up),
        cmocka_unit_test_teardown(a_close_notify_is_the_end_of_the_handshake, clean_up),
        cmocka_unit_test_teardown(a_changed_byte_fails_with_an_alert_for_the_client, clean_up),
        cmocka_unit_test_teardown(a_certificate_that_cannot_be_used_fails_with_an_alert, clean_up),
        cmocka_unit_test_teardown(records_that_make_no_sense_fail, clean_up),
        cmocka_unit_test_teardown(our_own_faults_are_reported_at_every_point, clean_up),
        cmocka_unit_test_teardown(an_alert_behind_the_handshake_is_read, clean_up),
        cmocka_unit_test_teardown(no_alert_answers_the_clients, clean_up),
        cmocka_unit_test_teardown(an_answer_that_does_not_fit_fails, clean_up),
        cmocka_unit_test_teardown(nothing_is_taken_out_before_it_is_done, clean_up),
        cmocka_unit_test_teardown(freed_at_any_point, clean_up),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
