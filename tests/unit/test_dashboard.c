#include "observer/dashboard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "observer/assets.h"

static void test_gzip_is_taken(void **state) {
    (void)state;
    assert_true(dashboard_takes_gzip("gzip"));
    assert_true(dashboard_takes_gzip("GZip"));
    assert_true(dashboard_takes_gzip("x-gzip"));
    assert_true(dashboard_takes_gzip("gzip, deflate, br, zstd"));
    assert_true(dashboard_takes_gzip("br;q=1.0 ,\tgzip ; q=0.5"));
    assert_true(dashboard_takes_gzip("gzip;q=0.001"));
    assert_true(dashboard_takes_gzip("deflate, *"));
    assert_true(dashboard_takes_gzip("*;q=0.1"));
}

static void test_gzip_is_not_taken(void **state) {
    (void)state;
    assert_false(dashboard_takes_gzip(NULL));
    assert_false(dashboard_takes_gzip(""));
    assert_false(dashboard_takes_gzip(",,, ;"));
    assert_false(dashboard_takes_gzip("identity"));
    assert_false(dashboard_takes_gzip("gzipped, agzip"));
    assert_false(dashboard_takes_gzip("gzip;q=0"));
    assert_false(dashboard_takes_gzip("gzip; q=0.000"));
    assert_false(dashboard_takes_gzip("gzip;Q=0., *"));
    assert_false(dashboard_takes_gzip("*;q=0"));
    assert_false(dashboard_takes_gzip("deflate;q=0.5"));
}

static void test_tags(void **state) {
    (void)state;
    assert_true(dashboard_tag_matches("\"abc\"", "\"abc\""));
    assert_true(dashboard_tag_matches("W/\"abc\"", "\"abc\""));
    assert_true(dashboard_tag_matches("\"x\", \"abc\" , \"y\"", "\"abc\""));
    assert_true(dashboard_tag_matches("*", "\"abc\""));
    assert_false(dashboard_tag_matches(NULL, "\"abc\""));
    assert_false(dashboard_tag_matches("", "\"abc\""));
    assert_false(dashboard_tag_matches("abc", "\"abc\""));
    assert_false(dashboard_tag_matches("\"ABC\"", "\"abc\""));
    assert_false(dashboard_tag_matches("\"abcd\", W/", "\"abc\""));
}

static void test_assets_are_whole(void **state) {
    (void)state;
    assert_true(assets_count >= 5);
    for (size_t i = 0; i < assets_count; i++) {
        assert_true(assets[i].plain.len > 0 && assets[i].packed.len > 20);
        assert_memory_equal(assets[i].packed.p, "\x1f\x8b\x08", 3);
        /* A gzip file ends with the length of what is in it. */
        const uint8_t *end = assets[i].packed.p + assets[i].packed.len - 4;
        assert_int_equal((uint32_t)end[0] | (uint32_t)end[1] << 8 | (uint32_t)end[2] << 16 | (uint32_t)end[3] << 24,
                         assets[i].plain.len);
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(assets[i].path, assets[k].path);
            assert_string_not_equal(assets[i].etag, assets[k].etag);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gzip_is_taken),
        cmocka_unit_test(test_gzip_is_not_taken),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_assets_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
