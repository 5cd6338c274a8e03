/* What is logged of a collector, which has its own words and changes as often as it likes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "exporter/collector.h"

static struct log log_to;
static struct collector c;
static uint64_t now_ms;
static unsigned lines;
static char last[512];

void __wrap_log_msg(struct log *v, enum log_level level, const char *fmt, ...) PRINTF_LIKE(3, 4);
void __wrap_log_msg(struct log *v, enum log_level level, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(last, sizeof(last), fmt, ap);
    va_end(ap);
    lines++;
}

static int begin(void **state) {
    now_ms = 1000000;
    lines = 0;
    last[0] = 0;
    collector_init(&c, &log_to, "http://127.0.0.1:4318/v1/traces?key=secret");
    return 0;
}

static bool answers(enum otlp_verdict verdict, int cause, const char *why) {
    const struct delivery_result r = {.verdict = verdict, .cause = cause, .why = why};
    return collector_answered(&c, &r, now_ms);
}

static void turn(uint64_t ms) {
    now_ms += ms;
    collector_log(&c, now_ms, false);
}

static void other_words_are_no_other_line(void **state) {
    struct server_state s;
    assert_false(collector_state(&c, &s));
    assert_true(answers(OTLP_LATER, -28, "Operation timed out after 10001 milliseconds"));
    assert_int_equal(lines, 1);
    assert_string_equal(last,
                        "the collector of traces takes no spans: http://127.0.0.1:4318/v1/traces: Operation timed out after "
                        "10001 milliseconds");
    for (unsigned i = 0; i < 1000; i++) {
        char why[32];
        (void)snprintf(why, sizeof(why), "Operation timed out, %u", i);
        now_ms += 1000;
        assert_true(answers(OTLP_LATER, -28, why)); /* whose words the status has */
        assert_false(answers(OTLP_LATER, -28, why));
        turn(1);
    }
    assert_int_equal(lines, 1);
    assert_true(collector_state(&c, &s) && !s.up && s.since_ms == 1000000);
    assert_true(span_eq(s.why, span_str("Operation timed out, 999")));
    assert_true(answers(OTLP_LATER, 503, "status 503"));
    assert_int_equal(lines, 2);
}

static void an_outage_is_logged_at_once_and_its_end(void **state) {
    assert_true(answers(OTLP_TAKEN, 200, ""));
    assert_string_equal(last, "the collector of traces takes spans at http://127.0.0.1:4318/v1/traces");
    assert_true(answers(OTLP_REFUSED, 200, "its answer is not one of OTLP")); /* the same status, not the same verdict */
    assert_int_equal(lines, 2);
    now_ms += LOG_PAUSE_MS;
    assert_true(answers(OTLP_TAKEN, 200, ""));
    assert_int_equal(lines, 3);
}

static void one_that_alternates_has_few_lines(void **state) {
    unsigned seconds = 600;
    for (unsigned i = 0; i < seconds * 10; i++) {
        assert_true(answers(i % 2 ? OTLP_REFUSED : OTLP_TAKEN, i % 2 ? 400 : 200, i % 2 ? "status 400" : ""));
        turn(100);
    }
    assert_in_range(lines, 3, 2 * (seconds * 1000 / LOG_PAUSE_MS + 1));
    lines = 0;
    now_ms += LOG_PAUSE_MS;
    for (unsigned i = 0; i < seconds * 10; i++) {
        assert_true(answers(OTLP_REFUSED, (int)(400 + i % 100), i % 2 ? "a" : "b"));
        turn(100);
    }
    assert_in_range(lines, seconds * 1000 / LOG_PAUSE_MS - 1, seconds * 1000 / LOG_PAUSE_MS + 1);
}

static void what_had_to_wait_is_logged(void **state) {
    assert_true(answers(OTLP_REFUSED, 400, "status 400"));
    assert_true(answers(OTLP_REFUSED, 401, "status 401"));
    assert_int_equal(lines, 1);
    turn(LOG_PAUSE_MS - 1);
    assert_int_equal(lines, 1);
    turn(1);
    assert_int_equal(lines, 2);
    assert_non_null(strstr(last, "status 401"));
    turn(LOG_PAUSE_MS);
    assert_int_equal(lines, 2);
}

static void drops_are_logged_without_another_one(void **state) {
    collector_dropped(&c, 3);
    turn(0);
    assert_string_equal(last, "3 spans dropped: the collector takes them too slowly, or not at all");
    collector_dropped(&c, 4);
    collector_dropped(&c, 1);
    turn(LOG_PAUSE_MS - 1);
    assert_int_equal(lines, 1);
    turn(1);
    assert_string_equal(last, "5 spans dropped: the collector takes them too slowly, or not at all");
    const struct delivery_result r = {.verdict = OTLP_LATER, .cause = 503, .dropped = 512, .why = "status 503"};
    assert_true(collector_answered(&c, &r, now_ms));
    assert_int_equal(lines, 3);
    collector_log(&c, now_ms, true);
    assert_int_equal(lines, 4);
    assert_string_equal(last, "512 spans dropped: the collector takes them too slowly, or not at all");
    collector_log(&c, now_ms, true);
    assert_int_equal(lines, 4);
}

static void complaints_are_bounded(void **state) {
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(answers(OTLP_TAKEN, 200, i % 2 ? "1 of 2 spans refused" : "2 of 2 spans refused"), i == 0);
    assert_int_equal(lines, 2);
    assert_string_equal(last, "the collector of traces complains: 2 of 2 spans refused");
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup(name, begin)
    const struct CMUnitTest tests[] = {
        CASE(other_words_are_no_other_line),        CASE(an_outage_is_logged_at_once_and_its_end),
        CASE(one_that_alternates_has_few_lines),    CASE(what_had_to_wait_is_logged),
        CASE(drops_are_logged_without_another_one), CASE(complaints_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
