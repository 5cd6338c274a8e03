/* Waiting bytes: the budget, the chains, and what happens at the end of memory. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/pool.h"
#include "death.h"

static int malloc_left = -1; /* calls that still succeed; -1 = all */
static bool watch_free;
static unsigned dirty;
static int blocks; /* got and not yet freed, while watching */

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void __real_free(void *p);
void __wrap_free(void *p);

void *__wrap_malloc(size_t n) {
    if (malloc_left == 0)
        return NULL;
    if (malloc_left > 0)
        malloc_left--;
    blocks++;
    return __real_malloc(n);
}

void __wrap_free(void *p) {
    if (p)
        blocks--;
    if (watch_free && p && memmem(p, malloc_usable_size(p), "SECRETSECRET", 12))
        dirty++;
    __real_free(p);
}

static uint8_t pattern[400000];

static int reset(void **state) {
    malloc_left = -1;
    watch_free = false;
    dirty = 0;
    blocks = 0;
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (uint8_t)(i * 7 >> 2);
    return 0;
}

/* The chain holds just these bytes, asked in every way. */
static void assert_holds(const struct chain *c, struct span want) {
    static uint8_t got[sizeof(pattern)];
    struct iovec iov[64];
    assert_int_equal(c->len, want.len);
    assert_int_equal(chain_peek(c, got, sizeof(got)), want.len);
    assert_memory_equal(got, want.p, want.len);
    unsigned n = chain_iov(c, iov, ARRAY_LEN(iov));
    size_t at = 0;
    for (unsigned i = 0; i < n; i++) {
        assert_true(iov[i].iov_len > 0);
        assert_memory_equal(iov[i].iov_base, want.p + at, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    assert_true(at == want.len || n == ARRAY_LEN(iov));
}

static void an_idle_chain_holds_nothing(void **state) {
    struct pool p;
    struct chain c = {0};
    pool_init(&p, 1000000);
    assert_int_equal(chain_append(&p, &c, span_of(NULL, 0)), 0);
    assert_null(c.head);
    assert_int_equal(p.used, 0);
    assert_int_equal(chain_append(&p, &c, span_of(pattern, 1000)), 0);
    assert_true(p.used >= 1000);
    chain_consume(&p, &c, 1000);
    assert_null(c.head);
    assert_null(c.tail);
    assert_int_equal(p.used, 0);
    assert_int_equal(blocks, 0);
    chain_free(&p, &c);
}

static void small_pieces_share_a_block(void **state) {
    struct pool p;
    struct chain c = {0};
    pool_init(&p, 1000000);
    for (size_t i = 0; i < 200; i++)
        assert_int_equal(chain_append(&p, &c, span_of(pattern + i, 1)), 0);
    assert_int_equal(blocks, 1);
    assert_int_equal(p.used, 256);
    assert_holds(&c, span_of(pattern, 200));
    chain_free(&p, &c);
}

static void blocks_are_as_large_as_what_they_hold(void **state) {
    struct pool p;
    struct chain c = {0};
    pool_init(&p, 1000000);
    for (size_t n = 1; n < 200000; n = n * 3 / 2 + 1) {
        assert_int_equal(chain_append(&p, &c, span_of(pattern, n)), 0);
        assert_true(p.used >= n && p.used <= n + 512 + n / 64);
        assert_holds(&c, span_of(pattern, n));
        chain_free(&p, &c);
        assert_int_equal(p.used, 0);
    }
    assert_int_equal(chain_append(&p, &c, span_of(pattern, 64 * 1024)), 0);
    assert_int_equal(blocks, 1);
    chain_free(&p, &c);
}

static void bytes_are_kept_beyond_the_budget_and_it_shows(void **state) {
    struct pool p;
    struct chain a = {0}, b = {0};
    pool_init(&p, 10000);
    assert_int_equal(chain_append(&p, &a, span_of(pattern, 4000)), 0);
    assert_false(pool_pressed(&p));
    assert_int_equal(chain_append(&p, &a, span_of(pattern + 4000, 2000)), 0);
    assert_true(pool_pressed(&p));
    assert_false(pool_over(&p));
    assert_int_equal(chain_append(&p, &b, span_of(pattern, 6000)), 0);
    assert_true(pool_over(&p));
    assert_int_equal(p.used, chain_cost(&a) + chain_cost(&b));
    assert_holds(&a, span_of(pattern, 6000));
    assert_holds(&b, span_of(pattern, 6000));
    chain_free(&p, &a);
    assert_false(pool_over(&p));
    chain_free(&p, &b);
    assert_int_equal(p.used, 0);
}

/* A few bytes keep their block, whatever else was in it. */
static void the_cost_of_a_chain_is_that_of_its_blocks(void **state) {
    struct pool p;
    struct chain c = {0};
    pool_init(&p, 1000000);
    assert_int_equal(chain_cost(&c), 0);
    assert_int_equal(chain_append(&p, &c, span_of(pattern, 60000)), 0);
    size_t cost = chain_cost(&c);
    assert_true(cost >= 60000 && cost == p.used);
    chain_consume(&p, &c, 59999);
    assert_int_equal(chain_cost(&c), cost);
    assert_int_equal(p.used, cost);
    chain_consume(&p, &c, 1);
    assert_int_equal(chain_cost(&c), 0);
}

/* What came from another process is nobody's fault here; the limit falls back as it leaves, and never rises on its own. */
static void the_limit_rises_for_migrated_bytes_only(void **state) {
    struct pool p;
    struct chain a = {0}, b = {0}, c = {0};
    pool_init(&p, 10000);
    assert_int_equal(chain_append_migrated(&p, &a, span_of(pattern, 8000)), 0);
    assert_int_equal(p.limit, 10000);
    assert_int_equal(chain_append_migrated(&p, &b, span_of(pattern, 8000)), 0);
    assert_false(pool_over(&p));
    assert_int_equal(chain_append(&p, &c, span_of(pattern, 1)), 0);
    assert_true(pool_over(&p));
    chain_free(&p, &b);
    assert_int_equal(p.limit, 10000);
    assert_false(pool_over(&p));
    assert_int_equal(chain_append(&p, &b, span_of(pattern, 8000)), 0);
    assert_true(pool_over(&p));
    chain_free(&p, &a);
    chain_free(&p, &b);
    chain_free(&p, &c);
}

static void out_of_memory_at_any_block_changes_nothing(void **state) {
    struct pool p;
    struct chain c = {0};
    pool_init(&p, 1000000);
    assert_int_equal(chain_append(&p, &c, span_of(pattern, 100)), 0);
    for (int n = 0; n < 5; n++) {
        size_t used = p.used;
        malloc_left = n;
        int err = chain_append(&p, &c, span_of(pattern + 100, 300000));
        malloc_left = -1;
        assert_int_equal(err, ERR_NOMEM);
        assert_int_equal(blocks, 1);
        assert_int_equal(p.used, used);
        assert_holds(&c, span_of(pattern, 100));
    }
    assert_int_equal(chain_append(&p, &c, span_of(pattern + 100, 300000)), 0);
    assert_holds(&c, span_of(pattern, 300100));
    chain_free(&p, &c);
    assert_int_equal(blocks, 0);
}

static void iov_and_peek_respect_their_bounds(void **state) {
    struct pool p;
    struct chain c = {0};
    struct iovec iov[2];
    uint8_t got[100];
    pool_init(&p, 1000000);
    assert_int_equal(chain_iov(&c, iov, 2), 0);
    assert_int_equal(chain_peek(&c, got, sizeof(got)), 0);
    assert_int_equal(chain_append(&p, &c, span_of(pattern, 200000)), 0);
    assert_int_equal(chain_iov(&c, iov, 2), 2);
    assert_int_equal(chain_iov(&c, iov, 0), 0);
    chain_consume(&p, &c, 65700);
    assert_int_equal(chain_peek(&c, got, sizeof(got)), sizeof(got));
    assert_memory_equal(got, pattern + 65700, sizeof(got));
    assert_int_equal(c.len, 200000 - 65700);
    chain_free(&p, &c);
}

/* Two chains of one pool against plain arrays, for many random steps. */
static void behaves_like_a_queue(void **state) {
    struct pool p;
    struct chain c[2] = {{0}, {0}};
    size_t from[2] = {0, 0}, to[2] = {0, 0};
    unsigned seed = 3;
    pool_init(&p, 50000);
    for (int i = 0; i < 20000; i++) {
        seed = seed * 1103515245 + 12345;
        unsigned k = seed >> 30 & 1;
        size_t n = seed >> 12 & (seed & 0x400 ? 0x3fff : 0xff);
        if (seed & 0x800) {
            if (to[k] + n > sizeof(pattern))
                continue;
            assert_int_equal(chain_append(&p, &c[k], span_of(pattern + to[k], n)), 0);
            to[k] += n;
        } else {
            n = MIN(n, to[k] - from[k]);
            chain_consume(&p, &c[k], n);
            from[k] += n;
            if (from[k] == to[k])
                from[k] = to[k] = 0;
        }
        assert_true(p.used == chain_cost(&c[0]) + chain_cost(&c[1]) && p.used <= p.peak);
        if (i % 16 == 0)
            assert_holds(&c[k], span_of(pattern + from[k], to[k] - from[k]));
    }
    chain_free(&p, &c[0]);
    chain_free(&p, &c[1]);
    assert_int_equal(p.used, 0);
    assert_int_equal(blocks, 0);
}

static void blocks_are_wiped_when_they_go(void **state) {
    struct pool p;
    struct chain c = {0};
    pool_init(&p, 1000000);
    watch_free = true;
    assert_int_equal(chain_append(&p, &c, span_str("xxSECRETSECRETxx")), 0);
    chain_consume(&p, &c, 16);
    assert_int_equal(chain_append(&p, &c, span_str("xxSECRETSECRETxx")), 0);
    chain_free(&p, &c);
    watch_free = false;
    assert_int_equal(dirty, 0);
}

struct both {
    struct pool p;
    struct chain c;
};

static void consume_too_much(void *ctx) {
    struct both *b = ctx;
    chain_consume(&b->p, &b->c, 11);
}

static void consuming_more_than_is_held_aborts(void **state) {
    struct both b = {.c = {0}};
    pool_init(&b.p, 1000);
    assert_int_equal(chain_append(&b.p, &b.c, span_of(pattern, 10)), 0);
    assert_true(aborts(consume_too_much, &b));
    chain_free(&b.p, &b.c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_idle_chain_holds_nothing, reset),
        cmocka_unit_test_setup(small_pieces_share_a_block, reset),
        cmocka_unit_test_setup(blocks_are_as_large_as_what_they_hold, reset),
        cmocka_unit_test_setup(bytes_are_kept_beyond_the_budget_and_it_shows, reset),
        cmocka_unit_test_setup(the_cost_of_a_chain_is_that_of_its_blocks, reset),
        cmocka_unit_test_setup(the_limit_rises_for_migrated_bytes_only, reset),
        cmocka_unit_test_setup(out_of_memory_at_any_block_changes_nothing, reset),
        cmocka_unit_test_setup(iov_and_peek_respect_their_bounds, reset),
        cmocka_unit_test_setup(behaves_like_a_queue, reset),
        cmocka_unit_test_setup(blocks_are_wiped_when_they_go, reset),
        cmocka_unit_test_setup(consuming_more_than_is_held_aborts, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
