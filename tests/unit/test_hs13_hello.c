/* What a ClientHello is answered with: choices, limits, retries, and the alert of each fault. Letters are those of the
 * pitfalls. */
#include "tls/hs13.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hs13_cases.h"

static void shake_hands(void) {
    assert_int_equal(say_hello(), HS13_WANT_READ);
    raw_finish(&rc);
    exchange_flights();
    expect_done();
}

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
static void what_is_missing_is_told(void **state) {
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

/* ---- H: the second hello ---- */

static void ask_for_a_retry(void) {
    begin_case(server);
    raw_set(&hello, EXT_SHARE, RAW_LIT("\0\0"));
    assert_int_equal(say_hello(), HS13_WANT_READ);
    assert_true(rc.retry);
    assert_int_equal(rc.retry_group, 0x001d);
    raw_share(&rc, &hello, rc.retry_group);
}

/* H1 */
static void the_second_hello_has_the_one_share_that_was_asked_for(void **state) {
    (void)state;
    for (int what = 0; what < 3; what++) {
        uint8_t bytes[256];
        struct wr w = wr_of(bytes, sizeof(bytes));
        ask_for_a_retry();
        struct span own = raw_find(&hello, EXT_SHARE)->data;
        if (what == 0) {
            raw_set(&hello, EXT_SHARE, RAW_LIT("\0\0")); /* none: never a second retry */
        } else if (what == 1) {
            raw_share(&rc, &hello, 0x0017); /* another group's */
        } else {
            wr_u16(&w, (uint16_t)(own.len - 2 + 5));
            wr_bytes(&w, own.p + 2, own.len - 2);
            wr_bytes(&w, "\0\x17\0\1x", 5);
            raw_set(&hello, EXT_SHARE, wr_written(&w));
        }
        say_hello();
        expect_refusal(ERR_HELLO_CHANGED, ALERT_ILLEGAL_PARAMETER, RAW_PLAIN);
    }
}

/* H2: what the choices rest on. */
static void a_second_hello_that_changed_is_refused(void **state) {
    (void)state;
    for (int what = 0; what < 12; what++) {
        ask_for_a_retry();
        switch (what) {
        case 0:
            hello.random[31] ^= 1;
            break;
        case 1:
            hello.session_id.len--;
            break;
        case 2:
            hello.session_id = RAW_LIT("0123456789abcdef0123456789abcdeF");
            break;
        case 3:
            hello.suites = RAW_LIT("\x13\x02\x13\x01\x13\x03");
            break;
        case 4:
            raw_set(&hello, EXT_VERSIONS, RAW_LIT("\x04\x03\x04\x03\x03"));
            break;
        case 5:
            raw_set(&hello, EXT_GROUPS, RAW_LIT("\0\x04\0\x1d\0\x17"));
            break;
        case 6:
            raw_set(&hello, EXT_SIGALGS, RAW_LIT("\0\x02\x04\x03"));
            break;
        case 7:
            raw_set(&hello, EXT_NAME, RAW_LIT("\0\x14\0\0\x11x.www.example.org"));
            break;
        case 8:
            raw_set(&hello, EXT_PROTOCOLS, RAW_LIT("\0\3\2h2"));
            break;
        case 9:
            raw_set(&hello, EXT_RSL, RAW_LIT("\2\0"));
            break;
        case 10:
            raw_set(&hello, EXT_MFL, RAW_LIT("\1"));
            break;
        default:
            raw_add(&hello, EXT_EARLY, span_of(NULL, 0));
        }
        say_hello();
        expect_refusal(ERR_HELLO_CHANGED, ALERT_ILLEGAL_PARAMETER, RAW_PLAIN);
    }
}

/* H2: clients may change other parts (RFC 8446 4.1.2: padding, cookie; and in practice the order). */
static void a_second_hello_may_change_what_nobody_uses(void **state) {
    (void)state;
    ask_for_a_retry();
    raw_add(&hello, 21, RAW_LIT("\0\0\0\0\0\0"));
    raw_add(&hello, EXT_COOKIE, RAW_LIT("\0\1x"));
    struct raw_ext first = hello.exts[0];
    hello.exts[0] = hello.exts[1];
    hello.exts[1] = first;
    shake_hands();
}

/* E6, E8 in the second hello, too. */
static void the_second_hello_is_read_as_strictly_as_the_first(void **state) {
    (void)state;
    ask_for_a_retry();
    hello.compression = RAW_LIT("\0\1");
    say_hello();
    expect_refusal(ERR_RECORD_ILLEGAL, ALERT_ILLEGAL_PARAMETER, RAW_PLAIN);
    ask_for_a_retry();
    raw_offer_ticket(&rc, &hello, RAW_LIT("something"), (const uint8_t[48]){0}, HASH_SHA256);
    raw_add(&hello, 21, RAW_LIT("\0"));
    say_hello();
    expect_refusal(ERR_RECORD_ILLEGAL, ALERT_ILLEGAL_PARAMETER, RAW_PLAIN);
}

/* H3: the transcript of every suite; the raw client checks our Finished, we check its. */
static void a_retry_is_in_the_transcript_of_every_suite(void **state) {
    (void)state;
    static const char suites[3][3] = {"\x13\x01", "\x13\x02", "\x13\x03"};
    static const uint16_t groups[] = {0x001d, 0x0017, 0x0018, 0x0019};
    for (size_t s = 0; s < 3; s++)
        for (size_t g = 0; g < 4; g++) {
            const uint8_t list[] = {0, 2, (uint8_t)(groups[g] >> 8), (uint8_t)groups[g]};
            begin_case(server);
            hello.suites = span_of(suites[s], 2);
            raw_set(&hello, EXT_GROUPS, span_of(list, 4));
            raw_set(&hello, EXT_SHARE, RAW_LIT("\0\0"));
            assert_int_equal(say_hello(), HS13_WANT_READ);
            assert_int_equal(rc.retry_group, groups[g]);
            raw_share(&rc, &hello, groups[g]);
            shake_hands();
        }
}

/* ---- R5, R6: early data ---- */

static void early_data(size_t len) {
    static uint8_t bytes[RECORD_PLAIN_MAX];
    memset(bytes, 0xa5, sizeof(bytes));
    raw_plain(&rc, CONTENT_APPLICATION_DATA, span_of(bytes, len));
}

static void early_data_is_skipped_after_our_flight(void **state) {
    (void)state;
    begin_case(server);
    raw_add(&hello, EXT_EARLY, span_of(NULL, 0));
    raw_hello(&rc, &hello);
    early_data(1000);
    early_data(16000);
    exchange_flights();
    assert_int_equal(last, HS13_WANT_READ);
    early_data(17);
    raw_plain(&rc, CONTENT_CHANGE_CIPHER_SPEC, RAW_LIT("\1"));
    raw_finish(&rc);
    exchange_flights();
    expect_done();
}

static void early_data_that_was_not_offered_does_not_open(void **state) {
    (void)state;
    greet_us(server, false);
    early_data(1000);
    exchange_flights();
    expect_refusal(ERR_BAD_MAC, ALERT_BAD_RECORD_MAC, RAW_SESSION);
}

static void early_data_ends_with_the_first_record_that_opens(void **state) {
    (void)state;
    begin_case(server);
    raw_add(&hello, EXT_EARLY, span_of(NULL, 0));
    assert_int_equal(say_hello(), HS13_WANT_READ);
    early_data(1000);
    raw_send(&rc, CONTENT_HANDSHAKE, RAW_LIT("\x14"));
    early_data(1000);
    exchange_flights();
    expect_refusal(ERR_BAD_MAC, ALERT_BAD_RECORD_MAC, RAW_SESSION);
}

static void early_data_is_skipped_within_bounds(void **state) {
    (void)state;
    begin_case(server);
    raw_add(&hello, EXT_EARLY, span_of(NULL, 0));
    assert_int_equal(say_hello(), HS13_WANT_READ);
    for (int i = 0; i < 4; i++)
        early_data(16000);
    assert_int_equal(exchange_flights(), HS13_WANT_READ);
    early_data(4000);
    exchange_flights();
    expect_refusal(ERR_RECORD_FLOOD, ALERT_UNEXPECTED_MESSAGE, RAW_SESSION);

    begin_case(server);
    raw_add(&hello, EXT_EARLY, span_of(NULL, 0));
    assert_int_equal(say_hello(), HS13_WANT_READ);
    for (int i = 0; i <= HS13_EARLY_RECORDS_MAX; i++)
        early_data(17);
    exchange_flights();
    expect_refusal(ERR_RECORD_FLOOD, ALERT_UNEXPECTED_MESSAGE, RAW_SESSION);
}

static void early_data_is_skipped_before_the_second_hello_and_not_after(void **state) {
    (void)state;
    for (int after = 0; after < 2; after++) {
        begin_case(server);
        raw_add(&hello, EXT_EARLY, span_of(NULL, 0));
        raw_set(&hello, EXT_SHARE, RAW_LIT("\0\0"));
        assert_int_equal(say_hello(), HS13_WANT_READ);
        early_data(1000);
        raw_drop(&hello, EXT_EARLY);
        raw_share(&rc, &hello, rc.retry_group);
        assert_int_equal(say_hello(), HS13_WANT_READ);
        if (after)
            early_data(1000);
        raw_finish(&rc);
        exchange_flights();
        if (after)
            expect_refusal(ERR_BAD_MAC, ALERT_BAD_RECORD_MAC, RAW_SESSION);
        else
            expect_done();
    }
}

/* ---- S8, X2, X3 ---- */

/* S8: bad and good hellos in turn. */
static void nothing_of_a_handshake_stays_for_the_next(void **state) {
    (void)state;
    for (int i = 0; i < 300; i++) {
        begin_case(server);
        shake_hands();
        begin_case(server);
        if (i % 3 == 0)
            raw_set(&hello, EXT_SHARE,
                    RAW_LIT("\0\x24\0\x1d\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"));
        else if (i % 3 == 1)
            raw_drop(&hello, EXT_GROUPS);
        else
            hello.nexts = 0;
        say_hello();
        assert_true(last == HS13_FAILED || (i % 3 == 2 && last == HS13_FAILED));
    }
}

/* Whether the bytes are in the memory that handshakes have had. */
static bool remembered(const uint8_t *secret, size_t len) {
    return memmem(env.states.base, env.states.committed, secret, len) ||
           memmem(env.scratch, sizeof(struct hs13_share) + sizeof(struct hs13_ticket), secret, len);
}

static void no_secret_stays_after_a_handshake(void **state) {
    (void)state;
    for (int good = 0; good < 2; good++) {
        uint8_t secrets[4][32];
        greet_us(server, false);
        memcpy(secrets[0], rc.out.secret, 32);
        memcpy(secrets[1], rc.client_app, 32);
        memcpy(secrets[2], rc.in.secret, 32);
        memcpy(secrets[3], rc.keys.secret, 32);
        assert_true(remembered(secrets[0], 32) && remembered(secrets[1], 32) && remembered(secrets[2], 32));
        if (good)
            raw_finish(&rc);
        else
            raw_send(&rc, CONTENT_HANDSHAKE, RAW_LIT("x"));
        exchange_flights();
        if (good)
            expect_done(); /* the plane has them now */
        else
            assert_int_equal(last, HS13_FAILED);
        for (size_t i = 0; i < 4; i++)
            assert_false(remembered(secrets[i], 32));
    }
}

static unsigned log_lines;
static char log_labels[8][40];

static void take_log(const char *label, struct span client_random, struct span secret) {
    assert_int_equal(client_random.len, 32);
    assert_memory_equal(client_random.p, hello.random, 32);
    assert_true(secret.len == 32);
    snprintf(log_labels[log_lines++ % 8], sizeof(log_labels[0]), "%s", label);
}

/* X3 */
static void the_key_log_has_five_lines_and_only_when_it_is_on(void **state) {
    (void)state;
    static const char *const labels[] = {"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET",
                                         "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0", "EXPORTER_SECRET"};
    assert_null(env.key_log);
    env.key_log = take_log;
    log_lines = 0;
    begin_case(server);
    shake_hands();
    env.key_log = NULL;
    assert_int_equal(log_lines, 5);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(log_labels[i], labels[i]);
}

int main(void) {
#define CASE(name) cmocka_unit_test_teardown(name, end_case)
    const struct CMUnitTest tests[] = {
        CASE(a_hello_cut_short_is_refused),
        CASE(grease_everywhere_changes_nothing),
        CASE(what_is_missing_is_told),
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
        CASE(the_second_hello_has_the_one_share_that_was_asked_for),
        CASE(a_second_hello_that_changed_is_refused),
        CASE(a_second_hello_may_change_what_nobody_uses),
        CASE(the_second_hello_is_read_as_strictly_as_the_first),
        CASE(a_retry_is_in_the_transcript_of_every_suite),
        CASE(early_data_is_skipped_after_our_flight),
        CASE(early_data_that_was_not_offered_does_not_open),
        CASE(early_data_ends_with_the_first_record_that_opens),
        CASE(early_data_is_skipped_within_bounds),
        CASE(early_data_is_skipped_before_the_second_hello_and_not_after),
        CASE(nothing_of_a_handshake_stays_for_the_next),
        CASE(no_secret_stays_after_a_handshake),
        CASE(the_key_log_has_five_lines_and_only_when_it_is_on),
    };
    return cmocka_run_group_tests(tests, cases_setup, cases_teardown);
}
