/* Doubly linked lists of embedded nodes. A node that is in no list points at itself, so removing twice is harmless. */
#pragma once

#include <stdbool.h>

#include "base/defs.h"

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *n) {
    n->next = n->prev = n;
}

static inline bool list_empty(const struct list *n) {
    return n->next == n;
}

static inline void list_remove(struct list *n) {
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}

/* Puts a node that is in no list at the end of HEAD. */
static inline void list_push(struct list *head, struct list *n) {
    n->prev = head->prev;
    n->next = head;
    head->prev->next = n;
    head->prev = n;
}

/* Takes the first node, or NULL. */
static inline struct list *list_shift(struct list *head) {
    if (list_empty(head))
        return NULL;
    struct list *n = head->next;
    list_remove(n);
    return n;
}
