/* Growth per second over 1, 10 and 60 seconds, of series that come, go and start over. */
#include "observer/rates.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct rates *r;
static uint64_t now_ms;

static int make(void **state) {
    (void)state;
    r = rates_new(2, 100);
    now_ms = 1000000;
    return r == NULL;
}

static int unmake(void **state) {
    (void)state;
    rates_free(r);
    return 0;
}

/* One second with one series, when NAME is not NULL. */
static void second(const char *name, uint64_t a, uint64_t b, bool from_zero) {
    const uint64_t values[] = {a, b};
    now_ms += 1000;
    rates_begin(r, now_ms);
    if (name)
        rates_feed(r, span_str(name), values, from_zero);
    rates_end(r);
}

static double rate(const char *name, unsigned v, unsigned span) {
    return rates_get(r, span_str(name), v, span);
}

static void assert_near(double found, double wanted) {
    if (found < wanted * 0.999 - 1e-9 || found > wanted * 1.001 + 1e-9)
        fail_msg("%f instead of %f", found, wanted);
}

static void test_steady_growth_shows_over_all_spans(void **state) {
    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        second("a", 1000 + i * 500, i * 7, false);
        for (unsigned span = 0; span < RATES_SPANS && i > 0; span++) {
            assert_near(rate("a", 0, span), 500);
            assert_near(rate("a", 1, span), 7);
        }
    }
}

static void test_a_burst_is_spread_over_its_span_and_forgotten(void **state) {
    (void)state;
    for (unsigned i = 0; i < 90; i++)
        second("a", 0, 0, false);
    second("a", 60000, 0, false);
    assert_near(rate("a", 0, 0), 60000);
    assert_near(rate("a", 0, 1), 6000);
    assert_in_range((int)rate("a", 0, 2), 1000, 1200); /* the window has 50 to 60 s */
    second("a", 60000, 0, false);
    assert_near(rate("a", 0, 0), 0);
    assert_near(rate("a", 0, 1), 6000);
    for (unsigned i = 0; i < 9; i++)
        second("a", 60000, 0, false);
    assert_near(rate("a", 0, 1), 0);
    assert_true(rate("a", 0, 2) > 900);
    for (unsigned i = 0; i < 60; i++)
        second("a", 60000, 0, false);
    assert_near(rate("a", 0, 2), 0);
}

static void test_what_was_there_before_does_not_count(void **state) {
    (void)state;
    second("old", 1000000, 0, true); /* the first second: nobody knows when it came */
    assert_near(rate("old", 0, 0), 0);
    second("old", 1000100, 0, true);
    assert_near(rate("old", 0, 0), 100);
    const uint64_t known[] = {5000, 0}, fresh[] = {300, 0};
    now_ms += 1000;
    rates_begin(r, now_ms);
    rates_feed(r, span_str("known"), known, false);
    rates_feed(r, span_str("fresh"), fresh, true);
    rates_end(r);
    assert_near(rate("known", 0, 0), 0);
    assert_near(rate("fresh", 0, 0), 300);
    assert_int_equal(rates_known(r), 2);
}

static void test_a_value_that_starts_over(void **state) {
    (void)state;
    for (unsigned i = 0; i < 5; i++)
        second("a", 100000 + i, 0, false);
    second("a", 40, 0, false);
    assert_near(rate("a", 0, 0), 40);
    second("a", 90, 0, false);
    assert_near(rate("a", 0, 0), 50);
}

static void test_series_are_bounded_and_forgotten(void **state) {
    char name[16];
    const uint64_t values[] = {1, 2};
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        now_ms += 1000;
        rates_begin(r, now_ms);
        for (unsigned i = 0; i < 500; i++) {
            (void)snprintf(name, sizeof(name), "%u.%u", round, i);
            rates_feed(r, span_str(name), values, true);
        }
        rates_end(r);
        assert_in_range(rates_known(r), 0, 100); /* those of the last second give way when it ends */
    }
    second("a", 5, 5, true);
    second("a", 10, 5, true);
    assert_int_equal(rates_known(r), 1);
    second("a", 15, 5, true);
    assert_near(rate("a", 0, 0), 5);
    assert_near(rate("0.1", 0, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_steady_growth_shows_over_all_spans, make, unmake),
        cmocka_unit_test_setup_teardown(test_a_burst_is_spread_over_its_span_and_forgotten, make, unmake),
        cmocka_unit_test_setup_teardown(test_what_was_there_before_does_not_count, make, unmake),
        cmocka_unit_test_setup_teardown(test_a_value_that_starts_over, make, unmake),
        cmocka_unit_test_setup_teardown(test_series_are_bounded_and_forgotten, make, unmake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
