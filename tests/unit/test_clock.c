#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/defs.h"
#include "base/err.h"

static void monotonic_never_goes_back(void **state) {
    uint64_t last = clock_mono_us();
    for (int i = 0; i < 10000; i++) {
        uint64_t now = clock_mono_us();
        assert_true(now >= last);
        last = now;
    }
}

static void milliseconds_and_microseconds_agree(void **state) {
    uint64_t before = clock_mono_us() / 1000;
    uint64_t ms = clock_mono_ms();
    uint64_t after = clock_mono_us() / 1000;
    assert_true(before <= ms && ms <= after);
}

static void wall_clock_is_seconds_since_1970(void **state) {
    uint64_t before = (uint64_t)time(NULL);
    uint64_t wall = clock_wall_us() / 1000000;
    assert_true(wall + 1 >= before && wall <= before + 60);
}

/* Expected values from RFC 3339 5.8 and from date(1). */
static void text_is_rfc_3339(void **state) {
    char to[CLOCK_TEXT_MAX];
    assert_string_equal(clock_text(0, to), "1970-01-01T00:00:00.000000Z");
    assert_ptr_equal(clock_text(0, to), to);
    assert_string_equal(clock_text(UINT64_C(482196050520000), to), "1985-04-12T23:20:50.520000Z");
    assert_string_equal(clock_text(UINT64_C(1709251199999999), to), "2024-02-29T23:59:59.999999Z");
}

static void the_farthest_time_still_fits(void **state) {
    char to[CLOCK_TEXT_MAX + 1];
    to[CLOCK_TEXT_MAX] = 'x';
    clock_text(UINT64_MAX, to);
    assert_true(strlen(to) < CLOCK_TEXT_MAX);
    assert_int_equal(to[strlen(to) - 1], 'Z');
    assert_int_equal(to[CLOCK_TEXT_MAX], 'x');
}

static void text_of_others_is_read(void **state) {
    static const struct {
        const char *text;
        int64_t at;
    } good[] = {{"1970-01-01T00:00:00Z", 0},
                {"2026-11-29T16:00:00Z", 1795968000},
                {"2026-11-29T16:00:00.123456Z", 1795968000},
                {"2026-11-29T18:00:00+02:00", 1795968000},
                {"2026-11-29T10:30:00-05:30", 1795968000}};
    static const char *const bad[] = {"",
                                      "2026-11-29",
                                      "2026-11-29T16:00:00",
                                      "2026-11-29 16:00:00Z",
                                      "2026-13-29T16:00:00Z",
                                      "2026-11-29T16:00:00ZZ",
                                      "2026-11-29T16:00:00+2",
                                      "tomorrow"};
    int64_t at = -1;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(clock_parse(good[i].text, &at), 0);
        assert_int_equal(at, good[i].at);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(clock_parse(bad[i], &at), ERR_FORMAT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(monotonic_never_goes_back),        cmocka_unit_test(milliseconds_and_microseconds_agree),
        cmocka_unit_test(wall_clock_is_seconds_since_1970), cmocka_unit_test(text_is_rfc_3339),
        cmocka_unit_test(the_farthest_time_still_fits),     cmocka_unit_test(text_of_others_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
