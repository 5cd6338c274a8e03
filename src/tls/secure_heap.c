/*
 * Blocks of a few sizes, each with a free list, cut from chunks of pages. A block knows its size; chunks are never given back,
 * large blocks are pages of their own.
 */
#include "tls/secure_heap.h"

#include <openssl/crypto.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/err.h"
#include "base/secret.h"
#include "tls/libcrypto.h"

#define CHUNK     ((size_t)256 * 1024)
#define CLASS_MAX ((size_t)32 * 1024)
#define CLASSES   32
#define ALIGN     16

#define STACK_DEPTH ((size_t)16 * 1024) /* libcrypto goes some 6 KB deep for a signature */

/* In front of every block; as long as the alignment that malloc() promises. */
struct heap_block {
    size_t cap; /* bytes behind this header */
    union {
        struct heap_block *next; /* while free */
        bool locked;             /* of a large one, while in use */
    };
};
_Static_assert(sizeof(struct heap_block) % ALIGN == 0, "what follows is aligned");

static struct {
    struct heap_block *unused[CLASSES];
    uint8_t *at; /* the rest of the present chunk */
    size_t left;
    size_t held, unlocked;
} secure_heap;

/* Two classes to each doubling: 32, 48, 64, 96, 128, ... */
static size_t class_size(unsigned i) {
    return (size_t)(i % 2 ? 48 : 32) << i / 2;
}

static unsigned class_of(size_t n) {
    unsigned i = 0;
    while (class_size(i) < n)
        i++;
    return i;
}

static void *pages(size_t n, bool *ret_locked) {
    void *p = secret_alloc(n, ret_locked);
    if (p) {
        secure_heap.held += n;
        secure_heap.unlocked += *ret_locked ? 0 : n;
    }
    return p;
}

static struct heap_block *carve_block(size_t cap) {
    size_t n = sizeof(struct heap_block) + cap;
    if (secure_heap.left < n) { /* the old rest is lost: less than one block of the largest class */
        bool locked = false;
        uint8_t *chunk = pages(CHUNK, &locked);
        if (!chunk)
            return NULL;
        secure_heap.at = chunk;
        secure_heap.left = CHUNK;
    }
    union {
        uint8_t *bytes;
        struct heap_block *block;
    } u = {secure_heap.at};
    secure_heap.at += n;
    secure_heap.left -= n;
    return u.block;
}

void *secure_heap_alloc(size_t n) {
    struct heap_block *b;
    if (n > SIZE_MAX / 2)
        return NULL;
    if (n > CLASS_MAX) {
        bool locked = false;
        b = pages(sizeof(*b) + n, &locked);
        if (!b)
            return NULL;
        b->cap = n;
        b->locked = locked;
        return b + 1;
    }
    unsigned i = class_of(n);
    b = secure_heap.unused[i];
    if (b)
        secure_heap.unused[i] = b->next;
    else
        b = carve_block(class_size(i));
    if (!b)
        return NULL;
    b->cap = class_size(i);
    b->next = NULL;
    return b + 1;
}

void secure_heap_free(void *p) {
    if (!p)
        return;
    struct heap_block *b = (struct heap_block *)p - 1;
    if (b->cap > CLASS_MAX) {
        size_t n = sizeof(*b) + b->cap;
        secure_heap.held -= n;
        secure_heap.unlocked -= b->locked ? 0 : n;
        secret_free(b, n);
        return;
    }
    unsigned i = class_of(b->cap);
    secret_wipe(p, b->cap);
    b->next = secure_heap.unused[i];
    secure_heap.unused[i] = b;
}

static void *secure_heap_realloc(void *p, size_t n) {
    if (!p)
        return secure_heap_alloc(n);
    size_t cap = ((struct heap_block *)p - 1)->cap;
    if (n <= cap && n > cap / 4)
        return p;
    void *to = secure_heap_alloc(n);
    if (!to)
        return NULL;
    memcpy(to, p, MIN(n, cap));
    secure_heap_free(p);
    return to;
}

static void *for_crypto(size_t n, const char *file, int line) {
    (void)file, (void)line;
    return secure_heap_alloc(n);
}

static void *again_for_crypto(void *p, size_t n, const char *file, int line) {
    (void)file, (void)line;
    if (n)
        return secure_heap_realloc(p, n);
    secure_heap_free(p);
    return NULL;
}

static void from_crypto(void *p, const char *file, int line) {
    (void)file, (void)line;
    secure_heap_free(p);
}

int secure_heap_begin(void) {
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return ERR_SYSTEM;
    void *first = secure_heap_alloc(1);
    if (!first)
        return ERR_NOMEM;
    secure_heap_free(first);
    bool ours = CRYPTO_set_mem_functions(for_crypto, again_for_crypto, from_crypto) == 1;
    return ours && libcrypto_begin() ? 0 : ERR_CRYPTO;
}

__attribute__((noinline)) void secure_heap_wipe_stack(void) {
    uint8_t depth[STACK_DEPTH];
    secret_wipe(depth, sizeof(depth));
}

size_t secure_heap_held(void) {
    return secure_heap.held;
}

size_t secure_heap_unlocked(void) {
    return secure_heap.unlocked;
}
