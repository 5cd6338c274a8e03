/* What a first ClientHello is answered with: choices, limits, and the alert of each fault. Letters are those of the
 * pitfalls. */
#include "tls/hs13.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hs13_cases.h"

/* An extension of our EncryptedExtensions; its data in *RET. */
static bool answered(uint16_t type, struct span *ret) {
    struct rd r = rd_of(span_of(rc.flight, rc.flight_len));
    assert_int_equal(rd_u8(&r), MSG_ENCRYPTED_EXTENSIONS);
    struct rd body = rd_of(rd_vec24(&r)), exts = rd_of(rd_vec16(&body));
    while (rd_left(&exts)) {
        uint16_t t = rd_u16(&exts);
        *ret = rd_vec16(&exts);
        if (t == type)
            return true;
    }
    return false;
}

/* ---- E: the hello ---- */

/* E1: cut at every byte, with the message's length as it then is. */
static void a_hello_cut_short_is_refused(void **state) {
    (void)state;
    struct wr w = wr_of(raw_first.bytes, sizeof(raw_first.bytes));
    begin_case(server);
    raw_hello_write(&hello, &w);
    for (size_t len = 4; len < w.len; len++) {
        uint8_t copy[1024];
        begin_case(server);
        memcpy(copy, w.p, len);
        copy[2] = (uint8_t)((len - 4) >> 8);
        copy[3] = (uint8_t)(len - 4);
        raw_plain(&rc, CONTENT_HANDSHAKE, span_of(copy, len));
        exchange_flights();
        assert_int_equal(last, HS13_FAILED);
    }
}

/* E3, RFC 8701: unknown values are passed over and never echoed, wherever they stand. */
static void grease_everywhere_changes_nothing(void **state) {
    (void)state;
    struct span data;
    begin_case(server);
    hello.suites = RAW_LIT("\x1a\x1a\x13\x01\x2a\x2a\x13\x02\x3a\x3a");
    raw_set(&hello, EXT_GROUPS, RAW_LIT("\0\x0a\x4a\x4a\0\x1d\x5a\x5a\0\x17\x6a\x6a"));
    raw_set(&hello, EXT_SIGALGS, RAW_LIT("\0\x08\x0a\x0a\x04\x03\x7a\x7a\x08\x04"));
    raw_set(&hello, EXT_VERSIONS, RAW_LIT("\x06\x8a\x8a\x03\x04\x9a\x9a"));
    raw_set(&hello, EXT_MODES, RAW_LIT("\x03\x0b\x01\x2a"));
    raw_set(&hello, EXT_COMPRESS, RAW_LIT("\x04\xda\xda\x7f\x01"));
    uint8_t shares[128];
    struct span own = raw_find(&hello, EXT_SHARE)->data;
    struct wr w = wr_of(shares, sizeof(shares));
    wr_u16(&w, (uint16_t)(own.len - 2 + 5));
    wr_bytes(&w, "\x4a\x4a\0\1\0", 5);
    wr_bytes(&w, own.p + 2, own.len - 2);
    raw_set(&hello, EXT_SHARE, wr_written(&w));
    raw_add(&hello, 0x0a0a, span_of(NULL, 0));
    raw_add(&hello, 0xfafa, RAW_LIT("\0"));
    raw_add(&hello, 0xfe0d, RAW_LIT("\0\0\1\0\1\x55\0\x20................................\0\4abcd")); /* ECH GREASE */
    raw_add(&hello, 17513, RAW_LIT("\0\3\2h2"));                                                      /* ALPS */
    shake_hands();
    assert_false(answered(0x0a0a, &data) || answered(0xfafa, &data) || answered(0xfe0d, &data) || answered(17513, &data));
}

/* E4 (RFC 8446 9.2) */
static void what_is_missing_is_reported(void **state) {
    (void)state;
    static const uint16_t needed[] = {EXT_GROUPS, EXT_SHARE, EXT_SIGALGS};
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        begin_case(server);
        raw_drop(&hello, needed[i]);
        say_hello();
        expect_refusal(ERR_HELLO_LACKS, ALERT_MISSING_EXTENSION, RAW_PLAIN);
    }
    begin_case(server); /* a ticket without modes */
    raw_drop(&hello, EXT_MODES);
    raw_offer_ticket(&rc, &hello, RAW_LIT("something"), (const uint8_t[48]){0}, HASH_SHA256);
    say_hello();
    expect_refusal(ERR_HELLO_LACKS, ALERT_MISSING_EXTENSION, RAW_PLAIN);
    begin_case(server); /* without schemes a ticket would do, but it is none of ours */
    raw_drop(&hello, EXT_SIGALGS);
    raw_offer_ticket(&rc, &hello, RAW_LIT("something"), (const uint8_t[48]){0}, HASH_SHA256);
    say_hello();
    expect_refusal(ERR_HELLO_LACKS, ALERT_MISSING_EXTENSION, RAW_PLAIN);
}

/* E7: as it came, in both of our hellos. H6: one ChangeCipherSpec behind the first of them, if and only if there is one. */
static void the_session_id_is_echoed_and_brings_one_change_cipher_spec(void **state) {
    (void)state;
    for (size_t len = 0; len <= 32; len++)
        for (unsigned retry = 0; retry < 2; retry++) {
            begin_case(server);
            hello.session_id.len = len;
            raw_hello(&rc, &hello);
            if (retry) {
                buf_consume(&rc.sent, buf_len(&rc.sent));
                raw_set(&hello, EXT_SHARE, RAW_LIT("\0\0"));
                raw_hello(&rc, &hello);
            }
            last = hs13_conn_step(&conn, &rc.sent);
            struct span s = buf_span(&conn.out);
            assert_int_equal(s.p[5 + 4 + 2 + 32], len);
            assert_memory_equal(s.p + 5 + 4 + 2 + 32 + 1, hello.session_id.p, len);
            size_t first = 5 + (size_t)(s.p[3] << 8 | s.p[4]);
            assert_int_equal(s.len > first && s.p[first] == CONTENT_CHANGE_CIPHER_SPEC, len > 0);
            raw_hear(&rc, &conn.out);
            if (retry) {
                raw_share(&rc, &hello, rc.retry_group);
                assert_int_equal(say_hello(), HS13_WANT_READ);
            }
            assert_int_equal(rc.ccs, len > 0);
            raw_finish(&rc);
            exchange_flights();
            expect_done();
        }
}

static void our_order_of_suites_decides(void **state) {
    (void)state;
    static const uint16_t order[] = {0x1303, 0x1302, 0x1301};
    struct tls_policy p = case_policy("web");
    p.suites = order;
    p.nsuites = ARRAY_LEN(order);
    struct tls_server *s = service_new(&p, shop.certs, tickets);
    begin_case(s);
    shake_hands();
    assert_int_equal(rc.suite->id, 0x1303);
    begin_case(s);
    hello.suites = RAW_LIT("\x13\x01\x13\x02");
    shake_hands();
    assert_int_equal(rc.suite->id, 0x1302);
    end_case(NULL);
    tls_server_free(s);
}

/* E9 */
static void one_protocol_is_answered_in_our_order(void **state) {
    (void)state;
    static const char *const names[] = {"h2", "http/1.1"};
    struct tls_policy p = case_policy("web");
    struct span data;
    p.alpn = names;
    p.nalpn = 2;
    struct tls_server *s = service_new(&p, shop.certs, tickets);
    begin_case(s);
    raw_set(&hello, EXT_PROTOCOLS, RAW_LIT("\0\x0c\x08http/1.1\2h2"));
    assert_int_equal(say_hello(), HS13_WANT_READ);
    assert_true(answered(EXT_PROTOCOLS, &data));
    assert_int_equal(data.len, 5);
    assert_memory_equal(data.p, "\0\3\2h2", 5);
    begin_case(s);
    raw_set(&hello, EXT_PROTOCOLS, RAW_LIT("\0\3\2h3"));
    say_hello();
    expect_refusal(ERR_NO_ALPN, ALERT_NO_APPLICATION_PROTOCOL, RAW_PLAIN);
    begin_case(s); /* none asked for */
    shake_hands();
    assert_false(answered(EXT_PROTOCOLS, &data));
    begin_case(server); /* none offered by us */
    raw_set(&hello, EXT_PROTOCOLS, RAW_LIT("\0\3\2h2"));
    shake_hands();
    assert_false(answered(EXT_PROTOCOLS, &data));
    end_case(NULL);
    tls_server_free(s);
}

/* E10 */
static void a_name_is_acknowledged_when_it_is_served(void **state) {
    (void)state;
    struct span data;
    begin_case(server);
    shake_hands();
    assert_true(answered(EXT_NAME, &data));
    assert_int_equal(data.len, 0);
    begin_case(server);
    raw_set(&hello, EXT_NAME, RAW_LIT("\0\x10\0\0\x0dother.example"));
    shake_hands();
    assert_false(answered(EXT_NAME, &data));
    begin_case(server);
    raw_drop(&hello, EXT_NAME);
    shake_hands();
    assert_false(answered(EXT_NAME, &data));
}

/* E11, RFC 8449: it counts the content type, and holds for every protected record of ours. */
static void record_size_limit_holds_for_the_flight_and_the_ticket(void **state) {
    (void)state;
    static const uint16_t limits[] = {64, 65, 128, 512, 1000, 16384, 16385, 65535};
    struct handshake_result r;
    struct span data;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        const uint8_t bytes[] = {(uint8_t)(limits[i] >> 8), (uint8_t)limits[i]};
        size_t max = MIN((size_t)limits[i] - 1, (size_t)RECORD_PLAIN_MAX);
        begin_case(server);
        raw_set(&hello, EXT_RSL, span_of(bytes, 2));
        raw_set(&hello, EXT_MFL, RAW_LIT("\1")); /* not looked at beside it */
        assert_int_equal(say_hello(), HS13_WANT_READ);
        assert_true(answered(EXT_RSL, &data));
        assert_memory_equal(data.p, "\x40\x01", 2);
        assert_false(answered(EXT_MFL, &data));
        raw_finish(&rc);
        exchange_flights();
        assert_int_equal(rc.tickets, 1);
        assert_true(rc.longest <= max && (limits[i] > 128 || rc.longest == max));
        assert_int_equal(hs13_finish(conn.h, &r), 0);
        assert_int_equal(r.record_layer.out_max, max);
    }
    begin_case(server); /* an alert, too */
    raw_set(&hello, EXT_RSL, RAW_LIT("\0\x40"));
    assert_int_equal(say_hello(), HS13_WANT_READ);
    raw_send(&rc, CONTENT_HANDSHAKE, RAW_LIT("\x0b"));
    exchange_flights();
    expect_refusal(ERR_RECORD_TYPE, ALERT_UNEXPECTED_MESSAGE, RAW_SESSION);
    begin_case(server);
    raw_set(&hello, EXT_RSL, RAW_LIT("\0\x3f"));
    say_hello();
    expect_refusal(ERR_RECORD_ILLEGAL, ALERT_ILLEGAL_PARAMETER, RAW_PLAIN);
}

/* E12, RFC 6066 4: content alone, both ways. */
static void max_fragment_length_holds_both_ways(void **state) {
    (void)state;
    static uint8_t many[5000];
    struct span data;
    for (uint8_t code = 1; code <= 4; code++) {
        size_t max = (size_t)256 << code;
        begin_case(server);
        raw_set(&hello, EXT_MFL, span_of(&code, 1));
        assert_int_equal(say_hello(), HS13_WANT_READ);
        assert_true(answered(EXT_MFL, &data));
        assert_int_equal(data.len == 1 ? data.p[0] : 0, code);
        assert_true(rc.longest <= max);
        raw_send(&rc, CONTENT_HANDSHAKE, span_of(many, max + 1));
        exchange_flights();
        expect_refusal(ERR_RECORD_OVERFLOW, ALERT_RECORD_OVERFLOW, RAW_SESSION);
    }
    for (uint8_t code = 0; code < 8; code++) {
        if (code >= 1 && code <= 4)
            continue;
        begin_case(server);
        raw_set(&hello, EXT_MFL, span_of(&code, 1));
        say_hello();
        expect_refusal(ERR_RECORD_ILLEGAL, ALERT_ILLEGAL_PARAMETER, RAW_PLAIN);
    }
}

/* E14 */
static void bodies_of_extensions_are_exact(void **state) {
    (void)state;
    static const struct {
        uint16_t type;
        struct span data;
    } rows[] = {
        {EXT_EARLY, {(const uint8_t *)"\0", 1}},
        {EXT_POST_AUTH, {(const uint8_t *)"\0", 1}},
        {EXT_MODES, {(const uint8_t *)"\0", 1}},
        {EXT_MODES, {(const uint8_t *)"\1\1\0", 3}},
        {EXT_STATUS, {(const uint8_t *)"\1\0\0", 3}},
        {EXT_STATUS, {(const uint8_t *)"\1\0\0\0\0\0", 6}},
        {EXT_STATUS, {NULL, 0}},
        {EXT_COMPRESS, {(const uint8_t *)"\0", 1}},
        {EXT_COMPRESS, {(const uint8_t *)"\1\0", 2}},
        {EXT_RSL, {(const uint8_t *)"\0", 1}},
        {EXT_VERSIONS, {(const uint8_t *)"\0", 1}},
        {EXT_SHARE, {(const uint8_t *)"\0\4\0\x1d\0\0", 6}},
        {EXT_PSK, {(const uint8_t *)"\0\0\0\0", 4}},
        {EXT_PSK, {(const uint8_t *)"\0\7\0\1x\0\0\0\0\0\2\1x", 13}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin_case(server);
        raw_drop(&hello, rows[i].type);
        raw_add(&hello, rows[i].type, rows[i].data);
        say_hello();
        expect_refusal(ERR_HELLO_MALFORMED, ALERT_DECODE_ERROR, RAW_PLAIN);
    }
    begin_case(server); /* a cookie that we did not send proves nothing, another type of status neither */
    raw_set(&hello, EXT_COOKIE, RAW_LIT("\0\3abc"));
    raw_set(&hello, EXT_STATUS, RAW_LIT("\2whatever"));
    shake_hands();
}

/* ---- K: key shares ---- */

/* K1 */
static void shares_are_of_the_groups_listed_and_once(void **state) {
    (void)state;
    uint8_t share[32] = {9}, bytes[1024];
    for (int what = 0; what < 3; what++) {
        struct wr w = wr_of(bytes, sizeof(bytes));
        begin_case(server);
        struct span own = raw_find(&hello, EXT_SHARE)->data;
        wr_u16(&w, (uint16_t)(own.len - 2 + 4 + 32));
        wr_bytes(&w, own.p + 2, own.len - 2);
        wr_u16(&w, what == 0 ? 0x001d : what == 1 ? 0x001e : 0x4a4a); /* twice; not listed */
        wr_vec16(&w, span_of(share, 32));
        raw_set(&hello, EXT_SHARE, wr_written(&w));
        say_hello();
        expect_refusal(ERR_RECORD_ILLEGAL, ALERT_ILLEGAL_PARAMETER, RAW_PLAIN);
    }
}

static unsigned exchanges;

static int counted_exchange(uint16_t group, struct span peer, struct hs13_share *ret) {
    exchanges++;
    return hs13_exchange(group, peer, ret);
}

/* K1: one public key operation, however many shares. K5: and a fresh key for each. */
static void many_shares_cost_what_one_costs(void **state) {
    (void)state;
    static uint8_t groups[2 + 2 * 302], shares[8 * 1024];
    struct wr g = wr_of(groups, sizeof(groups)), w = wr_of(shares, sizeof(shares));
    env.exchange = counted_exchange;
    begin_case(server);
    struct span own = raw_find(&hello, EXT_SHARE)->data;
    wr_u16(&g, 2 * 301);
    wr_u16(&w, 0);
    for (uint16_t i = 0; i < 300; i++) {
        wr_u16(&g, (uint16_t)(0x1000 + i));
        wr_u16(&w, (uint16_t)(0x1000 + i));
        wr_vec16(&w, RAW_LIT("xyz"));
    }
    wr_u16(&g, 0x001d);
    wr_bytes(&w, own.p + 2, own.len - 2);
    shares[0] = (uint8_t)((w.len - 2) >> 8);
    shares[1] = (uint8_t)(w.len - 2);
    raw_set(&hello, EXT_GROUPS, wr_written(&g));
    raw_set(&hello, EXT_SHARE, wr_written(&w));
    exchanges = 0;
    shake_hands();
    assert_int_equal(exchanges, 1);
    env.exchange = hs13_exchange;
}

/* K2; S13: before any signature is asked for. */
static void a_bad_share_is_an_illegal_parameter(void **state) {
    (void)state;
    static const struct {
        uint16_t group;
        size_t len;
        uint8_t first;
    } rows[] = {{0x001d, 31, 0}, {0x001d, 33, 0}, {0x001d, 32, 0}, {0x0017, 65, 4}, {0x0017, 33, 2}, {0x0018, 97, 4}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t bytes[128] = {0};
        struct wr w = wr_of(bytes, sizeof(bytes));
        uint8_t share[97] = {rows[i].first};
        begin_case(server);
        wr_u16(&w, (uint16_t)(4 + rows[i].len));
        wr_u16(&w, rows[i].group);
        wr_vec16(&w, span_of(share, rows[i].len));
        raw_set(&hello, EXT_SHARE, wr_written(&w));
        say_hello();
        expect_refusal(ERR_KEY_SHARE, ALERT_ILLEGAL_PARAMETER, RAW_PLAIN);
    }
}

int main(void) {
#define CASE(name) cmocka_unit_test_teardown(name, end_case)
    const struct CMUnitTest tests[] = {
        CASE(a_hello_cut_short_is_refused),
        CASE(grease_everywhere_changes_nothing),
        CASE(what_is_missing_is_reported),
        CASE(the_session_id_is_echoed_and_brings_one_change_cipher_spec),
        CASE(our_order_of_suites_decides),
        CASE(one_protocol_is_answered_in_our_order),
        CASE(a_name_is_acknowledged_when_it_is_served),
        CASE(record_size_limit_holds_for_the_flight_and_the_ticket),
        CASE(max_fragment_length_holds_both_ways),
        CASE(bodies_of_extensions_are_exact),
        CASE(shares_are_of_the_groups_listed_and_once),
        CASE(many_shares_cost_what_one_costs),
        CASE(a_bad_share_is_an_illegal_parameter),
    };
    return cmocka_run_group_tests(tests, cases_setup, cases_teardown);
}
