/* Pages for keys. Locking is best effort (the limit may forbid it); keeping keys out of core dumps and of children is not. */
#include "base/secret.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/defs.h"

void secret_wipe(void *p, size_t n) {
    if (n)
        explicit_bzero(p, n);
}

/* Whole pages for N bytes, at least one; 0 when there is no such number. */
static size_t page_span(size_t n) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (n > SIZE_MAX - page)
        return 0;
    return (MAX(n, 1) + page - 1) / page * page;
}

void *secret_alloc(size_t n, bool *ret_locked) {
    size_t len = page_span(n);
    if (!len)
        return NULL;
    void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (madvise(p, len, MADV_DONTDUMP) != 0 || madvise(p, len, MADV_DONTFORK) != 0) {
        (void)munmap(p, len); /* a fresh mapping of ours: nothing to be done about a failure */
        return NULL;
    }
    bool locked = mlock(p, len) == 0;
    if (ret_locked)
        *ret_locked = locked;
    return p;
}

void secret_free(void *p, size_t n) {
    if (!p)
        return;
    secret_wipe(p, n);
    MUST(munmap(p, page_span(n)) == 0);
}

bool secret_eq(const void *a, const void *b, size_t n) {
    const volatile uint8_t *x = a;
    const volatile uint8_t *y = b;
    uint8_t differ = 0;
    for (size_t i = 0; i < n; i++)
        differ = (uint8_t)(differ | (x[i] ^ y[i]));
    return differ == 0;
}
