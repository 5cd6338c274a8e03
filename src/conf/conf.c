#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>

/* One allocation of the arena; freed all together. */
struct conf_arena {
    struct conf_arena *next;
    max_align_t data[];
};

void *conf_alloc(struct conf *c, size_t n) {
    struct conf_arena *a = calloc(1, sizeof(*a) + n);
    MUST(a);
    a->next = c->arena;
    c->arena = a;
    return a->data;
}

const char *conf_strdup(struct conf *c, const char *s) {
    size_t n = strlen(s) + 1;
    return memcpy(conf_alloc(c, n), s, n);
}

struct conf *conf_new(void) {
    struct conf *c = calloc(1, sizeof(*c));
    MUST(c);
    return c;
}

void conf_free(struct conf *c) {
    if (!c)
        return;
    while (c->arena) {
        struct conf_arena *next = c->arena->next;
        free(c->arena);
        c->arena = next;
    }
    free(c);
}
