/* Random bytes, with getrandom(2) replaced where its short answers and interruptions are the question. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include <cmocka.h>

#include "base/rand.h"
#include "death.h"

static unsigned calls;
static size_t most = SIZE_MAX; /* bytes given a call */
static unsigned interruptions; /* calls that fail first */
static int fail_with;

ssize_t __real_getrandom(void *to, size_t n, unsigned flags);
ssize_t __wrap_getrandom(void *to, size_t n, unsigned flags);

ssize_t __wrap_getrandom(void *to, size_t n, unsigned flags) {
    calls++;
    if (fail_with) {
        errno = fail_with;
        return -1;
    }
    if (interruptions) {
        interruptions--;
        errno = EINTR;
        return -1;
    }
    return __real_getrandom(to, n < most ? n : most, flags);
}

static int reset(void **state) {
    calls = 0;
    most = SIZE_MAX;
    interruptions = 0;
    fail_with = 0;
    return 0;
}

static void fills_every_byte(void **state) {
    uint8_t seen[64] = {0};
    for (int round = 0; round < 20; round++) {
        uint8_t now[64] = {0};
        rand_bytes(now, sizeof(now));
        for (size_t i = 0; i < sizeof(now); i++)
            seen[i] |= now[i];
    }
    for (size_t i = 0; i < sizeof(seen); i++)
        assert_int_not_equal(seen[i], 0);
}

static void short_answers_and_interruptions_are_continued(void **state) {
    uint8_t a[33] = {0}, zero[8] = {0};
    most = 5;
    interruptions = 3;
    rand_bytes(a, sizeof(a));
    assert_int_equal(calls, 3 + 7);
    assert_memory_not_equal(a + 25, zero, sizeof(zero));
}

static void no_bytes_need_no_call(void **state) {
    rand_bytes(NULL, 0);
    assert_int_equal(calls, 0);
}

static void one_call_serves_many_numbers(void **state) {
    uint64_t last = rand_u64();
    calls = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t v = rand_u64();
        assert_true(v != last);
        last = v;
    }
    assert_true(calls >= 1 && calls < 1000 / 16);
}

static void ask(void *ctx) {
    uint8_t a[4];
    fail_with = ENOSYS;
    rand_bytes(a, sizeof(a));
}

static void without_the_call_the_process_ends(void **state) {
    assert_true(aborts(ask, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(fills_every_byte, reset),
        cmocka_unit_test_setup(short_answers_and_interruptions_are_continued, reset),
        cmocka_unit_test_setup(no_bytes_need_no_call, reset),
        cmocka_unit_test_setup(one_call_serves_many_numbers, reset),
        cmocka_unit_test_setup(without_the_call_the_process_ends, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
