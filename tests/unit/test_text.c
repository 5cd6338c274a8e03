#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/text.h"

static void starts_empty(void **state) {
    char mem[1] = {'x'};
    struct text t = text_of(mem, 1);
    assert_string_equal(mem, "");
    text_add(&t, "");
    assert_false(t.cut);
    text_add(&t, "a");
    assert_true(t.cut);
    assert_string_equal(mem, "");
}

static void pieces_are_joined(void **state) {
    char mem[64];
    struct text t = text_of(mem, sizeof(mem));
    text_add(&t, "a");
    text_addf(&t, "%d-%s", 42, "b");
    text_add_span(&t, span_of("cde", 2));
    text_add_hex(&t, span_of("\x00\xff\x5a", 3));
    text_add_span(&t, span_of(NULL, 0));
    assert_string_equal(mem, "a42-bcd00ff5a");
    assert_int_equal(t.len, strlen(mem));
    assert_false(t.cut);
}

static void hex_is_read_as_it_is_written(void **state) {
    static const char *const bad[] = {"0", "0g", "g0", "0:", "0/", "0@", "0`", "0G", " 0", "0x12", "12 "};
    char mem[2 * 256 + 1];
    uint8_t all[256], back[256];
    struct text t = text_of(mem, sizeof(mem));
    size_t n = 99;
    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (uint8_t)i;
    text_add_hex(&t, span_of(all, sizeof(all)));
    assert_int_equal(text_read_hex(span_str(mem), back, sizeof(back), &n), 0);
    assert_int_equal(n, sizeof(all));
    assert_memory_equal(back, all, sizeof(all));
    assert_int_equal(text_read_hex(span_str(mem), back, sizeof(back) - 1, &n), ERR_LIMIT);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(text_read_hex(span_str(bad[i]), back, sizeof(back), &n), ERR_FORMAT);
    assert_int_equal(n, sizeof(all));
    assert_int_equal(text_read_hex(span_str("aBCdEF"), back, 3, &n), 0);
    assert_memory_equal(back, "\xab\xcd\xef", 3);
    assert_int_equal(text_read_hex(span_of(NULL, 0), back, 0, &n), 0);
    assert_int_equal(n, 0);
}

static void exactly_full_is_not_cut(void **state) {
    char mem[4];
    struct text t = text_of(mem, sizeof(mem));
    text_addf(&t, "%s", "abc");
    assert_false(t.cut);
    text_addf(&t, "%s", "");
    assert_false(t.cut);
    text_addf(&t, "%s", "d");
    assert_true(t.cut);
    assert_string_equal(mem, "abc");
}

static void every_way_of_adding_cuts_at_the_end(void **state) {
    char mem[5];
    mem[4] = 'x';
    struct text t = text_of(mem, 4);
    text_add(&t, "abcdef");
    assert_true(t.cut);
    assert_string_equal(mem, "abc");
    t = text_of(mem, 4);
    text_addf(&t, "%s", "abcdef");
    assert_true(t.cut);
    assert_string_equal(mem, "abc");
    assert_int_equal(t.len, 3);
    t = text_of(mem, 4);
    text_add_hex(&t, span_of("\x12\x34", 2));
    assert_true(t.cut);
    assert_string_equal(mem, "123");
    assert_int_equal(mem[4], 'x');
}

static void after_a_cut_nothing_more_is_added(void **state) {
    char mem[4];
    struct text t = text_of(mem, sizeof(mem));
    text_addf(&t, "%s", "abcdef");
    text_add(&t, "g");
    text_add_hex(&t, span_of("h", 1));
    assert_string_equal(mem, "abc");
    assert_true(t.cut);
}

static void lines_are_taken_whole(void **state) {
    char mem[60];
    struct text t = text_of(mem, sizeof(mem));
    text_add_lines(&t, "one\ntwo\n");
    assert_string_equal(mem, "one\ntwo\n");
    assert_false(t.cut);

    t = text_of(mem, sizeof(mem));
    text_add_lines(&t, "a first line\na second line\na third line\na fourth line\na fifth");
    assert_string_equal(mem, "a first line\nand 4 more lines\n");
    assert_true(t.cut);

    t = text_of(mem, sizeof(mem));
    text_add_lines(&t, "a line that is longer than all the room there is, and thus none that can be taken\nsecond\n");
    assert_string_equal(mem, "and 2 more lines\n");

    char exact[sizeof("one\ntwo")];
    t = text_of(exact, sizeof(exact));
    text_add_lines(&t, "one\ntwo");
    assert_string_equal(exact, "one\ntwo");
    assert_false(t.cut);
}

static void a_mark_stands_behind_whole_characters(void **state) {
    char mem[10];
    for (size_t cap = 4; cap <= sizeof(mem); cap++) {
        struct text t = text_of(mem, cap);
        text_add(&t, "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80zzz");
        text_mark_cut(&t);
        assert_int_equal(t.len, strlen(mem));
        assert_in_range(t.len, 3, cap - 1);
        static const char *const want[] = {
            "...", "a...", "a...", "a\xc3\xa4...", "a\xc3\xa4...", "a\xc3\xa4...", "a\xc3\xa4\xe2\x82\xac..."};
        assert_string_equal(mem, want[cap - 4]);
    }
    struct text whole = text_of(mem, sizeof(mem));
    text_add(&whole, "whole");
    text_mark_cut(&whole);
    assert_string_equal(mem, "whole");
}

static void numbers_are_read(void **state) {
    uint64_t v = 7;
    assert_int_equal(text_parse_u64("0", 0, &v), 0);
    assert_int_equal(v, 0);
    assert_int_equal(text_parse_u64("65535", 65535, &v), 0);
    assert_int_equal(v, 65535);
    assert_int_equal(text_parse_u64("18446744073709551615", UINT64_MAX, &v), 0);
    assert_true(v == UINT64_MAX);
    assert_int_equal(text_parse_u64("007", 10, &v), 0);
    assert_int_equal(v, 7);
}

static void only_digits_are_numbers(void **state) {
    static const char *const bad[] = {"", " 1", "1 ", "-1", "+1", "0x10", "1.0", "a", "99999999999999999999999x"};
    uint64_t v = 7;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(text_parse_u64(bad[i], UINT64_MAX, &v), ERR_FORMAT);
    assert_int_equal(v, 7);
}

static void large_numbers_are_refused(void **state) {
    uint64_t v = 7;
    assert_int_equal(text_parse_u64("65536", 65535, &v), ERR_LIMIT);
    assert_int_equal(text_parse_u64("18446744073709551616", UINT64_MAX, &v), ERR_LIMIT);
    assert_int_equal(text_parse_u64("99999999999999999999", UINT64_MAX, &v), ERR_LIMIT);
    assert_int_equal(text_parse_u64("184467440737095516150", UINT64_MAX, &v), ERR_LIMIT);
    assert_int_equal(v, 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_empty),
        cmocka_unit_test(pieces_are_joined),
        cmocka_unit_test(hex_is_read_as_it_is_written),
        cmocka_unit_test(exactly_full_is_not_cut),
        cmocka_unit_test(every_way_of_adding_cuts_at_the_end),
        cmocka_unit_test(after_a_cut_nothing_more_is_added),
        cmocka_unit_test(lines_are_taken_whole),
        cmocka_unit_test(a_mark_stands_behind_whole_characters),
        cmocka_unit_test(numbers_are_read),
        cmocka_unit_test(only_digits_are_numbers),
        cmocka_unit_test(large_numbers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
