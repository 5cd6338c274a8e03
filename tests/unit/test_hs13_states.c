/* Every state times every message and every record: what it takes, and the alert for all else (RFC 8446 4, 5, 6). */
#include "tls/hs13.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hs13_cases.h"

static EVP_PKEY *client_key;
static X509 *client_cert;

/* Where the client is to speak, what it may say, and under which keys our alert comes. */
static const struct place {
    const char *waiting_for;
    uint8_t takes;
    enum raw_level level;
    bool second; /* in place of the second hello */
} places[] = {
    {"second ClientHello", MSG_CLIENT_HELLO, RAW_PLAIN, true},
    {"client Certificate", MSG_CERTIFICATE, RAW_SESSION, false},
    {"client CertificateVerify", MSG_CERTIFICATE_VERIFY, RAW_SESSION, false},
    {"client Finished", MSG_FINISHED, RAW_SESSION, false},
};

static void reach(const struct place *p) {
    if (p->second) {
        begin_case(server);
        raw_set(&hello, EXT_SHARE, RAW_LIT("\0\0"));
        assert_int_equal(say_hello(), HS13_WANT_READ);
        raw_share(&rc, &hello, rc.retry_group);
    } else {
        bool asked = p->takes != MSG_FINISHED;
        greet_us(asked ? strict : server, false);
        assert_int_equal(rc.cert_requested, asked);
    }
    if (p->takes == MSG_CERTIFICATE_VERIFY) {
        show_certificate(client_cert);
        assert_int_equal(exchange_flights(), HS13_WANT_READ);
    }
    assert_string_equal(hs13_waiting_for(conn.h), p->waiting_for);
}

static void other_messages_are_unexpected_in_every_state(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        for (unsigned type = 0; type < 256; type++) {
            const uint8_t message[] = {(uint8_t)type, 0, 0, 1, 1};
            reach(&places[i]);
            raw_send(&rc, CONTENT_HANDSHAKE, span_of(message, sizeof(message)));
            exchange_flights();
            if (type == places[i].takes) /* it is too short to be one */
                expect_refusal(i == 0 ? ERR_HELLO_MALFORMED : ERR_RECORD_DECODE, ALERT_DECODE_ERROR, places[i].level);
            else
                expect_refusal(ERR_RECORD_TYPE, ALERT_UNEXPECTED_MESSAGE, places[i].level);
        }
}

/* Its first byte is enough, and a length that no such message has. */
static void other_messages_are_refused_before_they_are_whole(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        for (unsigned type = 0; type < 256; type++) {
            const uint8_t byte = (uint8_t)type;
            if (type == places[i].takes)
                continue;
            reach(&places[i]);
            raw_send(&rc, CONTENT_HANDSHAKE, span_of(&byte, 1));
            exchange_flights();
            expect_refusal(ERR_RECORD_TYPE, ALERT_UNEXPECTED_MESSAGE, places[i].level);
        }
}

static void records_of_other_types_are_unexpected_in_every_state(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        for (unsigned type = 0; type < 256; type++) {
            bool hello_here = places[i].second && type == CONTENT_HANDSHAKE;
            bool sealed_here = !places[i].second && type == CONTENT_APPLICATION_DATA;
            if (type == CONTENT_CHANGE_CIPHER_SPEC || type == CONTENT_ALERT || hello_here)
                continue;
            reach(&places[i]);
            raw_plain(&rc, (uint8_t)type, RAW_LIT("\x14\0\0\x01\x01some bytes that no key opens"));
            exchange_flights();
            if (sealed_here)
                expect_refusal(ERR_BAD_MAC, ALERT_BAD_RECORD_MAC, places[i].level);
            else
                expect_refusal(ERR_RECORD_TYPE, ALERT_UNEXPECTED_MESSAGE, places[i].level);
        }
}

static void protected_records_of_other_types_are_unexpected(void **state) {
    (void)state;
    for (size_t i = 1; i < ARRAY_LEN(places); i++)
        for (unsigned type = 0; type < 256; type++) {
            if (type == CONTENT_ALERT || type == CONTENT_HANDSHAKE)
                continue;
            reach(&places[i]);
            raw_seal_with(&rc, &rc.out, (uint8_t)type, RAW_LIT("x"), type ? 3 : 0);
            exchange_flights();
            /* type 0 is no type: the x before it is one that nobody knows */
            expect_refusal(ERR_RECORD_TYPE, ALERT_UNEXPECTED_MESSAGE, places[i].level);
        }
}

/* R2, S2 */
static void empty_records_are_unexpected(void **state) {
    (void)state;
    static const uint8_t types[] = {CONTENT_ALERT, CONTENT_HANDSHAKE, CONTENT_APPLICATION_DATA, 0};
    for (size_t i = 1; i < ARRAY_LEN(places); i++)
        for (size_t t = 0; t < ARRAY_LEN(types); t++) {
            reach(&places[i]);
            raw_seal_with(&rc, &rc.out, types[t], span_of(NULL, 0), 0);
            exchange_flights();
            expect_refusal(ERR_RECORD_TYPE, ALERT_UNEXPECTED_MESSAGE, places[i].level);
        }
    reach(&places[0]);
    raw_plain(&rc, CONTENT_HANDSHAKE, span_of(NULL, 0));
    exchange_flights();
    expect_refusal(ERR_RECORD_TYPE, ALERT_UNEXPECTED_MESSAGE, RAW_PLAIN);
}

/* S2: no data before Finished, under whatever keys. */
static void data_is_never_taken_for_finished(void **state) {
    (void)state;
    for (size_t i = 1; i < ARRAY_LEN(places); i++) {
        reach(&places[i]);
        raw_seal_with(&rc, &rc.out, CONTENT_APPLICATION_DATA, RAW_LIT("GET / HTTP/1.1\r\n\r\n"), 0);
        exchange_flights();
        expect_refusal(ERR_RECORD_TYPE, ALERT_UNEXPECTED_MESSAGE, places[i].level);
        reach(&places[i]);
        struct traffic_keys session = {.seq = 0};
        memcpy(session.secret, rc.client_app, sizeof(session.secret));
        hs13_keys_traffic(rc.suite, &session);
        raw_seal_with(&rc, &session, CONTENT_APPLICATION_DATA, RAW_LIT("GET / HTTP/1.1\r\n\r\n"), 0);
        exchange_flights();
        expect_refusal(ERR_BAD_MAC, ALERT_BAD_RECORD_MAC, places[i].level);
    }
}

/* R7: the level says nothing; close_notify and user_canceled are no failures of the handshake's. */
static void alerts_end_the_handshake_and_are_not_answered(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        for (unsigned description = 0; description < 256; description++)
            for (uint8_t level = 0; level < 3; level++) {
                const uint8_t alert[] = {level, (uint8_t)description};
                uint8_t received = 0;
                if (description > 120 && description < 250 && level)
                    continue;
                reach(&places[i]);
                raw_send(&rc, CONTENT_ALERT, span_of(alert, 2));
                exchange_flights();
                assert_int_equal(rc.alerts, 0);
                if (description == ALERT_USER_CANCELED) {
                    assert_int_equal(last, HS13_WANT_READ);
                    continue;
                }
                assert_int_equal(last, HS13_FAILED);
                assert_int_equal(hs13_error(conn.h, &received),
                                 description == ALERT_CLOSE_NOTIFY ? ERR_HANDSHAKE_CLOSED : ERR_PEER_ALERT);
                assert_int_equal(received, description == ALERT_CLOSE_NOTIFY ? 0 : description);
            }
}

static void alerts_of_wrong_length_are_malformed(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        for (size_t len = 1; len < 5; len++) {
            if (len == 2)
                continue;
            reach(&places[i]);
            raw_send(&rc, CONTENT_ALERT, span_of("\2\x28\2\x28", len));
            exchange_flights();
            expect_refusal(ERR_RECORD_DECODE, ALERT_DECODE_ERROR, places[i].level);
        }
}

/* S4: who dislikes our ServerHello has no keys to say so; afterwards it has. */
static void a_plain_alert_is_heard_until_the_first_protected_record(void **state) {
    (void)state;
    uint8_t received = 0;
    greet_us(server, false);
    raw_plain(&rc, CONTENT_ALERT, RAW_LIT("\2\x2f"));
    exchange_flights();
    assert_int_equal(last, HS13_FAILED);
    assert_int_equal(hs13_error(conn.h, &received), ERR_PEER_ALERT);
    assert_int_equal(received, ALERT_ILLEGAL_PARAMETER);
    reach(&places[2]); /* its Certificate was protected */
    raw_plain(&rc, CONTENT_ALERT, RAW_LIT("\2\x2f"));
    exchange_flights();
    expect_refusal(ERR_RECORD_TYPE, ALERT_UNEXPECTED_MESSAGE, RAW_SESSION);
}

/* R1 */
static void a_change_cipher_spec_is_dropped_up_to_a_budget(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        reach(&places[i]);
        for (int n = 0; n < HS13_IDLE_RECORDS_MAX; n++) {
            raw_plain(&rc, CONTENT_CHANGE_CIPHER_SPEC, RAW_LIT("\1"));
            assert_int_equal(exchange_flights(), HS13_WANT_READ);
        }
        raw_plain(&rc, CONTENT_CHANGE_CIPHER_SPEC, RAW_LIT("\1"));
        exchange_flights();
        expect_refusal(ERR_RECORD_FLOOD, ALERT_UNEXPECTED_MESSAGE, places[i].level);
    }
}

static void another_change_cipher_spec_is_unexpected(void **state) {
    (void)state;
    static const struct span bodies[] = {
        {(const uint8_t *)"\0", 1}, {(const uint8_t *)"\2", 1}, {(const uint8_t *)"\1\1", 2}, {NULL, 0}};
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        for (size_t b = 0; b < ARRAY_LEN(bodies); b++) {
            reach(&places[i]);
            raw_plain(&rc, CONTENT_CHANGE_CIPHER_SPEC, bodies[b]);
            exchange_flights();
            expect_refusal(ERR_RECORD_TYPE, ALERT_UNEXPECTED_MESSAGE, places[i].level);
        }
    reach(&places[3]); /* a protected one is none */
    raw_seal_with(&rc, &rc.out, CONTENT_CHANGE_CIPHER_SPEC, RAW_LIT("\1"), 0);
    exchange_flights();
    expect_refusal(ERR_RECORD_TYPE, ALERT_UNEXPECTED_MESSAGE, RAW_SESSION);
}

/* R3: nothing comes between the parts of a message. */
static void nothing_comes_between_fragments(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        for (int what = 0; what < 3; what++) {
            reach(&places[i]);
            raw_send(&rc, CONTENT_HANDSHAKE, span_of(&places[i].takes, 1));
            assert_int_equal(exchange_flights(), HS13_WANT_READ);
            if (what == 0)
                raw_plain(&rc, CONTENT_CHANGE_CIPHER_SPEC, RAW_LIT("\1"));
            else
                raw_send(&rc, what == 1 ? CONTENT_ALERT : CONTENT_APPLICATION_DATA, RAW_LIT("\1\0"));
            exchange_flights();
            expect_refusal(ERR_RECORD_TYPE, ALERT_UNEXPECTED_MESSAGE, places[i].level);
        }
}

/* S3: the key ends with the message. */
static void nothing_follows_a_message_that_ends_a_key(void **state) {
    (void)state;
    static const uint8_t behind[] = {MSG_FINISHED, 0, 0, 0, 0};
    static const size_t some[] = {1, 4, 5};
    for (size_t n = 0; n < ARRAY_LEN(some); n++) {
        uint8_t message[4 + HASH_LEN_MAX + sizeof(behind)];
        greet_us(server, false);
        size_t len = raw_finished(&rc, message);
        memcpy(message + len, behind, some[n]);
        raw_send(&rc, CONTENT_HANDSHAKE, span_of(message, len + some[n]));
        exchange_flights();
        expect_refusal(ERR_RECORD_TYPE, ALERT_UNEXPECTED_MESSAGE, RAW_SESSION);
        assert_false(conn.h && rc.tickets);

        reach(&places[0]);
        struct wr w = wr_of(raw_first.bytes, sizeof(raw_first.bytes));
        raw_hello_write(&hello, &w);
        wr_bytes(&w, behind, some[n]);
        raw_plain(&rc, CONTENT_HANDSHAKE, wr_written(&w));
        exchange_flights();
        expect_refusal(ERR_RECORD_TYPE, ALERT_UNEXPECTED_MESSAGE, RAW_PLAIN);
    }
}

/* S1: every subset and order of what a client may say, with and without certificates asked for. */
static void finished_needs_identity_and_proof(void **state) {
    (void)state;
    enum { EMPTY, CHAIN, PROOF, FINISHED, WHATS };
    for (int service = 0; service < 3; service++)
        for (unsigned code = 0; code < WHATS * WHATS * WHATS * WHATS; code++) {
            unsigned said[4], digits = code;
            greet_us(service == 0 ? server : service == 1 ? lax : strict, false);
            for (int i = 0; i < 4; i++, digits /= WHATS)
                said[i] = digits % WHATS;
            bool good = service == 0   ? said[0] == FINISHED
                        : service == 1 ? (said[0] == EMPTY && said[1] == FINISHED) ||
                                             (said[0] == CHAIN && said[1] == PROOF && said[2] == FINISHED)
                                       : said[0] == CHAIN && said[1] == PROOF && said[2] == FINISHED;
            for (int i = 0; i < 4 && last == HS13_WANT_READ; i++) {
                uint8_t message[4 + HASH_LEN_MAX];
                if (said[i] == PROOF)
                    prove(client_key);
                else if (said[i] == FINISHED)
                    raw_message(&rc, span_of(message, raw_finished(&rc, message)));
                else
                    show_certificate(said[i] == CHAIN ? client_cert : NULL);
                last = hs13_conn_step(&conn, &rc.sent);
            }
            assert_int_equal(last, good ? HS13_DONE : HS13_FAILED);
            if (!good) {
                int err = hs13_conn_error(&conn);
                bool missing = service == 2 && said[0] == EMPTY;
                assert_int_equal(err, missing ? ERR_CLIENT_CERT_MISSING : ERR_RECORD_TYPE);
            }
        }
}

/* S9: nothing is read while the signature is out; answers that nobody waits for change nothing. */
static void a_handshake_that_waits_for_its_signature_reads_nothing(void **state) {
    (void)state;
    struct handshake_sign q;
    uint8_t sig[1024];
    begin_case(server);
    conn.shop = NULL;
    assert_int_equal(say_hello(), HS13_WANT_SIGN);
    assert_string_equal(hs13_waiting_for(conn.h), "the signer");
    raw_plain(&rc, CONTENT_HANDSHAKE, RAW_LIT("\x14\0\0\0"));
    size_t used = 1, waiting = buf_len(&rc.sent);
    assert_int_equal(hs13_step(conn.h, rc.sent.p, waiting, &used), HS13_WANT_SIGN);
    assert_int_equal(used, 0);
    buf_fini(&rc.sent);
    hs13_sign_request(conn.h, &q);
    size_t len = hs13_shop_sign(&shop, &q, sig);
    assert_int_equal(hs13_signed(conn.h, 0, span_of(sig, len)), HS13_WANT_READ);
    size_t sent = buf_len(&conn.out);
    assert_int_equal(hs13_signed(conn.h, 0, span_of(sig, len)), HS13_WANT_READ); /* once more */
    assert_int_equal(hs13_signed(conn.h, ERR_SIGNER_REFUSED, span_of(NULL, 0)), HS13_WANT_READ);
    assert_int_equal(buf_len(&conn.out), sent);
    raw_hear(&rc, &conn.out);
    raw_finish(&rc);
    exchange_flights();
    expect_done();
}

/* S6: our alert about the signer is readable: under the handshake's keys. */
static void a_signature_that_does_not_come_ends_it(void **state) {
    (void)state;
    static const int errs[] = {ERR_SIGNER_TIMEOUT, ERR_SIGNER_REFUSED};
    for (size_t i = 0; i < ARRAY_LEN(errs); i++) {
        begin_case(server);
        conn.shop = NULL;
        assert_int_equal(say_hello(), HS13_WANT_SIGN);
        last = hs13_signed(conn.h, errs[i], span_of(NULL, 0));
        raw_hear(&rc, &conn.out);
        expect_refusal(errs[i], ALERT_INTERNAL_ERROR, RAW_HANDSHAKE);
    }
    begin_case(server);
    conn.shop = NULL;
    assert_int_equal(say_hello(), HS13_WANT_SIGN);
    last = hs13_signed(conn.h, 0, span_of(NULL, 0)); /* an empty one is none */
    raw_hear(&rc, &conn.out);
    expect_refusal(ERR_SIGNER_REFUSED, ALERT_INTERNAL_ERROR, RAW_HANDSHAKE);
}

static void finished_one_bit_off_is_a_decrypt_error(void **state) {
    (void)state;
    for (size_t bit = 0; bit < 256; bit += 5) {
        uint8_t message[4 + HASH_LEN_MAX];
        greet_us(server, false);
        size_t len = raw_finished(&rc, message);
        message[4 + bit / 8] ^= (uint8_t)(1u << bit % 8);
        raw_send(&rc, CONTENT_HANDSHAKE, span_of(message, len));
        exchange_flights();
        expect_refusal(ERR_FINISHED, ALERT_DECRYPT_ERROR, RAW_SESSION);
    }
    for (uint8_t n = 0; n <= HASH_LEN_MAX; n++) {
        uint8_t message[4 + HASH_LEN_MAX] = {MSG_FINISHED, 0, 0, n};
        if (n == 32)
            continue;
        greet_us(server, false);
        raw_send(&rc, CONTENT_HANDSHAKE, span_of(message, 4 + (size_t)n));
        exchange_flights();
        expect_refusal(ERR_RECORD_DECODE, ALERT_DECODE_ERROR, RAW_SESSION);
    }
}

/* R2: by the header alone, before the record is here. */
static void records_that_are_too_long_overflow(void **state) {
    (void)state;
    static uint8_t zeros[RECORD_PLAIN_MAX + 300];
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        size_t max = RECORD_PLAIN_MAX + 256;
        const uint8_t head[] = {places[i].second ? CONTENT_HANDSHAKE : CONTENT_APPLICATION_DATA, 3, 3,
                                (uint8_t)((max + 1) >> 8), (uint8_t)(max + 1)};
        reach(&places[i]);
        MUST(buf_append(&rc.sent, head, sizeof(head)) == 0);
        exchange_flights();
        expect_refusal(ERR_RECORD_OVERFLOW, ALERT_RECORD_OVERFLOW, places[i].level);
    }
    reach(&places[0]);
    raw_plain(&rc, CONTENT_HANDSHAKE, span_of(zeros, RECORD_PLAIN_MAX + 1));
    exchange_flights();
    expect_refusal(ERR_RECORD_OVERFLOW, ALERT_RECORD_OVERFLOW, RAW_PLAIN);
    reach(&places[3]);
    raw_plain(&rc, CONTENT_APPLICATION_DATA, span_of(zeros, RECORD_PLAIN_MAX + 1 + 17));
    exchange_flights();
    expect_refusal(ERR_RECORD_OVERFLOW, ALERT_RECORD_OVERFLOW, RAW_SESSION);
    reach(&places[3]);
    const uint8_t other_major[] = {CONTENT_APPLICATION_DATA, 4, 0, 0, 1, 0};
    MUST(buf_append(&rc.sent, other_major, sizeof(other_major)) == 0);
    exchange_flights();
    expect_refusal(ERR_RECORD_VERSION, ALERT_PROTOCOL_VERSION, RAW_SESSION);
}

/* R3: any cut; Finished and second hello in records of one byte, with padding. */
static void messages_may_be_cut_anywhere(void **state) {
    (void)state;
    for (size_t cut = 1; cut <= 36; cut++) {
        uint8_t message[4 + HASH_LEN_MAX];
        greet_us(server, true);
        size_t len = raw_finished(&rc, message);
        hs13_keys_add(&rc.keys, span_of(message, len));
        for (size_t off = 0; off < len; off += cut)
            raw_seal_with(&rc, &rc.out, CONTENT_HANDSHAKE, span_of(message + off, MIN(cut, len - off)), cut % 3);
        raw_enter_session(&rc);
        exchange_flights();
        expect_done();
    }
    for (size_t cut = 1; cut <= 300; cut += 13) {
        reach(&places[0]);
        struct wr w = wr_of(raw_first.bytes, sizeof(raw_first.bytes));
        raw_hello_write(&hello, &w);
        raw_first.len = w.len;
        hs13_keys_add(&rc.keys, wr_written(&w));
        for (size_t off = 0; off < w.len; off += cut)
            raw_plain(&rc, CONTENT_HANDSHAKE, span_of(w.p + off, MIN(cut, w.len - off)));
        assert_int_equal(exchange_flights(), HS13_WANT_READ);
        raw_finish(&rc);
        exchange_flights();
        expect_done();
    }
}

/* The client's records arrive byte by byte. */
static void records_may_arrive_byte_by_byte(void **state) {
    (void)state;
    greet_us(strict, true);
    show_certificate(client_cert);
    prove(client_key);
    raw_finish(&rc);
    struct buf all = rc.sent;
    buf_init(&rc.sent, 1024 * 1024);
    for (struct span s = buf_span(&all); s.len; s = span_of(s.p + 1, s.len - 1)) {
        assert_int_equal(last, HS13_WANT_READ);
        MUST(buf_append(&rc.sent, s.p, 1) == 0);
        last = hs13_conn_step(&conn, &rc.sent);
    }
    raw_hear(&rc, &conn.out);
    buf_fini(&all);
    expect_done();
}

static int states_setup(void **state) {
    cases_setup(state);
    client_key = make_key("EC:P-256");
    client_cert = issue(client_key, "robot");
    return 0;
}

static int states_teardown(void **state) {
    X509_free(client_cert);
    EVP_PKEY_free(client_key);
    return cases_teardown(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(other_messages_are_unexpected_in_every_state, end_case),
        cmocka_unit_test_teardown(other_messages_are_refused_before_they_are_whole, end_case),
        cmocka_unit_test_teardown(records_of_other_types_are_unexpected_in_every_state, end_case),
        cmocka_unit_test_teardown(protected_records_of_other_types_are_unexpected, end_case),
        cmocka_unit_test_teardown(empty_records_are_unexpected, end_case),
        cmocka_unit_test_teardown(data_is_never_taken_for_finished, end_case),
        cmocka_unit_test_teardown(alerts_end_the_handshake_and_are_not_answered, end_case),
        cmocka_unit_test_teardown(alerts_of_wrong_length_are_malformed, end_case),
        cmocka_unit_test_teardown(a_plain_alert_is_heard_until_the_first_protected_record, end_case),
        cmocka_unit_test_teardown(a_change_cipher_spec_is_dropped_up_to_a_budget, end_case),
        cmocka_unit_test_teardown(another_change_cipher_spec_is_unexpected, end_case),
        cmocka_unit_test_teardown(nothing_comes_between_fragments, end_case),
        cmocka_unit_test_teardown(nothing_follows_a_message_that_ends_a_key, end_case),
        cmocka_unit_test_teardown(finished_needs_identity_and_proof, end_case),
        cmocka_unit_test_teardown(a_handshake_that_waits_for_its_signature_reads_nothing, end_case),
        cmocka_unit_test_teardown(a_signature_that_does_not_come_ends_it, end_case),
        cmocka_unit_test_teardown(finished_one_bit_off_is_a_decrypt_error, end_case),
        cmocka_unit_test_teardown(records_that_are_too_long_overflow, end_case),
        cmocka_unit_test_teardown(messages_may_be_cut_anywhere, end_case),
        cmocka_unit_test_teardown(records_may_arrive_byte_by_byte, end_case),
    };
    return cmocka_run_group_tests(tests, states_setup, states_teardown);
}
