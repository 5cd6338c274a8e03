/*
 * Memory that is written once and then read by other processes: a memfd whose seals promise that it neither changes nor
 * shrinks under a mapping.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"

/* LEN zeroed bytes at *RET, mapped for writing, until sealed_end(). ERR_SYSTEM (errno). */
MUST_CHECK int sealed_begin(const char *name, size_t len, int *ret_fd, uint8_t **ret);

/* Unmaps and seals; FD is closed when that fails. ERR_SYSTEM (errno). */
MUST_CHECK int sealed_end(int fd, uint8_t *p, size_t len);

/* Both at once, with a copy of BYTES. ERR_SYSTEM (errno), for want of memory, too. */
MUST_CHECK int sealed_copy(const char *name, struct span bytes, int *ret_fd);

/* Maps all of FD for reading, MIN to MAX bytes; FD stays the caller's. ERR_FORMAT (not sealed, or too short or long),
 * ERR_SYSTEM. */
MUST_CHECK int sealed_map(int fd, size_t min, size_t max, struct span *ret);
void sealed_unmap(struct span mapped);
