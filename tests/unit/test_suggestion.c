#include "conf/suggestion.h"

#include "conf_support.h"

static void test_distances(void **state) {
    assert_int_equal(suggestion_distance("", ""), 0);
    assert_int_equal(suggestion_distance("abc", ""), 3);
    assert_int_equal(suggestion_distance("", "abc"), 3);
    assert_int_equal(suggestion_distance("listen", "listen"), 0);
    assert_int_equal(suggestion_distance("Listen", "lISTEN"), 0);
    assert_int_equal(suggestion_distance("lisen", "listen"), 1);
    assert_int_equal(suggestion_distance("listten", "listen"), 1);
    assert_int_equal(suggestion_distance("lisxen", "listen"), 1);
    assert_int_equal(suggestion_distance("litsen", "listen"), 1);
    assert_int_equal(suggestion_distance("kitten", "sitting"), 3);
}

static void test_long_words_are_not_compared(void **state) {
    char word[SUGGESTION_WORD_MAX + 2];
    memset(word, 'a', sizeof(word));
    word[SUGGESTION_WORD_MAX] = 0;
    assert_int_equal(suggestion_distance(word, word), 0);
    word[SUGGESTION_WORD_MAX] = 'a';
    word[SUGGESTION_WORD_MAX + 1] = 0;
    assert_true(suggestion_distance(word, "a") == SIZE_MAX);
    assert_true(suggestion_distance("a", word) == SIZE_MAX);
    struct suggestion n = {.word = word};
    suggestion_offer(&n, "a");
    assert_null(suggestion_get(&n));
}

static void test_the_nearest_is_reported_when_near_enough(void **state) {
    struct suggestion n = {.word = "sesions"};
    assert_null(suggestion_get(&n));
    suggestion_offer(&n, "balance");
    assert_null(suggestion_get(&n));
    suggestion_offer(&n, "sessions");
    suggestion_offer(&n, "sessions_per_client");
    assert_string_equal(suggestion_get(&n), "sessions");
    struct suggestion far = {.word = "a"};
    suggestion_offer(&far, "key");
    assert_null(suggestion_get(&far));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distances),
        cmocka_unit_test(test_long_words_are_not_compared),
        cmocka_unit_test(test_the_nearest_is_reported_when_near_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
