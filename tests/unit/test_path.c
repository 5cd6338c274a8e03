/* A path is whole, or it is none. */
#include "base/path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void a_name_is_put_below_its_directory(void **state) {
    char to[PATH_MAX];
    (void)state;
    assert_ptr_equal(path_join(to, "/var/lib", "x.pem"), to);
    assert_string_equal(to, "/var/lib/x.pem");
    assert_string_equal(path_join(to, "", "x"), "/x");
}

static void what_is_too_long_names_nothing(void **state) {
    char to[PATH_MAX], dir[PATH_MAX];
    (void)state;
    memset(dir, 'd', sizeof(dir));
    dir[PATH_MAX - 5] = '\0';
    assert_int_equal(strlen(path_join(to, dir, "abc")), PATH_MAX - 1);
    assert_string_equal(path_join(to, dir, "abcd"), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_put_below_its_directory),
        cmocka_unit_test(what_is_too_long_names_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
