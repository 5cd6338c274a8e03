/* One line at once, then one a pause, and nothing goes uncounted. */
#include "base/log_pause.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void the_first_is_logged_at_once_whatever_the_clock_says(void **state) {
    (void)state;
    for (uint64_t now = 0; now < 3; now++) {
        struct log_pause p = {0};
        assert_int_equal(log_pause_over(&p, now), 1);
    }
}

static void later_ones_are_counted_until_the_pause_is_over(void **state) {
    struct log_pause p = {0};
    (void)state;
    assert_int_equal(log_pause_over(&p, 5), 1);
    for (int i = 0; i < 7; i++)
        assert_int_equal(log_pause_over(&p, 5 + LOG_PAUSE_MS - 1), 0);
    assert_int_equal(log_pause_over(&p, 5 + LOG_PAUSE_MS), 8);
    assert_int_equal(log_pause_over(&p, 6 + LOG_PAUSE_MS), 0);
    assert_int_equal(log_pause_over(&p, 5 + 3 * LOG_PAUSE_MS), 2);
}

static void a_pause_may_be_of_another_length(void **state) {
    struct log_pause p = {0};
    (void)state;
    assert_int_equal(log_pause_over_each(&p, 5, 1000), 1);
    assert_int_equal(log_pause_over_each(&p, 1004, 1000), 0);
    assert_int_equal(log_pause_over_each(&p, 1005, 60000), 2);
    assert_int_equal(log_pause_over_each(&p, 61004, 1000), 0);
    assert_int_equal(log_pause_over_each(&p, 61005, 1000), 2);
}

static void the_count_ends_at_its_highest_number(void **state) {
    struct log_pause p = {.next_ms = 100, .silent = UINT32_MAX - 1};
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(log_pause_over(&p, 0), 0);
    assert_int_equal(log_pause_over(&p, 100), UINT32_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_is_logged_at_once_whatever_the_clock_says),
        cmocka_unit_test(later_ones_are_counted_until_the_pause_is_over),
        cmocka_unit_test(a_pause_may_be_of_another_length),
        cmocka_unit_test(the_count_ends_at_its_highest_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
