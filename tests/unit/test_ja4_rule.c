/* Patterns for JA4: which there can be, and what each takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "access/ja4_rule.h"
#include "base/defs.h"
#include "base/err.h"

#define JA4 "t13d1516h2_8daaf6152771_e5627efa2ab1"

static int check(const char *rule) {
    char line[256] = "";
    struct text why = text_of(line, sizeof(line));
    int err = ja4_rule_check(rule, &why);
    assert_int_equal(err == 0, line[0] == 0);
    return err;
}

static void patterns_are_distinguished_from_others(void **state) {
    static const char *const good[] = {JA4,
                                       "*_*_*",
                                       "t13d*_8daaf6152771_*",
                                       "*h2_*_*",
                                       "t*d*16*_8d*71_*ab*",
                                       "q13i0000Zz_*_*",
                                       "**_**_**",
                                       "t13d1516h2*_8daaf6152771*_*e5627efa2ab1"};
    static const char *const bad[] = {"",
                                      "*",
                                      "*_*",
                                      "*_*_*_*",
                                      "*_*_*_",
                                      "_*_*_*",
                                      "t13d_*_*",        /* a part that is too short for any */
                                      "t13d1516h2x_*_*", /* and one too long */
                                      "t13d1516h2x*_*_*",
                                      "*_8daaf615277_*",
                                      "*_8daaf61527711_*",
                                      "*_8DAAF6152771_*", /* never in capitals */
                                      "*_8daaf615277g_*",
                                      "t13d?516h2_*_*",
                                      "t13d 516h2_*_*",
                                      "*__*",
                                      "*_*_",
                                      "t13d1516h2_8daaf6152771_e5627efa2ab1 ",
                                      "*******************************************************************_*_*"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(check(good[i]), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(check(bad[i]), ERR_FORMAT);
}

static void a_star_stays_in_its_part(void **state) {
    static const struct {
        const char *rule, *ja4;
        bool takes;
    } cases[] = {
        {JA4, JA4, true},
        {"*_*_*", JA4, true},
        {"t13d*_8daaf6152771_*", JA4, true},
        {"t13d*_8daaf6152771_*", "t13d1715h2_8daaf6152771_000000000000", true},
        {"t13d*_8daaf6152771_*", "t12d1516h2_8daaf6152771_e5627efa2ab1", false},
        {"t13d*_8daaf6152771_*", "t13d1516h2_8daaf6152772_e5627efa2ab1", false},
        {"*h1_*_*", JA4, false},
        {"*h2_*_*", JA4, true},
        {"t*h2_*_*", JA4, true},
        {"*1_*_*", JA4, false}, /* the 1 that ends the second part is not the first one's */
        {"*_*1_*", JA4, true},
        {"t*1*1*_*_*", JA4, true},
        {"t*1*1*1*1*_*_*", JA4, false},
        {"*16h2_*_*", "t13d1616h2_8daaf6152771_e5627efa2ab1", true}, /* what looked like the end was not */
        {"*_*_*ab1", JA4, true},
        {"*_*_*ab", JA4, false},
        {"*_*_ab1*", JA4, false},
        {"t13d1516h2*_*_*", JA4, true}, /* nothing is something, too */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(check(cases[i].rule), 0);
        assert_int_equal(ja4_rule_takes(cases[i].rule, cases[i].ja4), cases[i].takes);
    }
}

/* A connection whose ClientHello was cut off has an empty one. */
static void what_is_no_fingerprint_is_borne(void **state) {
    assert_false(ja4_rule_takes(JA4, ""));
    assert_false(ja4_rule_takes("t*_*_*", "__"));
    assert_true(ja4_rule_takes("*_*_*", ""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_are_distinguished_from_others),
        cmocka_unit_test(a_star_stays_in_its_part),
        cmocka_unit_test(what_is_no_fingerprint_is_borne),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
