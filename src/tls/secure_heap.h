/*
 * The heap of a process that holds private keys: libcrypto's own (CRYPTO_set_mem_functions). Everything that libcrypto
 * allocates here, keys, their parts inside Montgomery contexts and scratch numbers alike, lies in pages that are locked as far
 * as the limit allows and excluded from core dumps, and is wiped when it is freed. One thread only.
 */
#pragma once

#include <stddef.h>

#include "base/defs.h"

/*
 * No core dumps from here on, this heap for libcrypto, and its first call. ERR_CRYPTO when it has been called before, or cannot
 * be used; ERR_NOMEM, ERR_SYSTEM.
 */
MUST_CHECK int secure_heap_begin(void);

void *secure_heap_alloc(size_t n); /* NULL when out of memory; not zeroed */
void secure_heap_free(void *p);    /* wipes; NULL is fine */

/* Wipes what calls from here have left on the stack: libcrypto works with secret numbers there. */
void secure_heap_wipe_stack(void);

/* Bytes held in pages, and how many of those the system would not lock. */
size_t secure_heap_held(void);
size_t secure_heap_unlocked(void);
