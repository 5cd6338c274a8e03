/*
 * Memory for bytes that wait in a relay: one budget for all sessions, and per flow a chain of blocks leased from it.
 *
 * An idle flow holds nothing. Blocks are as large as what they hold (rounded up), are wiped when they go, and go as soon as
 * their bytes are gone. Bytes once read can always be kept: nothing here refuses them. The owner of the pool looks at
 * pool_over() after each piece of work and ends what holds too much, so the budget is exceeded by one piece of work at the
 * most.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/defs.h"
#include "base/span.h"

struct pool {
    size_t budget; /* bytes, overhead of blocks included */
    size_t limit;  /* the budget, or what is left of more that came from another process */
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

/* More is held than may be: something has to go. */
static inline bool pool_over(const struct pool *p) {
    return p->used > p->limit;
}

/* More than half of the budget is used: time to ask for less at once. */
static inline bool pool_pressed(const struct pool *p) {
    return p->used > p->budget / 2;
}

/* Appends a copy, all or nothing. ERR_NOMEM. */
MUST_CHECK int chain_append(struct pool *p, struct chain *c, struct span bytes);

/* The same for bytes that another process held, within a budget of its own: the limit rises to what they need, and falls again
 * as bytes leave. ERR_NOMEM. */
MUST_CHECK int chain_append_migrated(struct pool *p, struct chain *c, struct span bytes);

/* What its blocks count for in the pool. */
size_t chain_cost(const struct chain *c);

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
