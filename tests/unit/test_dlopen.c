#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/dlopen.h"
#include "base/err.h"

static double (*cosine)(double);

static void a_function_is_found_and_works(void **state) {
    char line[200];
    struct text why = text_of(line, sizeof(line));
    struct dlopen_table l;
    assert_int_equal(dlopen_open("libm.so.6", &l, &why), 0);
    dlopen_find(&l, "cos", &cosine, sizeof(cosine), &why);
    assert_true(l.ok);
    assert_true(cosine(0) == 1.0);
    assert_int_equal(why.len, 0);
}

static void no_library(void **state) {
    char line[200];
    struct text why = text_of(line, sizeof(line));
    struct dlopen_table l;
    assert_int_equal(dlopen_open("libnosuch-tls-off.so.99", &l, &why), ERR_UNSUPPORTED);
    assert_false(l.ok);
    assert_non_null(strstr(line, "libnosuch-tls-off.so.99"));
}

static void the_first_function_that_is_missing_is_reported(void **state) {
    char line[200];
    struct text why = text_of(line, sizeof(line));
    struct dlopen_table l;
    assert_int_equal(dlopen_open("libm.so.6", &l, &why), 0);
    dlopen_find(&l, "no_such_one", &cosine, sizeof(cosine), &why);
    assert_null(cosine);
    dlopen_find(&l, "nor_this", &cosine, sizeof(cosine), &why);
    dlopen_find(&l, "cos", &cosine, sizeof(cosine), &why);
    assert_false(l.ok);
    assert_string_equal(line, "libm.so.6 has no no_such_one");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_function_is_found_and_works),
        cmocka_unit_test(no_library),
        cmocka_unit_test(the_first_function_that_is_missing_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
