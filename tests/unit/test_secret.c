/* Memory for keys: its flags as the kernel reports them, failures of mapping and locking, and the wipe before it goes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/secret.h"

/* AddressSanitizer makes mlock() do nothing. */
#if defined(__SANITIZE_ADDRESS__)
#define LOCKS_ARE_REAL 0
#elif defined(__has_feature)
#define LOCKS_ARE_REAL !__has_feature(address_sanitizer)
#else
#define LOCKS_ARE_REAL 1
#endif

static bool fail_mmap, fail_mlock;
static unsigned fail_madvise; /* the n-th call, from 1; 0 = none */
static unsigned madvise_calls;
static unsigned unmapped;
static bool unmapped_clean;

/* What mmap() is called where off_t has 64 bits by the compiler's flags. */
void *__real_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t off);
void *__wrap_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t off);
int __real_mlock(const void *p, size_t n);
int __wrap_mlock(const void *p, size_t n);
int __real_madvise(void *p, size_t n, int advice);
int __wrap_madvise(void *p, size_t n, int advice);
int __real_munmap(void *p, size_t n);
int __wrap_munmap(void *p, size_t n);

void *__wrap_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t off) {
    if (!fail_mmap)
        return __real_mmap64(at, n, prot, flags, fd, off);
    errno = ENOMEM;
    return MAP_FAILED;
}

int __wrap_mlock(const void *p, size_t n) {
    if (!fail_mlock)
        return __real_mlock(p, n);
    errno = EPERM;
    return -1;
}

int __wrap_madvise(void *p, size_t n, int advice) {
    if (++madvise_calls != fail_madvise)
        return __real_madvise(p, n, advice);
    errno = EINVAL;
    return -1;
}

int __wrap_munmap(void *p, size_t n) {
    const uint8_t *bytes = p;
    unmapped++;
    for (size_t i = 0; i < n; i++)
        unmapped_clean = unmapped_clean && bytes[i] == 0;
    return __real_munmap(p, n);
}

static int reset(void **state) {
    fail_mmap = fail_mlock = false;
    fail_madvise = madvise_calls = unmapped = 0;
    unmapped_clean = true;
    return 0;
}

/* Whether the mapping that holds P has the flag of two letters (proc(5), VmFlags); -1 when the kernel does not report it. */
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

static void pages_are_zero_and_writable(void **state) {
    uint8_t *p = secret_alloc(5000, NULL);
    assert_non_null(p);
    for (size_t i = 0; i < 5000; i++)
        assert_int_equal(p[i], 0);
    memset(p, 0xaa, 5000);
    secret_free(p, 5000);
    assert_int_equal(unmapped, 1);
    assert_true(unmapped_clean);
}

static void nothing_still_gives_a_page(void **state) {
    uint8_t *p = secret_alloc(0, NULL);
    assert_non_null(p);
    secret_free(p, 0);
    secret_free(NULL, 100);
    assert_int_equal(unmapped, 1);
}

static void pages_stay_out_of_dumps_and_children(void **state) {
    bool locked = false;
    uint8_t *p = secret_alloc(100, &locked);
    assert_non_null(p);
    if (has_flag(p, " dd") < 0) {
        secret_free(p, 100);
        skip();
    }
    assert_int_equal(has_flag(p, " dd"), 1);
    assert_int_equal(has_flag(p, " dc"), 1);
    if (LOCKS_ARE_REAL && locked)
        assert_int_equal(has_flag(p, " lo"), 1);
    secret_free(p, 100);
}

static void a_refused_lock_is_reported_and_survived(void **state) {
    bool locked = true;
    fail_mlock = true;
    uint8_t *p = secret_alloc(100, &locked);
    assert_non_null(p);
    assert_false(locked);
    p[99] = 1;
    secret_free(p, 100);
    p = secret_alloc(100, NULL);
    assert_non_null(p);
    secret_free(p, 100);
}

static void no_memory_gives_null(void **state) {
    bool locked = true;
    fail_mmap = true;
    assert_null(secret_alloc(100, &locked));
    assert_true(locked); /* outputs only on success */
    fail_mmap = false;
    assert_null(secret_alloc(SIZE_MAX, NULL));
    assert_null(secret_alloc(SIZE_MAX - 4096, NULL));
}

static void pages_that_could_be_dumped_are_not_given_out(void **state) {
    for (unsigned n = 1; n <= 2; n++) {
        reset(NULL);
        fail_madvise = n;
        assert_null(secret_alloc(100, NULL));
        assert_int_equal(unmapped, 1);
    }
}

static void wiping(void **state) {
    uint8_t a[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    secret_wipe(a + 1, 6);
    assert_memory_equal(a, ((uint8_t[8]){1, 0, 0, 0, 0, 0, 0, 8}), 8);
    secret_wipe(a, 0);
    secret_wipe(NULL, 0);
    assert_int_equal(a[0], 1);
}

static void comparing(void **state) {
    uint8_t a[40] = {0}, b[40] = {0};
    assert_true(secret_eq(a, b, 0));
    assert_true(secret_eq(NULL, NULL, 0));
    assert_true(secret_eq(a, b, 40));
    for (size_t i = 0; i < 40; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            b[i] = (uint8_t)(1u << bit);
            assert_false(secret_eq(a, b, 40));
            assert_true(secret_eq(a, b, i));
            b[i] = 0;
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(pages_are_zero_and_writable, reset),
        cmocka_unit_test_setup(nothing_still_gives_a_page, reset),
        cmocka_unit_test_setup(pages_stay_out_of_dumps_and_children, reset),
        cmocka_unit_test_setup(a_refused_lock_is_reported_and_survived, reset),
        cmocka_unit_test_setup(no_memory_gives_null, reset),
        cmocka_unit_test_setup(pages_that_could_be_dumped_are_not_given_out, reset),
        cmocka_unit_test_setup(wiping, reset),
        cmocka_unit_test_setup(comparing, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
