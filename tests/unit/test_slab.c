/* The slab against a plain table, and with each system call failing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/slab.h"
#include "death.h"

/* AddressSanitizer makes mlock() do nothing. */
#if defined(__SANITIZE_ADDRESS__)
#define LOCKS_ARE_REAL 0
#elif defined(__has_feature)
#define LOCKS_ARE_REAL !__has_feature(address_sanitizer)
#else
#define LOCKS_ARE_REAL 1
#endif

enum call { CALL_MMAP, CALL_MPROTECT, CALL_MLOCK, CALL_MUNLOCK, CALL_MADVISE, CALL_CALLOC, CALLS };

static unsigned count[CALLS];
static unsigned fail_at[CALLS]; /* the n-th call, from 1; 0 = none, UINT_MAX = all */

static bool fails(enum call c) {
    count[c]++;
    if (fail_at[c] != UINT32_MAX && fail_at[c] != count[c])
        return false;
    errno = ENOMEM;
    return true;
}

/* What mmap() is called where off_t has 64 bits by the compiler's flags. */
void *__real_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t off);
void *__wrap_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t off);
int __real_mprotect(void *p, size_t n, int prot);
int __wrap_mprotect(void *p, size_t n, int prot);
int __real_mlock(const void *p, size_t n);
int __wrap_mlock(const void *p, size_t n);
int __real_munlock(const void *p, size_t n);
int __wrap_munlock(const void *p, size_t n);
int __real_madvise(void *p, size_t n, int advice);
int __wrap_madvise(void *p, size_t n, int advice);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *__wrap_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t off) {
    return fails(CALL_MMAP) ? MAP_FAILED : __real_mmap64(at, n, prot, flags, fd, off);
}
int __wrap_mprotect(void *p, size_t n, int prot) {
    return fails(CALL_MPROTECT) ? -1 : __real_mprotect(p, n, prot);
}
int __wrap_mlock(const void *p, size_t n) {
    return fails(CALL_MLOCK) ? -1 : __real_mlock(p, n);
}
int __wrap_munlock(const void *p, size_t n) {
    return fails(CALL_MUNLOCK) ? -1 : __real_munlock(p, n);
}
int __wrap_madvise(void *p, size_t n, int advice) {
    return fails(CALL_MADVISE) ? -1 : __real_madvise(p, n, advice);
}
void *__wrap_calloc(size_t n, size_t size) {
    return fails(CALL_CALLOC) ? NULL : __real_calloc(n, size);
}

struct object {
    struct slab_item item;
    uint8_t bytes[500];
};

#define CHUNK_OBJECTS 128 /* 64 KiB of them, about */

static int reset(void **state) {
    memset(count, 0, sizeof(count));
    memset(fail_at, 0, sizeof(fail_at));
    return 0;
}

static struct slab make(uint32_t cap, bool secret) {
    struct slab s;
    assert_int_equal(slab_init(&s, sizeof(struct object), cap, secret), 0);
    return s;
}

static struct object *get(struct slab *s) {
    struct object *o = slab_alloc(s);
    assert_non_null(o);
    return o;
}

static void objects_are_zeroed_and_named(void **state) {
    struct slab s = make(10, false);
    struct object *o = get(&s);
    static const uint8_t zero[sizeof(o->bytes)];
    assert_int_equal(o->item.slot, 0);
    assert_int_not_equal(o->item.gen, 0);
    assert_memory_equal(o->bytes, zero, sizeof(zero));
    memset(o->bytes, 0xaa, sizeof(o->bytes));
    slab_free(&s, o);
    o = get(&s);
    assert_int_equal(o->item.slot, 0);
    assert_memory_equal(o->bytes, zero, sizeof(zero));
    slab_fini(&s);
}

static void a_freed_name_is_stale(void **state) {
    struct slab s = make(10, false);
    struct object *o = get(&s);
    struct slab_item name = o->item;
    assert_ptr_equal(slab_get(&s, name.slot, name.gen), o);
    slab_free(&s, o);
    assert_null(slab_get(&s, name.slot, name.gen));
    o = get(&s);
    assert_int_equal(o->item.slot, name.slot);
    assert_null(slab_get(&s, name.slot, name.gen));
    assert_null(slab_get(&s, name.slot, 0));
    assert_null(slab_get(&s, 1, o->item.gen));
    assert_null(slab_get(&s, 10, o->item.gen));
    assert_null(slab_get(&s, UINT32_MAX, o->item.gen));
    slab_fini(&s);
}

static void generations_compare_in_24_bits_and_are_never_zero(void **state) {
    struct slab s = make(10, false);
    s.last_gen = 0x1fffffe;
    struct object *a = get(&s), *b = get(&s);
    assert_int_equal(a->item.gen, 0x1ffffff);
    assert_int_equal(b->item.gen, 0x2000001);
    assert_ptr_equal(slab_get(&s, 0, 0xffffff), a);
    assert_ptr_equal(slab_get(&s, 1, 1), b);
    assert_null(slab_get(&s, 1, 0));
    s.last_gen = UINT32_MAX;
    assert_int_equal(get(&s)->item.gen, 1);
    slab_fini(&s);
}

static void the_lowest_slot_comes_first(void **state) {
    struct slab s = make(1000, false);
    struct object *all[1000];
    for (uint32_t i = 0; i < 1000; i++) {
        all[i] = get(&s);
        assert_int_equal(all[i]->item.slot, i);
    }
    assert_null(slab_alloc(&s));
    slab_free(&s, all[700]);
    slab_free(&s, all[63]);
    slab_free(&s, all[64]);
    assert_int_equal(get(&s)->item.slot, 63);
    assert_int_equal(get(&s)->item.slot, 64);
    assert_int_equal(get(&s)->item.slot, 700);
    assert_null(slab_alloc(&s));
    slab_fini(&s);
}

static void caps_at_the_edges_of_words(void **state) {
    static const uint32_t caps[] = {1, 63, 64, 65, 4095, 4096, 4097};
    for (size_t i = 0; i < ARRAY_LEN(caps); i++) {
        struct slab s;
        assert_int_equal(slab_init(&s, sizeof(struct slab_item), caps[i], false), 0);
        for (uint32_t n = 0; n < caps[i]; n++)
            assert_int_equal(((struct slab_item *)slab_alloc(&s))->slot, n);
        assert_null(slab_alloc(&s));
        uint32_t at = caps[i] - 1;
        assert_non_null(slab_next(&s, &at));
        assert_null(slab_next(&s, &at));
        slab_fini(&s);
    }
}

static void walking_sees_the_living_in_order(void **state) {
    struct slab s = make(1000, false);
    struct object *all[300];
    for (uint32_t i = 0; i < 300; i++)
        all[i] = get(&s);
    for (uint32_t i = 0; i < 300; i++)
        if (i % 7)
            slab_free(&s, all[i]);
    uint32_t at = 0, expected = 0;
    for (struct object *o; (o = slab_next(&s, &at)) != NULL; expected += 7)
        assert_int_equal(o->item.slot, expected);
    assert_int_equal(expected, 301);
    at = 0;
    for (struct object *o; (o = slab_next(&s, &at)) != NULL;)
        slab_free(&s, o); /* freeing during the walk is allowed */
    assert_int_equal(s.used, 0);
    at = 0;
    assert_null(slab_next(&s, &at));
    slab_fini(&s);
}

static void memory_is_given_back_from_the_upper_end(void **state) {
    for (int secret = 0; secret < 2; secret++) {
        struct slab s = make(100000, secret);
        static struct object *all[3000];
        for (uint32_t i = 0; i < ARRAY_LEN(all); i++) {
            all[i] = get(&s);
            memset(all[i]->bytes, 0xaa, sizeof(all[i]->bytes));
        }
        size_t most = s.committed;
        struct slab_item name = all[2500]->item;
        assert_true(most >= ARRAY_LEN(all) * sizeof(struct object));
        for (uint32_t i = ARRAY_LEN(all) - 1; i > 0; i--)
            slab_free(&s, all[i]);
        assert_int_equal(s.committed, 2 * 64 * 1024);
        assert_ptr_equal(slab_get(&s, 0, all[0]->item.gen), all[0]);
        assert_null(slab_get(&s, name.slot, name.gen)); /* its page is gone */
        for (uint32_t i = 1; i < ARRAY_LEN(all); i++) {
            all[i] = get(&s);
            assert_int_equal(all[i]->bytes[0], 0);
        }
        assert_null(slab_get(&s, name.slot, name.gen)); /* and the slot has a new life */
        assert_int_equal(s.committed, most);
        slab_fini(&s);
    }
}

static void one_object_at_an_edge_costs_no_system_calls(void **state) {
    struct slab s = make(1000, true);
    for (uint32_t i = 0; i < CHUNK_OBJECTS; i++)
        get(&s);
    for (int i = 0; i < 10; i++) /* over the edge of a chunk at least once */
        get(&s);
    slab_free(&s, get(&s));
    reset(NULL);
    for (int i = 0; i < 100; i++)
        slab_free(&s, get(&s));
    assert_int_equal(count[CALL_MPROTECT] + count[CALL_MLOCK] + count[CALL_MADVISE], 0);
    slab_fini(&s);
}

static void a_hole_below_keeps_the_top(void **state) {
    struct slab s = make(10000, false);
    static struct object *all[1000];
    for (uint32_t i = 0; i < ARRAY_LEN(all); i++)
        all[i] = get(&s);
    size_t most = s.committed;
    for (uint32_t i = 0; i < ARRAY_LEN(all) - 1; i++)
        slab_free(&s, all[i]);
    assert_int_equal(s.committed, most);
    assert_ptr_equal(slab_get(&s, 999, all[999]->item.gen), all[999]);
    slab_free(&s, all[999]);
    assert_int_equal(s.committed, 64 * 1024);
    assert_int_equal(s.top, 0);
    slab_fini(&s);
}

static void objects_larger_than_a_chunk(void **state) {
    struct slab s;
    assert_int_equal(slab_init(&s, 200000, 5, true), 0);
    uint8_t *p[5];
    for (uint32_t i = 0; i < 5; i++) {
        p[i] = slab_alloc(&s);
        assert_non_null(p[i]);
        p[i][199999] = 1;
    }
    assert_null(slab_alloc(&s));
    for (uint32_t i = 5; i-- > 0;)
        slab_free(&s, p[i]);
    assert_int_equal(s.used, 0);
    slab_fini(&s);
}

static void sizes_that_do_not_exist_are_refused(void **state) {
    struct slab s;
    assert_int_equal(slab_init(&s, SIZE_MAX / 4, UINT32_MAX, false), ERR_NOMEM);
    slab_fini(&s);
}

static void init_survives_each_failure(void **state) {
    struct slab s;
    static const struct {
        enum call call;
        unsigned n;
    } rows[] = {{CALL_MMAP, 1}, {CALL_CALLOC, 1}, {CALL_CALLOC, 2}, {CALL_MADVISE, 1}, {CALL_MADVISE, 2}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        reset(NULL);
        fail_at[rows[i].call] = rows[i].n;
        assert_int_equal(slab_init(&s, 100, 1000, true), ERR_NOMEM);
        assert_null(s.base);
        slab_fini(&s);
    }
}

static void no_memory_to_commit_gives_null_and_recovers(void **state) {
    struct slab s = make(1000, true);
    fail_at[CALL_MPROTECT] = 1;
    assert_null(slab_alloc(&s));
    assert_int_equal(s.used, 0);
    assert_int_equal(s.top, 0);
    assert_int_equal(get(&s)->item.slot, 0);
    slab_fini(&s);
}

static void a_refused_lock_is_reported_and_survived(void **state) {
    struct slab s = make(1000, true);
    fail_at[CALL_MLOCK] = UINT32_MAX;
    get(&s);
    assert_true(s.lock_failed);
    for (int i = 0; i < 500; i++)
        get(&s);
    uint32_t at = 0;
    for (struct object *o; (o = slab_next(&s, &at)) != NULL;)
        slab_free(&s, o);
    slab_fini(&s);

    s = make(1000, false);
    reset(NULL);
    get(&s);
    assert_int_equal(count[CALL_MLOCK], 0); /* not asked for */
    assert_false(s.lock_failed);
    slab_fini(&s);
}

static void failing_to_give_back_only_keeps_memory(void **state) {
    static const enum call calls[] = {CALL_MUNLOCK, CALL_MADVISE, CALL_MPROTECT};
    for (size_t c = 0; c < ARRAY_LEN(calls); c++) {
        struct slab s = make(1000, true);
        for (int i = 0; i < 500; i++)
            memset(get(&s)->bytes, 0xaa, 500);
        reset(NULL);
        fail_at[calls[c]] = UINT32_MAX;
        size_t most = s.committed;
        for (uint32_t slot = 500, at; at = --slot, slot > 0;)
            slab_free(&s, slab_next(&s, &at));
        assert_int_equal(s.committed, most);
        reset(NULL);
        for (int i = 0; i < 300; i++)
            assert_int_equal(get(&s)->bytes[0], 0);
        assert_int_equal(count[CALL_MPROTECT], 0);
        slab_fini(&s);
    }
}

/* Whether the mapping that holds P has the flag (proc(5), VmFlags); -1 when the kernel does not report it. */
static int has_flag(const void *p, const char *flag) {
    FILE *f = fopen("/proc/self/smaps", "re");
    char line[512];
    bool inside = false;
    int answer = -1;
    while (f && answer < 0 && fgets(line, sizeof(line), f)) {
        uintptr_t from, to;
        if (sscanf(line, "%zx-%zx ", &from, &to) == 2)
            inside = from <= (uintptr_t)p && (uintptr_t)p < to;
        else if (inside && strncmp(line, "VmFlags:", 8) == 0)
            answer = strstr(line, flag) != NULL;
    }
    if (f)
        fclose(f);
    return answer;
}

static void a_secret_slab_stays_out_of_dumps_and_children(void **state) {
    struct slab s = make(1000, true);
    struct object *o = get(&s);
    if (has_flag(o, " dd") >= 0) {
        assert_int_equal(has_flag(o, " dd"), 1);
        assert_int_equal(has_flag(o, " dc"), 1);
        if (LOCKS_ARE_REAL)
            assert_int_equal(has_flag(o, " lo"), s.lock_failed ? 0 : 1);
    }
    slab_fini(&s);
}

static void behaves_like_a_table(void **state) {
    static struct {
        struct object *o;
        struct slab_item name;
    } model[2000];
    struct slab s = make(ARRAY_LEN(model), false);
    uint32_t x = 88172645, used = 0;
    for (int round = 0; round < 200000; round++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        size_t i = x % ARRAY_LEN(model);
        bool grow = round / 20000 % 2 == 0; /* tides, so that memory comes and goes */
        if (model[i].o && (!grow || x >> 30 == 0)) {
            slab_free(&s, model[i].o);
            model[i].o = NULL;
            used--;
        } else if (!model[i].o && (grow || x >> 30 == 0)) {
            model[i].o = get(&s);
            model[i].name = model[i].o->item;
            model[i].o->bytes[499] = 1;
            used++;
        }
        assert_int_equal(s.used, used);
        size_t j = (x >> 8) % ARRAY_LEN(model);
        assert_ptr_equal(slab_get(&s, model[j].name.slot, model[j].name.gen), model[j].o);
    }
    slab_fini(&s);
}

struct both {
    struct slab *s;
    void *o;
};

static void free_it(void *ctx) {
    struct both *b = ctx;
    slab_free(b->s, b->o);
}

static void freeing_what_is_not_alive_aborts(void **state) {
    struct slab s = make(10, false);
    struct object *o = get(&s);
    struct object stranger = {.item = {0, o->item.gen}};
    get(&s);
    slab_free(&s, NULL);
    assert_true(aborts(free_it, &(struct both){&s, &stranger}));
    slab_free(&s, o);
    assert_true(aborts(free_it, &(struct both){&s, o}));
    slab_fini(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(objects_are_zeroed_and_named, reset),
        cmocka_unit_test_setup(a_freed_name_is_stale, reset),
        cmocka_unit_test_setup(generations_compare_in_24_bits_and_are_never_zero, reset),
        cmocka_unit_test_setup(the_lowest_slot_comes_first, reset),
        cmocka_unit_test_setup(caps_at_the_edges_of_words, reset),
        cmocka_unit_test_setup(walking_sees_the_living_in_order, reset),
        cmocka_unit_test_setup(memory_is_given_back_from_the_upper_end, reset),
        cmocka_unit_test_setup(one_object_at_an_edge_costs_no_system_calls, reset),
        cmocka_unit_test_setup(a_hole_below_keeps_the_top, reset),
        cmocka_unit_test_setup(objects_larger_than_a_chunk, reset),
        cmocka_unit_test_setup(sizes_that_do_not_exist_are_refused, reset),
        cmocka_unit_test_setup(init_survives_each_failure, reset),
        cmocka_unit_test_setup(no_memory_to_commit_gives_null_and_recovers, reset),
        cmocka_unit_test_setup(a_refused_lock_is_reported_and_survived, reset),
        cmocka_unit_test_setup(failing_to_give_back_only_keeps_memory, reset),
        cmocka_unit_test_setup(a_secret_slab_stays_out_of_dumps_and_children, reset),
        cmocka_unit_test_setup(behaves_like_a_table, reset),
        cmocka_unit_test_setup(freeing_what_is_not_alive_aborts, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
