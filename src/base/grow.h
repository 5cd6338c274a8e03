/* An array that grows, up to a bound: records of one size, in the order they came. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct grow {
    uint8_t *p;
    size_t size, n, cap; /* bytes of a record; records there, records there is room for */
    size_t max;          /* bytes of all */
};

void grow_init(struct grow *g, size_t size, size_t max);
void grow_fini(struct grow *g);

/* Valid until something is added. */
static inline void *grow_at(const struct grow *g, size_t i) {
    return g->p + i * g->size;
}

/* N more records, zeroed: the first of them. NULL when out of memory or over the bound; the others stay. */
void *grow_add(struct grow *g, size_t n);
