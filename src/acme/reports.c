#include "acme/reports.h"

#include <stdlib.h>
#include <string.h>

#include "base/defs.h"

#define AGAIN_MS 10 /* until the observer has read some */

static void send_marked(void *ctx) {
    struct reports *r = ctx;
    for (size_t i = 0; i < r->n; i++) {
        size_t item = (r->at + i) % r->n;
        if (r->marked[item] && !r->send(r->ctx, item)) {
            r->at = item;
            alarm_clock_set(&r->again, AGAIN_MS);
            return;
        }
        r->marked[item] = 0;
    }
}

void reports_init(struct reports *r, struct loop *loop, size_t n, bool (*send)(void *ctx, size_t item), void *ctx) {
    *r = (struct reports){.marked = calloc(n + 1, 1), .n = n, .send = send, .ctx = ctx};
    r->again = (struct alarm_clock){.loop = loop, .fn = send_marked, .ctx = r};
    MUST(r->marked);
}

void reports_mark(struct reports *r, size_t item) {
    bool waits = wtimer_armed(&r->again.timer);
    r->marked[item] = 1;
    if (!waits && r->send(r->ctx, item))
        r->marked[item] = 0;
    else if (!waits)
        alarm_clock_set(&r->again, AGAIN_MS);
}

void reports_mark_all(struct reports *r) {
    memset(r->marked, 1, r->n);
    send_marked(r);
}
