/* Growable buffers; malloc() and free() are replaced to fail on demand and to look for bytes left behind. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "death.h"

static bool fail_malloc;
static bool watch_free;
static unsigned dirty; /* blocks freed with the mark of the test in them */

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void __real_free(void *p);
void __wrap_free(void *p);

void *__wrap_malloc(size_t n) {
    return fail_malloc ? NULL : __real_malloc(n);
}

void __wrap_free(void *p) {
    if (watch_free && p && memmem(p, malloc_usable_size(p), "SECRETSECRET", 12))
        dirty++;
    __real_free(p);
}

static int reset(void **state) {
    fail_malloc = watch_free = false;
    dirty = 0;
    return 0;
}

static void an_empty_buffer_holds_no_memory(void **state) {
    struct buf b;
    buf_init(&b, 100);
    assert_null(b.p);
    assert_int_equal(buf_len(&b), 0);
    assert_int_equal(buf_span(&b).len, 0);
    assert_int_equal(buf_append(&b, NULL, 0), 0);
    assert_null(b.p);
    buf_consume(&b, 0);
    buf_fini(&b);
    buf_fini(&b);
}

static void bytes_come_out_in_order(void **state) {
    struct buf b;
    buf_init(&b, 100);
    assert_int_equal(buf_append(&b, "hello ", 6), 0);
    assert_int_equal(buf_append(&b, "world", 5), 0);
    buf_consume(&b, 3);
    assert_true(span_eq(buf_span(&b), span_str("lo world")));
    buf_consume(&b, 8);
    assert_null(b.p);
    assert_int_equal(b.max, 100);
    assert_int_equal(buf_append(&b, "x", 1), 0);
    assert_true(span_eq(buf_span(&b), span_str("x")));
    buf_fini(&b);
}

static void the_maximum_is_hard(void **state) {
    struct buf b;
    uint8_t x[11] = {0};
    buf_init(&b, 10);
    assert_int_equal(buf_append(&b, x, 11), ERR_LIMIT);
    assert_int_equal(buf_append(&b, x, 10), 0);
    assert_int_equal(b.cap, 10);
    assert_int_equal(buf_append(&b, x, 1), ERR_LIMIT);
    assert_int_equal(buf_append(&b, x, SIZE_MAX), ERR_LIMIT);
    assert_null(buf_reserve(&b, 1));
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_int_equal(buf_len(&b), 10);
    buf_consume(&b, 4);
    assert_int_equal(buf_append(&b, x, 4), 0);
    assert_int_equal(b.cap, 10);
    assert_int_equal(buf_len(&b), 10);
    buf_fini(&b);
}

static void a_buffer_of_nothing(void **state) {
    struct buf b;
    buf_init(&b, 0);
    assert_int_equal(buf_append(&b, "x", 1), ERR_LIMIT);
    assert_int_equal(buf_append(&b, "", 0), 0);
    buf_fini(&b);
}

static void room_is_written_in_place(void **state) {
    struct buf b;
    buf_init(&b, 1000);
    uint8_t *room = buf_reserve(&b, 500);
    assert_non_null(room);
    memcpy(room, "abc", 3);
    buf_commit(&b, 3);
    assert_true(span_eq(buf_span(&b), span_str("abc")));
    room = buf_reserve(&b, 997);
    assert_non_null(room);
    memset(room, 'z', 997);
    buf_commit(&b, 997);
    assert_int_equal(buf_len(&b), 1000);
    assert_memory_equal(buf_span(&b).p, "abcz", 4);
    assert_int_equal(b.cap, 1000);
    buf_fini(&b);
}

/* Against a plain array, for many small steps. */
static void behaves_like_a_queue(void **state) {
    static uint8_t model[1 << 20];
    size_t from = 0, to = 0;
    struct buf b;
    unsigned seed = 7;
    buf_init(&b, 5000);
    while (to < sizeof(model) - 3000) {
        seed = seed * 1103515245 + 12345;
        size_t n = seed >> 16 & 2047;
        if (seed & 0x8000) {
            for (size_t i = 0; i < n; i++)
                model[to + i] = (uint8_t)((to + i) * 31 >> 3);
            int err = buf_append(&b, model + to, n);
            assert_int_equal(err, to - from + n > 5000 ? ERR_LIMIT : 0);
            to += err ? 0 : n;
        } else {
            n = MIN(n, to - from);
            buf_consume(&b, n);
            from += n;
        }
        assert_true(b.cap <= 5000);
        assert_true(span_eq(buf_span(&b), span_of(model + from, to - from)));
    }
    buf_fini(&b);
}

static void without_memory_nothing_changes(void **state) {
    struct buf b;
    buf_init(&b, 10000);
    fail_malloc = true;
    assert_int_equal(buf_append(&b, "x", 1), ERR_NOMEM);
    assert_null(buf_reserve(&b, 1));
    fail_malloc = false;
    assert_int_equal(buf_append(&b, "abc", 3), 0);
    fail_malloc = true;
    static const uint8_t big[5000];
    assert_int_equal(buf_append(&b, big, sizeof(big)), ERR_NOMEM);
    fail_malloc = false;
    assert_true(span_eq(buf_span(&b), span_str("abc")));
    buf_fini(&b);
}

static void memory_is_wiped_when_it_goes(void **state) {
    struct buf b;
    static const uint8_t big[5000];
    buf_init(&b, 100000);
    watch_free = true;
    assert_int_equal(buf_append(&b, "SECRETSECRET", 12), 0);
    assert_int_equal(buf_append(&b, big, sizeof(big)), 0); /* moves */
    buf_consume(&b, buf_len(&b));                          /* frees */
    assert_int_equal(buf_append(&b, "SECRETSECRET", 12), 0);
    buf_fini(&b);
    watch_free = false;
    assert_int_equal(dirty, 0);
}

static void consume_too_much(void *ctx) {
    buf_consume(ctx, 4);
}

static void commit_too_much(void *ctx) {
    buf_commit(ctx, 100000);
}

static void breaches_abort(void **state) {
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(buf_append(&b, "abc", 3), 0);
    assert_true(aborts(consume_too_much, &b));
    assert_true(aborts(commit_too_much, &b));
    buf_fini(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_empty_buffer_holds_no_memory, reset),
        cmocka_unit_test_setup(bytes_come_out_in_order, reset),
        cmocka_unit_test_setup(the_maximum_is_hard, reset),
        cmocka_unit_test_setup(a_buffer_of_nothing, reset),
        cmocka_unit_test_setup(room_is_written_in_place, reset),
        cmocka_unit_test_setup(behaves_like_a_queue, reset),
        cmocka_unit_test_setup(without_memory_nothing_changes, reset),
        cmocka_unit_test_setup(memory_is_wiped_when_it_goes, reset),
        cmocka_unit_test_setup(breaches_abort, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
