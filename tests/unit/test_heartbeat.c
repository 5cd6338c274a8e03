/* How long a role may be silent, and how long a process has waited for a CPU, as the kernel reports it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "supervisor/heartbeat.h"

static uint64_t read_text(const char *text) {
    char copy[128];
    strncpy(copy, text, sizeof(copy) - 1);
    FILE *f = fmemopen(copy, strlen(text), "r");
    assert_non_null(f);
    uint64_t us = heartbeat_read_waited(f);
    fclose(f);
    return us;
}

static void the_second_number_is_the_wait(void **state) {
    assert_int_equal(read_text("175041763 14275800 495\n"), 14275);
    assert_int_equal(read_text("1 18446744073709551615 1\n"), UINT64_MAX / 1000);
}

static void unknown_is_none(void **state) {
    assert_int_equal(heartbeat_read_waited(NULL), 0);
    assert_int_equal(read_text("x"), 0);
    assert_int_equal(read_text("12\n"), 0);
    assert_int_equal(read_text("0 0 0\n"), 0);
}

static void silent_for(enum role role, uint64_t watchdog_ms, uint64_t ping_ms, uint64_t hung_ms, uint64_t kill_ms) {
    struct heartbeat_patience p = heartbeat_patience(role, watchdog_ms);
    assert_int_equal(p.ping_ms, ping_ms);
    assert_int_equal(p.hung_ms, hung_ms);
    assert_int_equal(p.kill_ms, kill_ms);
}

static void without_a_watchdog_times_are_fixed(void **state) {
    silent_for(ROLE_HANDSHAKER, 0, 2000, 10000, 30000);
    silent_for(ROLE_RESOLVER, 0, 2000, 120000, 360000);
}

/* Pings have an upper limit, which does not shorten what the role has. */
static void with_one_they_are_parts_of_its_time(void **state) {
    silent_for(ROLE_RELAY, 60000, 2000, 22500, 37500);
    silent_for(ROLE_RELAY, 600000, 2000, 225000, 375000);
    silent_for(ROLE_RELAY, 16000, 2000, 6000, 10000);
    silent_for(ROLE_RELAY, 8000, 1000, 3000, 5000);
    silent_for(ROLE_RELAY, 1, 100, 300, 500);
}

/* Feeding stops when one is reported as hung: the kill has to come in less than the watchdog's time. */
static void the_kill_is_before_the_watchdog_for_each_role(void **state) {
    static const uint64_t watchdogs[] = {2000, 8000, 60000, 3600000};
    for (size_t i = 0; i < sizeof(watchdogs) / sizeof(watchdogs[0]); i++)
        for (unsigned role = 0; role < ROLE_COUNT; role++) {
            struct heartbeat_patience p = heartbeat_patience((enum role)role, watchdogs[i]);
            assert_true(p.hung_ms < p.kill_ms);
            assert_true(p.kill_ms - p.hung_ms + 2 * p.ping_ms < watchdogs[i]);
            assert_true(p.hung_ms >= p.ping_ms);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_number_is_the_wait),
        cmocka_unit_test(unknown_is_none),
        cmocka_unit_test(without_a_watchdog_times_are_fixed),
        cmocka_unit_test(with_one_they_are_parts_of_its_time),
        cmocka_unit_test(the_kill_is_before_the_watchdog_for_each_role),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
