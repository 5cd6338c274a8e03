/* Tables within their width, and numbers for people. */
#include "cli/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *print(struct table *t, size_t width) {
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    table_end(t, f, width);
    (void)fclose(f);
    return text;
}

static void assert_prints(struct table *t, size_t width, const char *wanted) {
    char *text = print(t, width);
    assert_string_equal(text, wanted);
    free(text);
}

static void test_columns_fit_their_cells(void **state) {
    struct table t;
    (void)state;
    table_begin(&t, "~name|>n|state");
    table_row(&t, "%s\t%d\t%s", "a", 1, "up");
    table_row(&t, "%s\t%d\t%s", "longer", 12345, "");
    assert_prints(&t, 80, "name        n  state\na           1  up\nlonger  12345\n");
}

static void test_the_elastic_column_gives_way(void **state) {
    struct table t;
    (void)state;
    table_begin(&t, "~name|>n");
    table_row(&t, "%s\t%d", "abcdefghijklmnopqrstuvwxyz", 1);
    assert_prints(&t, 20, "name               n\nabcde~pqrstuvwxyz  1\n");
    table_begin(&t, "~name|>n");
    table_row(&t, "%s\t%d", "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc",
              1);
    assert_prints(&t, 12, "name       n\n\xc3\xa4\xc3\xb6~\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc  1\n");
}

static void test_a_shortened_name_keeps_both_ends(void **state) {
    char line[64];
    (void)state;
    const struct {
        const char *name, *wanted;
        size_t width;
    } cases[] = {
        {"tcp:127.0.0.1:18081", "tcp:127.0.0.1:18081", 19},
        {"tcp:127.0.0.1:18081", "tcp:~.0.1:18081", 15},
        {"abc", "a~", 2},
        {"abc", "~", 1},
        {"abc", "", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct text t = text_of(line, sizeof(line));
        table_shorten(&t, cases[i].name, cases[i].width);
        if (i == 2)
            assert_int_equal(t.len, 2);
        else
            assert_string_equal(line, cases[i].wanted);
    }
}

static void test_a_table_without_rows_is_nothing(void **state) {
    struct table t;
    (void)state;
    table_begin(&t, "a|b");
    assert_prints(&t, 80, "");
}

static void test_too_many_and_too_long_cells_are_cut(void **state) {
    struct table t;
    char longest[5000];
    (void)state;
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    table_begin(&t, "a|b");
    table_row(&t, "1\t2\t3\t4\t5\t6\t7\t8\t9\t10\t11\t12\t13\t14");
    table_row(&t, "%s\t%s", longest, longest);
    char *text = print(&t, 80);
    assert_non_null(strstr(text, "\n1 "));
    assert_null(strstr(text, "3"));
    free(text);
}

static void test_numbers_for_people(void **state) {
    static const struct {
        double v;
        const char *count, *bytes, *seconds;
    } rows[] = {
        {0, "0", "0 B", "0.00 ms"},
        {0.0021, "0.0", "0.0 B", "2.10 ms"},
        {0.05, "0.1", "0.1 B", "50.0 ms"},
        {3.25, "3.2", "3.2 B", "3.2 s"},
        {59, "59", "59 B", "59 s"},
        {999, "999", "999 B", "16m 39s"},
        {1000, "1.00 k", "1.00 kB", "16m 40s"},
        {12345, "12.3 k", "12.3 kB", "3h 25m"},
        {999600, "1.00 M", "1.00 MB", "11d 13h"},
        {1e12, "1.00 T", "1.00 TB", "99999d 17h"},
    };
    char to[HUMAN_MAX];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_string_equal(human_count(rows[i].v, to), rows[i].count);
        assert_string_equal(human_bytes(rows[i].v, to), rows[i].bytes);
        if (rows[i].v < 1e9)
            assert_string_equal(human_seconds(rows[i].v, to), rows[i].seconds);
    }
    assert_true(strlen(human_bytes(1.8e19, to)) < HUMAN_MAX);
    assert_string_equal(human_seconds(1e18, to), "100000d 0h");
    assert_string_equal(human_seconds(-5, to), "0.00 ms");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_fit_their_cells),
        cmocka_unit_test(test_the_elastic_column_gives_way),
        cmocka_unit_test(test_a_shortened_name_keeps_both_ends),
        cmocka_unit_test(test_a_table_without_rows_is_nothing),
        cmocka_unit_test(test_too_many_and_too_long_cells_are_cut),
        cmocka_unit_test(test_numbers_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
