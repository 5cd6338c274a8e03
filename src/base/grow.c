#include "base/grow.h"

#include <stdlib.h>
#include <string.h>

#include "base/defs.h"

void grow_init(struct grow *g, size_t size, size_t max) {
    *g = (struct grow){.size = size, .max = max};
}

void grow_fini(struct grow *g) {
    free(g->p);
    g->p = NULL;
    g->n = g->cap = 0;
}

void *grow_add(struct grow *g, size_t n) {
    if (n > g->max / g->size - g->n)
        return NULL;
    if (g->n + n > g->cap) {
        size_t cap = MAX(g->n + n, MAX(2 * g->cap, (size_t)16));
        uint8_t *p = reallocarray(g->p, cap, g->size);
        if (!p)
            return NULL;
        g->p = p;
        g->cap = cap;
    }
    void *first = grow_at(g, g->n);
    memset(first, 0, n * g->size);
    g->n += n;
    return first;
}
