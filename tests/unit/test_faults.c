#include "conf_support.h"

static void test_lines_are_composed(void **state) {
    struct diagnostics f;
    diagnostics_init(&f);
    diagnostics_add(&f, true, "a.toml:1:2", "workers", "found %d, expected %s", 7, "less");
    diagnostics_add(&f, false, "a.toml", NULL, "odd");
    diagnostics_close(&f);
    assert_string_equal(f.text, "a.toml:1:2: workers: found 7, expected less\na.toml: warning: odd\n");
    assert_int_equal(f.len, strlen(f.text));
    assert_int_equal(f.errors, 1);
    assert_int_equal(f.warnings, 1);
    assert_int_equal(f.dropped, 0);
    diagnostics_fini(&f);
}

static void test_nothing_added_gives_no_text(void **state) {
    struct diagnostics f;
    diagnostics_init(&f);
    diagnostics_close(&f);
    assert_null(f.text);
    assert_int_equal(f.len, 0);
    diagnostics_fini(&f);
    diagnostics_fini(&f);
}

static void test_control_bytes_never_pass(void **state) {
    struct diagnostics f;
    diagnostics_init(&f);
    diagnostics_add(&f, true, "a\nb", "k\x1b[31m", "x\ty\x7fz\r\n\n");
    assert_string_equal(f.text, "a b: k [31m: x y z\n");
    diagnostics_fini(&f);
}

static void test_a_long_line_is_cut(void **state) {
    struct diagnostics f;
    char *long_name = calloc(1, 5001);
    assert_non_null(long_name);
    memset(long_name, 'x', 5000);
    diagnostics_init(&f);
    diagnostics_add(&f, true, long_name, long_name, "%s", long_name);
    diagnostics_add(&f, true, "p", NULL, "%s", long_name);
    diagnostics_add(&f, true, "p", NULL, "end");
    assert_in_range(f.len, 1, 3000);
    assert_string_equal(f.text + f.len - 7, "p: end\n");
    diagnostics_fini(&f);
    free(long_name);
}

static void test_a_flood_is_counted(void **state) {
    struct diagnostics f;
    diagnostics_init(&f);
    for (unsigned i = 0; i < 5000; i++)
        diagnostics_add(&f, i % 2, "a.toml:1:1", "key", "fault number %u", i);
    unsigned dropped = f.dropped;
    assert_true(dropped > 0);
    assert_int_equal(f.errors, 2500);
    assert_int_equal(f.warnings, 2500);
    diagnostics_close(&f);
    assert_true(f.len < DIAGNOSTICS_TEXT_MAX);
    assert_int_equal(f.len, strlen(f.text));
    unsigned lines = 0;
    for (size_t i = 0; i < f.len; i++)
        lines += f.text[i] == '\n';
    assert_int_equal(lines, 5000 - dropped + 1);
    assert_non_null(strstr(f.text, "more lines like these\n"));
    diagnostics_fini(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_are_composed),       cmocka_unit_test(test_nothing_added_gives_no_text),
        cmocka_unit_test(test_control_bytes_never_pass), cmocka_unit_test(test_a_long_line_is_cut),
        cmocka_unit_test(test_a_flood_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
