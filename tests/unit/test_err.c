/* The error table: every row complete, names unique and fit for metrics. */
#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/defs.h"
#include "base/err.h"
#include "death.h"

static const int all[] = {
#define ROW(sym, name, text, alert) sym,
    ERR_TABLE(ROW)
#undef ROW
};

static void every_error_is_negative_and_known(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_true(all[i] < 0);
        assert_true(err_known(all[i]));
    }
}

static void names_are_unique_and_plain(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        const char *name = err_name(all[i]);
        assert_true(strlen(name) > 0 && strlen(name) < 32);
        for (const char *c = name; *c; c++)
            assert_true(islower(*c) || isdigit(*c) || *c == '_');
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(name, err_name(all[j]));
    }
}

static void texts_are_there(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        const char *text = err_text(all[i]);
        assert_true(strlen(text) > 3);
        assert_int_not_equal(text[strlen(text) - 1], '.');
    }
}

static void numbers_outside_the_table_are_unknown(void **state) {
    static const int outside[] = {ERR_BASE_, ERR_END_, ERR_END_ + 1, 1, 1000, -1, -1001, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(outside); i++) {
        assert_false(err_known(outside[i]));
        assert_string_equal(err_name(outside[i]), "unknown");
        assert_string_equal(err_text(outside[i]), "unknown error");
        assert_int_equal(err_alert(outside[i]), ALERT_NONE);
    }
}

static void names_lead_back_to_errors(void **state) {
    int err = 7;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_true(err_by_name(span_str(err_name(all[i])), &err));
        assert_int_equal(err, all[i]);
    }
    assert_false(err_by_name(span_str("idle_timeou"), &err));
    assert_false(err_by_name(span_of(NULL, 0), &err));
    assert_int_equal(err, all[ARRAY_LEN(all) - 1]);
}

static void limits_of_a_process_are_named(void **state) {
    assert_string_equal(err_process_limit(EMFILE), " (RLIMIT_NOFILE)");
    assert_string_equal(err_process_limit(EFBIG), " (RLIMIT_FSIZE)");
    assert_non_null(strstr(err_process_limit(EAGAIN), "RLIMIT_NPROC"));
    assert_string_equal(err_process_limit(EACCES), "");
    assert_string_equal(err_process_limit(0), "");
}

static void zero_is_ok(void **state) {
    assert_false(err_known(0));
    assert_string_equal(err_name(0), "ok");
    assert_string_equal(err_text(0), "ok");
    assert_int_equal(err_alert(0), ALERT_NONE);
}

static void alerts_follow_the_rfc(void **state) {
    assert_int_equal(err_alert(ERR_BAD_MAC), 20);
    assert_int_equal(err_alert(ERR_RECORD_OVERFLOW), 22);
    assert_int_equal(err_alert(ERR_NO_ALPN), 120);
    assert_int_equal(err_alert(ERR_UNKNOWN_NAME), 112);
    assert_int_equal(err_alert(ERR_PLAIN_HTTP), ALERT_NONE);
}

static void alert_names_are_the_registered_ones(void **state) {
    assert_string_equal(alert_name(0), "close_notify");
    assert_string_equal(alert_name(42), "bad_certificate");
    assert_string_equal(alert_name(120), "no_application_protocol");
    assert_string_equal(alert_name(-1), "unknown");
    assert_string_equal(alert_name(255), "unknown");
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (err_alert(all[i]) != ALERT_NONE)
            assert_string_not_equal(alert_name(err_alert(all[i])), "unknown");
}

static void break_invariant(void *ctx) {
    MUST(ctx != NULL);
}

static void a_broken_invariant_aborts(void **state) {
    assert_true(aborts(break_invariant, NULL));
    assert_false(aborts(break_invariant, &(int){0}));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_is_negative_and_known),
        cmocka_unit_test(names_are_unique_and_plain),
        cmocka_unit_test(texts_are_there),
        cmocka_unit_test(numbers_outside_the_table_are_unknown),
        cmocka_unit_test(names_lead_back_to_errors),
        cmocka_unit_test(limits_of_a_process_are_named),
        cmocka_unit_test(zero_is_ok),
        cmocka_unit_test(alerts_follow_the_rfc),
        cmocka_unit_test(alert_names_are_the_registered_ones),
        cmocka_unit_test(a_broken_invariant_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
