#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "observer/sampling.h"

#define SERVICES 2
#define START    UINT64_C(1000000)

static struct sampling sampling;
static struct sampled reported[16];
static size_t nreported;

static void on_sampled(void *ctx, const struct sampled *s) {
    assert_ptr_equal(ctx, &sampling);
    assert_true(nreported < ARRAY_LEN(reported));
    reported[nreported++] = *s;
}

static int begin(void **state) {
    sampling_init(&sampling, SERVICES);
    nreported = 0;
    return 0;
}

static int end(void **state) {
    sampling_fini(&sampling);
    return 0;
}

/* How many of N failures at that time pass. */
static unsigned passed(uint16_t service, int reason, uint64_t now_ms, unsigned n) {
    unsigned count = 0;
    for (unsigned i = 0; i < n; i++)
        count += sampling_pass(&sampling, service, reason, now_ms);
    return count;
}

static void turn(uint64_t now_ms) {
    sampling_turn(&sampling, now_ms, on_sampled, &sampling);
}

static void few_failures_all_pass(void **state) {
    assert_int_equal(passed(0, ERR_NOT_TLS, START, SAMPLING_LINES), SAMPLING_LINES);
    turn(START + SAMPLING_WINDOW_MS);
    assert_int_equal(nreported, 0);
}

static void many_are_counted_and_reported_once(void **state) {
    assert_int_equal(passed(1, ERR_NOT_TLS, START, 1000), SAMPLING_LINES);
    turn(START + SAMPLING_WINDOW_MS - 1);
    assert_int_equal(nreported, 0);
    turn(START + SAMPLING_WINDOW_MS);
    assert_int_equal(nreported, 1);
    assert_int_equal(reported[0].service, 1);
    assert_int_equal(reported[0].reason, ERR_NOT_TLS);
    assert_int_equal(reported[0].count, 1000 - SAMPLING_LINES);
    assert_int_equal(reported[0].seconds, SAMPLING_WINDOW_MS / 1000);
    turn(START + 3 * SAMPLING_WINDOW_MS);
    assert_int_equal(nreported, 1);
}

static void the_next_window_starts_over(void **state) {
    assert_int_equal(passed(0, ERR_NOT_TLS, START, 20), SAMPLING_LINES);
    turn(START + SAMPLING_WINDOW_MS);
    assert_int_equal(passed(0, ERR_NOT_TLS, START + SAMPLING_WINDOW_MS, 20), SAMPLING_LINES);
    turn(START + 2 * SAMPLING_WINDOW_MS);
    assert_int_equal(nreported, 2);
}

static void services_and_reasons_have_windows_of_their_own(void **state) {
    assert_int_equal(passed(0, ERR_NOT_TLS, START, 11), SAMPLING_LINES);
    assert_int_equal(passed(1, ERR_NOT_TLS, START + 5000, 12), SAMPLING_LINES);
    assert_int_equal(passed(0, ERR_NOMEM, START, 13), SAMPLING_LINES);
    assert_int_equal(passed(1, ERR_NO_BUFFERS, START, 14), SAMPLING_LINES);
    turn(START + SAMPLING_WINDOW_MS);
    assert_int_equal(nreported, 3);
    turn(START + SAMPLING_WINDOW_MS + 5000);
    assert_int_equal(nreported, 4);
    assert_int_equal(reported[3].service, 1);
    assert_int_equal(reported[3].reason, ERR_NOT_TLS);
    assert_int_equal(reported[3].count, 2);
}

static void unknown_services_share_one(void **state) {
    assert_int_equal(passed(SERVICES, ERR_NOT_TLS, START, 6), 6);
    assert_int_equal(passed(UINT16_MAX, ERR_NOT_TLS, START, 6), 4);
    turn(START + SAMPLING_WINDOW_MS);
    assert_int_equal(nreported, 1);
    assert_int_equal(reported[0].service, UINT16_MAX);
}

static void what_is_no_failure_always_passes(void **state) {
    assert_int_equal(passed(0, 0, START, 1000), 1000);
    assert_int_equal(passed(0, 5, START, 100), 100);
    assert_int_equal(passed(0, ERR_BASE_, START, 100), 100);
    turn(START + SAMPLING_WINDOW_MS);
    assert_int_equal(nreported, 0);
}

static void every_reason_is_reported_under_its_own_name(void **state) {
    for (int reason = ERR_BASE_ + 1; reason < ERR_END_; reason++) {
        assert_int_equal(passed(1, reason, START, SAMPLING_LINES + 1), SAMPLING_LINES);
        nreported = 0;
        sampling_end(&sampling, START, on_sampled, &sampling);
        assert_int_equal(nreported, 1);
        assert_int_equal(reported[0].reason, reason);
    }
}

static void the_end_reports_what_is_held(void **state) {
    assert_int_equal(passed(0, ERR_NOT_TLS, START, 15), SAMPLING_LINES);
    sampling_end(&sampling, START + 1500, on_sampled, &sampling);
    assert_int_equal(nreported, 1);
    assert_int_equal(reported[0].count, 5);
    assert_int_equal(reported[0].seconds, 2);
    sampling_end(&sampling, START + 1500, on_sampled, &sampling);
    assert_int_equal(nreported, 1);
}

static void a_long_flood_writes_little(void **state) {
    unsigned lines = 0;
    for (uint64_t ms = 0; ms < 60000; ms += 10) {
        nreported = 0;
        turn(START + ms);
        lines += (unsigned)nreported + passed(0, ERR_HELLO_MALFORMED, START + ms, 50);
    }
    assert_true(lines <= 6 * (SAMPLING_LINES + 1));
}

#define SAMPLED(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        SAMPLED(few_failures_all_pass),
        SAMPLED(many_are_counted_and_reported_once),
        SAMPLED(the_next_window_starts_over),
        SAMPLED(services_and_reasons_have_windows_of_their_own),
        SAMPLED(unknown_services_share_one),
        SAMPLED(what_is_no_failure_always_passes),
        SAMPLED(every_reason_is_reported_under_its_own_name),
        SAMPLED(the_end_reports_what_is_held),
        SAMPLED(a_long_flood_writes_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
