/* Each pause is twice the last one, from the first to the longest. */
#include "base/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void pauses_double_up_to_the_longest(void **state) {
    static const uint32_t expected[] = {60, 120, 240, 480, 960, 1920, 3600, 3600};
    uint32_t pause = 0;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        pause = backoff_next(pause, 60, 3600);
        assert_int_equal(pause, expected[i]);
    }
}

static void a_shorter_one_than_the_first_begins_again(void **state) {
    (void)state;
    assert_int_equal(backoff_next(0, 5, 5), 5);
    assert_int_equal(backoff_next(4, 5, 320), 5);
    assert_int_equal(backoff_next(5, 5, 320), 10);
}

static void doubling_does_not_wrap(void **state) {
    (void)state;
    assert_int_equal(backoff_next(UINT32_MAX / 2 + 1, 1, UINT32_MAX), UINT32_MAX);
    assert_int_equal(backoff_next(UINT32_MAX, 1, UINT32_MAX), UINT32_MAX);
    assert_int_equal(backoff_next(UINT32_MAX, 1, 10), 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pauses_double_up_to_the_longest),
        cmocka_unit_test(a_shorter_one_than_the_first_begins_again),
        cmocka_unit_test(doubling_does_not_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
