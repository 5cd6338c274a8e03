/*
 * Memory for bytes that wait in a relay: one budget for all sessions, and per flow a chain of blocks leased from it.
 *
 * An idle flow holds nothing. Blocks are as large as what they hold (rounded up), are wiped when they go, and go as soon as
 * their bytes are gone. When the budget is used up chain_append() says ERR_NO_BUFFERS: callers therefore ask pool_room()
 * before they read, so that bytes once read can always be kept.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/defs.h"
#include "base/span.h"

struct pool {
    size_t budget; /* bytes, overhead of blocks included */
    size_t used;
    size_t peak;
};

struct chain_block;

/* A FIFO of bytes. Zero-initialised is empty. */
struct chain {
    struct chain_block *head;
    struct chain_block *tail;
    size_t len; /* bytes waiting */
};

void pool_init(struct pool *p, size_t budget);

/* Bytes that chain_append() can still take, over all chains; 0 when the budget is used up. */
size_t pool_room(const struct pool *p);

/* Appends a copy, all or nothing. ERR_NO_BUFFERS when over the budget, ERR_NOMEM. */
MUST_CHECK int chain_append(struct pool *p, struct chain *c, struct span bytes);

/* The same for bytes that are there already and must be kept, whatever the budget: another process held them. ERR_NOMEM. */
MUST_CHECK int chain_append_over(struct pool *p, struct chain *c, struct span bytes);

/* Fills at most MAX entries with the waiting bytes from the front; returns how many. Valid until the chain changes. */
unsigned chain_iov(const struct chain *c, struct iovec *iov, unsigned max);

/* Copies at most CAP waiting bytes out without consuming them; returns how many. */
size_t chain_peek(const struct chain *c, void *to, size_t cap);

/* The same, beginning behind the first SKIP bytes. */
size_t chain_peek_at(const struct chain *c, size_t skip, void *to, size_t cap);

/* Drops N bytes from the front (MUST be held) and frees emptied blocks. */
void chain_consume(struct pool *p, struct chain *c, size_t n);

/* Wipes and frees all; the chain is empty and usable again. */
void chain_free(struct pool *p, struct chain *c);
