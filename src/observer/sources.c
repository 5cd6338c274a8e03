#include "observer/sources.h"

#include "base/err.h"

#define REPORT_EVERY_MS 1000

static bool is_peer(const struct control_peer *a, const struct control_peer *b) {
    return a->role == b->role && a->index == b->index && a->generation == b->generation;
}

struct source *sources_of(struct sources *s, const struct control_peer *who) {
    for (size_t i = 0; i < s->n; i++)
        if (is_peer(&s->list[i].who, who))
            return &s->list[i];
    if (s->n == SOURCES_MAX)
        return NULL;
    struct source *new = &s->list[s->n++];
    *new = (struct source){.who = *who};
    return new;
}

void sources_drop(struct sources *s, struct source *gone) {
    ring_unmap(&gone->ring);
    *gone = s->list[--s->n];
}

bool source_read(struct source *s, unsigned limit, source_fn fn, void *ctx) {
    uint8_t record[RING_RECORD_MAX];
    struct event e;
    if (!s->ring.shared)
        return false;
    for (; limit > 0; limit--) {
        int len = ring_get(&s->ring, record);
        if (len == 0)
            return false;
        if (len < 0 || event_read(span_of(record, (size_t)len), &e) < 0) {
            s->broken++;
            continue;
        }
        e.role = s->who.role;
        e.index = s->who.index;
        if (!fn(ctx, &e))
            return true;
    }
    return true;
}

uint64_t source_dropped(struct source *s) {
    uint64_t n = s->ring.shared ? ring_dropped(&s->ring) : 0;
    s->dropped += n;
    return n;
}

bool source_losses(struct source *s, uint64_t now_ms, bool now, uint64_t *ret_dropped, uint64_t *ret_broken) {
    if (s->dropped == 0 && s->broken == 0)
        return false;
    if (!log_pause_over_each(&s->loss_log, now_ms, REPORT_EVERY_MS) && !now)
        return false;
    *ret_dropped = s->dropped;
    *ret_broken = s->broken;
    s->dropped = s->broken = 0;
    return true;
}

void sources_fini(struct sources *s) {
    for (size_t i = 0; i < s->n; i++)
        ring_unmap(&s->list[i].ring);
    s->n = 0;
}
