/*
 * Shared memory with least rights. What may be written is decided by the descriptor it was mapped from: a mapping of one that
 * was opened for reading can never be made writable again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/defs.h"
#include "base/span.h"

/* LEN bytes that begin with HEAD, for as long as they are: nobody can cut them under a reader's feet. ERR_SYSTEM (errno). */
MUST_CHECK int shared_create(const char *name, size_t len, struct span head, int *ret_fd);

/* Such memory of somebody else's, MIN to MAX bytes. ERR_FORMAT: it is not; ERR_SYSTEM. */
MUST_CHECK int shared_check(int fd, size_t min, size_t max, size_t *ret_len);

/* The memory behind FD, opened once more and for reading only. -1 (errno). */
MUST_CHECK int shared_reader(int fd);

/* LEN bytes from OFF of FD, all to be read. NULL (errno). */
void *shared_map(int fd, size_t off, size_t len);

/* Makes LEN bytes of such a mapping, which begin at AT and at OFF of FD, writable: both whole pages. */
MUST_CHECK bool shared_make_writable(void *at, int fd, size_t off, size_t len);
