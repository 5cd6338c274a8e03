#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "tls/idna.h"

static const char *read_name(const char *in) {
    static char name[HOSTNAME_MAX + 1];
    return idna_hostname(span_str(in), name) == 0 ? name : NULL;
}

static void ascii_stays(void **state) {
    assert_string_equal(read_name("www.Example.ORG."), "www.example.org");
    assert_string_equal(read_name("*.example.org"), "*.example.org");
    assert_string_equal(read_name("XN--BCHER-KVA.example"), "xn--bcher-kva.example");
    assert_null(read_name(""));
    assert_null(read_name("a..b"));
    assert_null(read_name("with space.example"));
}

static void labels_become_a_labels(void **state) {
    assert_string_equal(read_name("bücher.example"), "xn--bcher-kva.example");
    assert_string_equal(read_name("BÜCHER.example"), "xn--bcher-kva.example"); /* mapped to lower case */
    assert_string_equal(read_name("bu\xcc\x88"
                                  "cher.example"),
                        "xn--bcher-kva.example");                        /* u and a combining diaeresis */
    assert_string_equal(read_name("faß.example"), "xn--fa-hia.example"); /* non-transitional: not "fass" */
    assert_string_equal(read_name("例え.テスト"), "xn--r8jz45g.xn--zckzah");
    assert_string_equal(read_name("www。bücher.example"), "www.xn--bcher-kva.example"); /* the full stop of ideographs */
}

static void wildcards_keep_their_star(void **state) {
    assert_string_equal(read_name("*.bücher.example"), "*.xn--bcher-kva.example");
    assert_null(read_name("ü*.example"));
    assert_null(read_name("*ü.example"));
}

static void what_is_no_name_is_refused(void **state) {
    char longest[2 * HOSTNAME_MAX + 1], zero[] = "b\xc3\xbc\0cher.example", out[HOSTNAME_MAX + 1];
    assert_null(read_name("\xff\xfe.example")); /* no UTF-8 */
    assert_null(read_name("\xc3.example"));
    assert_null(read_name("ü .example"));
    memset(longest, 'a', sizeof(longest));
    memcpy(longest, "\xc3\xbc", 2);
    longest[sizeof(longest) - 1] = '\0';
    assert_null(read_name(longest)); /* one label of 500 characters */
    assert_int_equal(idna_hostname(span_of(zero, sizeof(zero) - 1), out), ERR_FORMAT);
}

static void names_beyond_all_length_are_refused(void **state) {
    static char name[8 * HOSTNAME_MAX + 1]; /* ended by a zero */
    for (size_t i = 0; i + 3 < sizeof(name); i += 3)
        memcpy(name + i, "\xc3\xbc.", 3);
    assert_null(read_name(name));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ascii_stays),
        cmocka_unit_test(labels_become_a_labels),
        cmocka_unit_test(wildcards_keep_their_star),
        cmocka_unit_test(what_is_no_name_is_refused),
        cmocka_unit_test(names_beyond_all_length_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
