/* A growable run of bytes. Grown by copying and wiping, never by realloc(), so no copy of the bytes stays in the heap. */
#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/secret.h"

#define BUF_MIN 256

void buf_init(struct buf *b, size_t max) {
    *b = (struct buf){.max = max};
}

void buf_fini(struct buf *b) {
    if (b->p)
        secret_wipe(b->p, b->cap);
    free(b->p);
    buf_init(b, b->max);
}

/* Moves the bytes held to the front of new memory of CAP bytes. */
static bool move_to(struct buf *b, size_t cap) {
    uint8_t *p = malloc(cap);
    if (!p)
        return false;
    size_t held = buf_len(b);
    if (held)
        memcpy(p, b->p + b->off, held);
    size_t max = b->max;
    buf_fini(b);
    *b = (struct buf){.p = p, .len = held, .cap = cap, .max = max};
    return true;
}

static size_t grown_cap(const struct buf *b, size_t need) {
    size_t cap = MAX(b->cap, BUF_MIN);
    while (cap < need)
        cap = cap > b->max / 2 ? b->max : cap * 2;
    return MAX(MIN(cap, b->max), 1);
}

uint8_t *buf_reserve(struct buf *b, size_t n) {
    size_t held = buf_len(b);
    if (n > b->max - held)
        return NULL;
    if (b->p && n <= b->cap - b->len)
        return b->p + b->len;
    if (b->p && held + n <= b->cap) {
        memmove(b->p, b->p + b->off, held);
        b->off = 0;
        b->len = held;
        return b->p + held;
    }
    return move_to(b, grown_cap(b, held + n)) ? b->p + b->len : NULL;
}

void buf_commit(struct buf *b, size_t n) {
    MUST(n <= b->cap - b->len);
    b->len += n;
}

int buf_append(struct buf *b, const void *from, size_t n) {
    if (n == 0)
        return 0;
    if (n > b->max - buf_len(b))
        return ERR_LIMIT;
    uint8_t *room = buf_reserve(b, n);
    if (!room)
        return ERR_NOMEM;
    memcpy(room, from, n);
    buf_commit(b, n);
    return 0;
}

void buf_consume(struct buf *b, size_t n) {
    MUST(n <= buf_len(b));
    b->off += n;
    if (b->off == b->len)
        buf_fini(b);
}

void buf_cut(struct buf *b, size_t n) {
    size_t held = buf_len(b);
    MUST(n <= held);
    if (n == held)
        return;
    secret_wipe(b->p + b->off + n, held - n);
    b->len = b->off + n;
}
