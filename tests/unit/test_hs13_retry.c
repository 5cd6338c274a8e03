/* The second ClientHello: what it must repeat, what it may change, and the transcript with it. Letters are those of the
 * pitfalls. */
#include "tls/hs13.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hs13_cases.h"

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
    for (int what = 0; what < 13; what++) {
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
        case 11:
            raw_set(&hello, EXT_SIGALGS_CERT, RAW_LIT("\0\x02\x04\x03"));
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

/* P8: tickets are of the second hello, and so is whether they are wanted. */
static void modes_are_those_of_the_second_hello(void **state) {
    (void)state;
    for (int what = 0; what < 2; what++) {
        ask_for_a_retry();
        raw_set(&hello, EXT_MODES, what ? RAW_LIT("\1\xde") : RAW_LIT("\2\xde\1"));
        shake_hands();
        assert_int_equal(rc.tickets, what ? 0 : 1);
    }
}

/* Limits hold once they are agreed on, so not for a second hello (E11, E12). */
static void the_second_hello_may_be_longer_than_the_limits(void **state) {
    (void)state;
    static uint8_t padding[4000];
    for (int what = 0; what < 2; what++) {
        begin_case(server);
        raw_set(&hello, EXT_SHARE, RAW_LIT("\0\0"));
        raw_set(&hello, what ? EXT_MFL : EXT_RSL, what ? RAW_LIT("\1") : RAW_LIT("\0\x40"));
        assert_int_equal(say_hello(), HS13_WANT_READ);
        assert_true(rc.retry);
        raw_share(&rc, &hello, rc.retry_group);
        raw_add(&hello, 21, span_of(padding, sizeof(padding)));
        shake_hands();
        assert_true(rc.longest <= (what ? 512 : 63));
    }
}

int main(void) {
#define CASE(name) cmocka_unit_test_teardown(name, end_case)
    const struct CMUnitTest tests[] = {
        CASE(the_second_hello_has_the_one_share_that_was_asked_for),
        CASE(a_second_hello_that_changed_is_refused),
        CASE(a_second_hello_may_change_what_nobody_uses),
        CASE(the_second_hello_is_read_as_strictly_as_the_first),
        CASE(a_retry_is_in_the_transcript_of_every_suite),
        CASE(the_second_hello_may_be_longer_than_the_limits),
        CASE(modes_are_those_of_the_second_hello),
    };
    return cmocka_run_group_tests(tests, cases_setup, cases_teardown);
}
