/*
 * A ring of records in shared memory: one writer process, one reader process, no system call on either side.
 *
 * The writer never waits: what does not fit is dropped and counted. The reader trusts nothing in the memory: offsets and
 * lengths are checked at each record, and a ring that makes no sense is reset by the reader (ERR_FORMAT), never followed.
 * It survives the death and restart of either side; a record half written by a writer that died is never seen.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"

#define RING_RECORD_MAX 8192

struct ring_shared;

struct ring {
    struct ring_shared *shared;
    uint32_t size; /* bytes of data, a power of two */
};

/* A sealed-size memfd for a ring of SIZE data bytes (a power of two, 64 KiB to 64 MiB). ERR_SYSTEM (errno). */
MUST_CHECK int ring_create(uint32_t size, int *ret_fd);

/* Maps a ring; the descriptor may be closed afterwards. ERR_FORMAT when it is none, ERR_SYSTEM (errno). */
MUST_CHECK int ring_map(int fd, struct ring *ret);
void ring_unmap(struct ring *r);

/* Puts one record (1 to RING_RECORD_MAX bytes). False, and counted, when there is no room. */
bool ring_put(struct ring *r, struct span record);

/* Takes one record into TO (at least RING_RECORD_MAX). Its length, 0 when empty, ERR_FORMAT when the ring was reset. */
MUST_CHECK int ring_get(struct ring *r, void *to);

/* Records dropped by the writer since the last call of the reader. */
uint64_t ring_dropped(struct ring *r);
