/* The past of all services together: one row a second, from which the status and the stream both draw. */
#include "observer/stats_view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct stats_view view;
static uint64_t now_ms;

static int set_up(void **state) {
    (void)state;
    now_ms = 1000;
    if (!stats_view_init(&view, -1)) /* without counters of processes the sums stay as they are put here */
        return -1;
    view.sums.rows = calloc(3, sizeof(*view.sums.rows));
    view.sums.nrows = 3;
    for (size_t i = 0; i < 3; i++)
        view.sums.rows[i].kind = i < 2 ? STATS_SERVICE : STATS_BACKEND;
    return view.sums.rows ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    stats_view_fini(&view);
    return 0;
}

static void second(uint64_t web, uint64_t mail) {
    view.sums.rows[0].values[STATS_BYTES_IN] = web;
    view.sums.rows[1].values[STATS_BYTES_IN] = mail;
    view.sums.rows[2].values[STATS_BYTES_IN] = 1000000; /* a backend's do not count twice */
    stats_view_second(&view, now_ms += 1000);
}

static void test_growth_is_of_all_services(void **state) {
    (void)state;
    second(100, 50);
    second(110, 55);
    second(110, 75);
    assert_int_equal(stats_view_past(&view, 60), 0);
    assert_int_equal(view.seconds, 3);
    assert_int_equal(stats_view_growth(&view, 0, RATE_IN), 0); /* what was before the first look did not come in a second */
    assert_int_equal(stats_view_growth(&view, 1, RATE_IN), 15);
    assert_int_equal(stats_view_growth(&view, 2, RATE_IN), 20);
    assert_int_equal(stats_view_at(&view, 2)->totals[RATE_IN], 185);
}

static void test_a_total_that_falls_has_not_grown(void **state) {
    (void)state;
    second(100, 50);
    second(100, 0);
    second(101, 0);
    assert_int_equal(stats_view_growth(&view, 1, RATE_IN), 0);
    assert_int_equal(stats_view_growth(&view, 2, RATE_IN), 1);
}

static void test_full_and_resumed_handshakes(void **state) {
    (void)state;
    view.sums.rows[0].values[STATS_HANDSHAKES_FULL] = 7;
    view.sums.rows[0].values[STATS_HANDSHAKES_RESUMED] = 2;
    view.sums.rows[1].values[STATS_HANDSHAKES_RESUMED] = 3;
    view.sums.rows[1].values[STATS_SESSIONS_NOW] = 4;
    second(0, 0);
    const struct stats_second *s = stats_view_at(&view, 0);
    assert_int_equal(s->totals[RATE_HANDSHAKES], 12);
    assert_int_equal(s->resumed, 5);
    assert_int_equal(s->sessions_now, 4);
}

static void test_the_last_seconds_stay(void **state) {
    (void)state;
    assert_int_equal(stats_view_past(&view, 60), 0);
    for (uint64_t i = 0; i < HISTORY_SECONDS + 7; i++)
        second(i * i, 0);
    assert_int_equal(stats_view_past(&view, HISTORY_SECONDS), 7);
    assert_int_equal(stats_view_past(&view, HISTORY_SECONDS + 100), 7);
    uint64_t first = stats_view_past(&view, 60);
    assert_int_equal(view.seconds - first, 60);
    for (uint64_t i = first; i < view.seconds; i++)
        assert_int_equal(stats_view_growth(&view, i, RATE_IN), 2 * i - 1);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_growth_is_of_all_services),
        CASE(test_a_total_that_falls_has_not_grown),
        CASE(test_full_and_resumed_handshakes),
        CASE(test_the_last_seconds_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
