/*
 * Random bytes from the kernel. For names, choices, seeds, and what of TLS everybody sees: server randoms, the salts of
 * tickets. Private keys come from libcrypto.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Fills from getrandom(2); waits for the kernel's pool at early boot; aborts when there is no such call. */
void rand_bytes(void *to, size_t n);

/*
 * From a small buffer refilled by rand_bytes(): one system call for many numbers. A forked child would repeat its parent's
 * numbers; ours always exec.
 */
uint64_t rand_u64(void);
