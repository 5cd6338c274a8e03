/* When workers are unpinned and pinned again: the rule over intervals with made-up numbers, and the kernel's as text. */
#include "supervisor/placement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FULL 10
#define HALF 500

static struct placement_rule rule;

static int begin(void **state) {
    (void)state;
    rule = (struct placement_rule){0};
    return 0;
}

/* Intervals until something changes; LIMIT when nothing does. */
static unsigned until_change(uint32_t least, uint32_t most, unsigned limit) {
    for (unsigned i = 0; i < limit; i++)
        if (placement_step(&rule, least, most))
            return i + 1;
    return limit;
}

static void workers_stay_while_all_cpus_are_alike(void **state) {
    (void)state;
    assert_int_equal(until_change(1000, 1000, 1000), 1000);
    assert_int_equal(until_change(0, 0, 1000), 1000);
    assert_int_equal(until_change(0, PLACEMENT_ROOM, 1000), 1000);
    assert_int_equal(until_change(PLACEMENT_FULL, 1000, 1000), 1000);
    assert_false(rule.free);
}

static void a_full_cpu_beside_one_with_room_sets_them_free(void **state) {
    (void)state;
    assert_int_equal(until_change(FULL, HALF, 10), PLACEMENT_STEADY);
    assert_true(rule.free);
}

static void a_moment_is_not_enough(void **state) {
    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(until_change(FULL, HALF, PLACEMENT_STEADY - 1), PLACEMENT_STEADY - 1);
        assert_false(placement_step(&rule, HALF, HALF));
    }
    assert_false(rule.free);
}

static void they_return_after_a_while_whatever_goes_on(void **state) {
    (void)state;
    until_change(FULL, HALF, 10);
    assert_int_equal(until_change(FULL, HALF, 1000), PLACEMENT_FREE_MIN);
    assert_false(rule.free);
}

static void each_return_that_was_too_early_doubles_the_while(void **state) {
    (void)state;
    unsigned last = 0, now = 0;
    for (unsigned expect = PLACEMENT_FREE_MIN; expect < PLACEMENT_FREE_MAX; expect *= 2) {
        assert_int_equal(until_change(FULL, HALF, 10), PLACEMENT_STEADY);
        assert_int_equal(until_change(FULL, HALF, 100000), expect);
    }
    for (int i = 0; i < 3; i++, last = now) {
        until_change(FULL, HALF, 10);
        now = until_change(FULL, HALF, 100000);
    }
    assert_int_equal(last, PLACEMENT_FREE_MAX);
    assert_int_equal(now, PLACEMENT_FREE_MAX);
}

static void a_long_peace_starts_over(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        until_change(FULL, HALF, 10);
        until_change(FULL, HALF, 100000);
    }
    until_change(HALF, HALF, PLACEMENT_FREE_MIN);
    until_change(FULL, HALF, 10);
    assert_int_equal(until_change(FULL, HALF, 100000), PLACEMENT_FREE_MIN);
}

static void read_text(const char *text, const cpu_set_t *set, uint64_t idle[static CPU_SETSIZE]) {
    FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    assert_non_null(f);
    placement_read_idle(f, set, idle);
    fclose(f);
}

static void idle_times_are_read_of_the_cpus_that_count(void **state) {
    (void)state;
    static uint64_t idle[CPU_SETSIZE];
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(0, &set);
    CPU_SET(3, &set);
    CPU_SET(4, &set);
    read_text("cpu  1 2 3 4000 5 6 7 8 9 10\n"
              "cpu0 1 2 3 400 50 6 7 8 9 10\n"
              "cpu2 1 2 3 77 5 6 7 8 9 10\n"
              "cpu3 1 2 3 18446744073709500000 5 6 7 8 9 10\n"
              "cpu4 1 2\n"
              "cpu4000 1 2 3 4 5\n"
              "intr 1 2 3\n"
              "cpu0 1 2 3 9 9 6 7 8 9 10\n",
              &set, idle);
    assert_int_equal(idle[0], 450);
    assert_int_equal(idle[2], 0);
    assert_int_equal(idle[3], UINT64_C(18446744073709500005));
    assert_int_equal(idle[4], 0);
    read_text("nothing like it\n", &set, idle);
    assert_int_equal(idle[0], 0);
}

static void the_kernel_lists_them_so(void **state) {
    (void)state;
    static uint64_t idle[CPU_SETSIZE];
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
    FILE *f = fopen("/proc/stat", "re");
    assert_non_null(f);
    placement_read_idle(f, &set, idle);
    fclose(f);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
        assert_int_equal(CPU_ISSET(cpu, &set) != 0, idle[cpu] > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(workers_stay_while_all_cpus_are_alike, begin),
        cmocka_unit_test_setup(a_full_cpu_beside_one_with_room_sets_them_free, begin),
        cmocka_unit_test_setup(a_moment_is_not_enough, begin),
        cmocka_unit_test_setup(they_return_after_a_while_whatever_goes_on, begin),
        cmocka_unit_test_setup(each_return_that_was_too_early_doubles_the_while, begin),
        cmocka_unit_test_setup(a_long_peace_starts_over, begin),
        cmocka_unit_test(idle_times_are_read_of_the_cpus_that_count),
        cmocka_unit_test(the_kernel_lists_them_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
