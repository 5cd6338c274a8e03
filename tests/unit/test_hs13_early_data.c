/* Early data, which is skipped within bounds (R5, R6). */
#include "tls/hs13.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hs13_cases.h"

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

int main(void) {
#define CASE(name) cmocka_unit_test_teardown(name, end_case)
    const struct CMUnitTest tests[] = {
        CASE(early_data_is_skipped_after_our_flight),
        CASE(early_data_that_was_not_offered_does_not_open),
        CASE(early_data_ends_with_the_first_record_that_opens),
        CASE(early_data_is_skipped_within_bounds),
        CASE(early_data_is_skipped_before_the_second_hello_and_not_after),
    };
    return cmocka_run_group_tests(tests, cases_setup, cases_teardown);
}
