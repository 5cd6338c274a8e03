/* How long a process has waited for a CPU, as the kernel reports it. */
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_number_is_the_wait),
        cmocka_unit_test(unknown_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
