/*
 * What the observer is still to be sent: items are marked, and sent as far as its queue has room; the rest follows. A thousand
 * that change at once are more than a queue holds.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alarm_clock.h"

struct reports {
    uint8_t *marked; /* one an item, owned */
    size_t n, at;    /* AT: where sending goes on, so that all have their turn */
    struct alarm_clock again;
    /* The item as it stands now. False: there is no room. */
    bool (*send)(void *ctx, size_t item);
    void *ctx;
};

/* N items, none marked. Memory runs out at a start alone, which ends it. */
void reports_init(struct reports *r, struct loop *loop, size_t n, bool (*send)(void *ctx, size_t item), void *ctx);

/* Sent at once when there is room. */
void reports_mark(struct reports *r, size_t item);
void reports_mark_all(struct reports *r);
