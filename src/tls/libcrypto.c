#include "tls/libcrypto.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "base/err.h"
#include "base/secret.h"

/* ---- a heap that wipes ---- */

static void *wiped_malloc(size_t n, const char *file, int line) {
    (void)file, (void)line;
    return n ? malloc(n) : NULL;
}

static void wiped_free(void *p, const char *file, int line) {
    (void)file, (void)line;
    secret_wipe(p, malloc_usable_size(p)); /* of NULL it is 0 */
    free(p);
}

static void *wiped_realloc(void *p, size_t n, const char *file, int line) {
    size_t old = malloc_usable_size(p);
    if (p && n && n <= old && n > old / 4)
        return p;
    void *to = wiped_malloc(n, file, line);
    if (p && to)
        memcpy(to, p, MIN(n, old));
    if (to || !n)
        wiped_free(p, file, line);
    return to;
}

bool libcrypto_wipe_freed(void) {
    return CRYPTO_set_mem_functions(wiped_malloc, wiped_realloc, wiped_free) == 1;
}

/* ---- its beginning, and its faults ---- */

bool libcrypto_begin(void) {
    return OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) == 1;
}

int libcrypto_reason(int err) {
    for (unsigned long e; (e = ERR_get_error());)
        if (err && ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE)
            err = ERR_NOMEM;
    return err;
}
