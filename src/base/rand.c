/* Random bytes from the kernel, and a small buffer in front for single numbers. */
#include "base/rand.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/defs.h"
#include "base/secret.h"

void rand_bytes(void *to, size_t n) {
    uint8_t *p = to;
    while (n) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0) {
            MUST(errno == EINTR);
            continue;
        }
        p += got;
        n -= (size_t)got;
    }
}

uint64_t rand_u64(void) {
    static uint64_t stock[32];
    static size_t left;
    if (left == 0) {
        rand_bytes(stock, sizeof(stock));
        left = ARRAY_LEN(stock);
    }
    uint64_t v = stock[--left];
    secret_wipe(&stock[left], sizeof(stock[left]));
    return v;
}
