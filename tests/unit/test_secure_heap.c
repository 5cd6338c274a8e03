/* The heap for keys: blocks do not overlap, are aligned, and hold nothing after they were freed; libcrypto lives in it. */
#include "tls/secure_heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"

static bool refuse_lock;
int __real_mlock(const void *p, size_t n);
int __wrap_mlock(const void *p, size_t n);
int __wrap_mlock(const void *p, size_t n) {
    if (!refuse_lock)
        return 0; /* as if there were no limit */
    errno = ENOMEM;
    return -1;
}

/* First of all: afterwards libcrypto has allocated. */
static void takes_libcryptos_memory(void **state) {
    (void)state;
    assert_int_equal(secure_heap_begin(), 0);
    size_t before = secure_heap_held();
    assert_true(before > 0);
    void *p = OPENSSL_malloc(1000000), *q = OPENSSL_secure_malloc(1000000);
    assert_true(p && q && secure_heap_held() >= before + 2000000);
    OPENSSL_free(p);
    OPENSSL_secure_free(q);
    assert_int_equal(secure_heap_held(), before);
    assert_int_equal(secure_heap_unlocked(), 0);
}

static void every_size(void **state) {
    (void)state;
    static uint8_t *blocks[4000];
    for (size_t n = 0; n < 4000; n++) {
        blocks[n] = secure_heap_alloc(n * 11);
        assert_non_null(blocks[n]);
        assert_int_equal((uintptr_t)blocks[n] % 16, 0);
        memset(blocks[n], (int)(n % 251), n * 11);
    }
    for (size_t n = 0; n < 4000; n++)
        for (size_t i = 0; i < n * 11; i++)
            if (blocks[n][i] != n % 251)
                fail_msg("block of %zu bytes was written over at %zu", n * 11, i);
    size_t held = secure_heap_held();
    for (size_t n = 0; n < 4000; n++)
        secure_heap_free(blocks[n]);
    assert_true(secure_heap_held() < held); /* the large ones are gone */
    secure_heap_free(NULL);
}

static void wiped_when_freed_and_used_again(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 32, 33, 100, 5000, 32768};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t *p = secure_heap_alloc(sizes[i]);
        memset(p, 0xee, sizes[i]);
        secure_heap_free(p);
        for (size_t k = 0; k < sizes[i]; k++) /* its pages stay mapped */
            assert_int_equal(p[k], 0);
        assert_ptr_equal(secure_heap_alloc(sizes[i]), p);
        secure_heap_free(p);
    }
}

static void grows_and_shrinks(void **state) {
    (void)state;
    uint8_t *p = OPENSSL_malloc(10);
    memset(p, 7, 10);
    p = OPENSSL_realloc(p, 100000);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(p[i], 7);
    memset(p, 8, 100000);
    p = OPENSSL_realloc(p, 20);
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(p[i], 8);
    OPENSSL_free(p);
    p = OPENSSL_realloc(NULL, 5);
    assert_non_null(p);
    OPENSSL_free(p);
}

static void impossible_sizes(void **state) {
    (void)state;
    size_t huge = SIZE_MAX;
    assert_null(secure_heap_alloc(huge));
    assert_null(secure_heap_alloc(huge / 2));
    assert_null(secure_heap_alloc(huge / 4));
}

static void goes_on_without_locking(void **state) {
    (void)state;
    refuse_lock = true;
    void *p = secure_heap_alloc(1000000);
    assert_non_null(p);
    assert_true(secure_heap_unlocked() >= 1000000);
    secure_heap_free(p);
    assert_int_equal(secure_heap_unlocked(), 0);
    refuse_lock = false;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_libcryptos_memory),
        cmocka_unit_test(every_size),
        cmocka_unit_test(wiped_when_freed_and_used_again),
        cmocka_unit_test(grows_and_shrinks),
        cmocka_unit_test(impossible_sizes),
        cmocka_unit_test(goes_on_without_locking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
