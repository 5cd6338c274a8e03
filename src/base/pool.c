/*
 * Waiting bytes in blocks. The budget counts what a block takes from the heap, not what it holds, so it bounds the memory
 * even when every flow keeps only a few bytes.
 */
#include "base/pool.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/secret.h"

#define BLOCK_ROUND 256
#define BLOCK_FULL  (64 * 1024 + BLOCK_ROUND) /* the largest block, its head included */

struct chain_block {
    struct chain_block *next;
    uint32_t cap;
    uint32_t off; /* bytes held are [off, len) */
    uint32_t len;
    uint8_t bytes[];
};

#define BLOCK_HEAD     offsetof(struct chain_block, bytes)
#define BLOCK_FULL_CAP (BLOCK_FULL - BLOCK_HEAD)

/* What one block for N bytes costs, N being at most BLOCK_FULL_CAP. */
static size_t block_cost(size_t n) {
    return (BLOCK_HEAD + n + BLOCK_ROUND - 1) / BLOCK_ROUND * BLOCK_ROUND;
}

static size_t append_cost(size_t n) {
    size_t rest = n % BLOCK_FULL_CAP;
    return n / BLOCK_FULL_CAP * BLOCK_FULL + (rest ? block_cost(rest) : 0);
}

void pool_init(struct pool *p, size_t budget) {
    *p = (struct pool){.budget = budget, .limit = budget};
}

static void free_block(struct chain_block *b) {
    secret_wipe(b, BLOCK_HEAD + b->len);
    free(b);
}

/* New blocks with room for N bytes in all; NULL when out of memory. */
static struct chain_block *make_blocks(size_t n, struct chain_block **ret_last) {
    struct chain_block *first = NULL, *last = NULL;
    while (n) {
        size_t part = MIN(n, BLOCK_FULL_CAP);
        size_t cost = block_cost(part);
        struct chain_block *b = malloc(cost);
        if (!b)
            goto out;
        *b = (struct chain_block){.cap = (uint32_t)(cost - BLOCK_HEAD)};
        if (last)
            last->next = b;
        else
            first = b;
        last = b;
        n -= part;
    }
    *ret_last = last;
    return first;
out:
    while (first) {
        struct chain_block *next = first->next;
        free_block(first);
        first = next;
    }
    return NULL;
}

/* Fills a block's spare room from the front of BYTES. */
static void fill_block(struct chain_block *b, struct span *bytes) {
    size_t n = MIN(bytes->len, b->cap - b->len);
    if (n == 0)
        return;
    memcpy(b->bytes + b->len, bytes->p, n);
    b->len += (uint32_t)n;
    *bytes = span_of(bytes->p + n, bytes->len - n);
}

int chain_append(struct pool *p, struct chain *c, struct span bytes) {
    size_t spare = c->tail ? c->tail->cap - c->tail->len : 0;
    size_t more = bytes.len > spare ? bytes.len - spare : 0;
    size_t len = c->len + bytes.len;
    struct chain_block *first = NULL, *last = NULL;
    if (more) {
        first = make_blocks(more, &last);
        if (!first)
            return ERR_NOMEM;
    }
    if (c->tail)
        fill_block(c->tail, &bytes);
    for (struct chain_block *b = first; b; b = b->next)
        fill_block(b, &bytes);
    if (first) {
        if (c->tail)
            c->tail->next = first;
        else
            c->head = first;
        c->tail = last;
        p->used += append_cost(more);
        p->peak = MAX(p->peak, p->used);
    }
    c->len = len;
    return 0;
}

int chain_append_migrated(struct pool *p, struct chain *c, struct span bytes) {
    int err = chain_append(p, c, bytes);
    p->limit = MAX(p->limit, p->used);
    return err;
}

size_t chain_cost(const struct chain *c) {
    size_t cost = 0;
    for (const struct chain_block *b = c->head; b; b = b->next)
        cost += BLOCK_HEAD + b->cap;
    return cost;
}

unsigned chain_iov(const struct chain *c, struct iovec *iov, unsigned max) {
    unsigned n = 0;
    for (struct chain_block *b = c->head; b && n < max; b = b->next)
        iov[n++] = (struct iovec){b->bytes + b->off, b->len - b->off};
    return n;
}

size_t chain_peek_at(const struct chain *c, size_t skip, void *to, size_t cap) {
    size_t done = 0;
    for (const struct chain_block *b = c->head; b && done < cap; b = b->next) {
        size_t held = b->len - b->off, past = MIN(skip, held);
        size_t n = MIN(held - past, cap - done);
        skip -= past;
        memcpy((uint8_t *)to + done, b->bytes + b->off + past, n);
        done += n;
    }
    return done;
}

size_t chain_peek(const struct chain *c, void *to, size_t cap) {
    return chain_peek_at(c, 0, to, cap);
}

void chain_consume(struct pool *p, struct chain *c, size_t n) {
    MUST(n <= c->len);
    c->len -= n;
    while (c->head) {
        struct chain_block *b = c->head;
        size_t part = MIN(n, (size_t)(b->len - b->off));
        b->off += (uint32_t)part;
        n -= part;
        if (b->off < b->len)
            return;
        c->head = b->next;
        p->used -= BLOCK_HEAD + b->cap;
        p->limit = MAX(p->budget, MIN(p->limit, p->used));
        free_block(b);
    }
    c->tail = NULL;
}

void chain_free(struct pool *p, struct chain *c) {
    chain_consume(p, c, c->len);
}
