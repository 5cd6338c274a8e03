#include "acme/ca_backoff.h"

#include "base/backoff.h"

#define FIRST_S 60

void ca_backoff_begin(struct ca_backoff *b, uint64_t now_ms, int64_t retry_after) {
    bool within = ca_backoff_is_on(b, now_ms);
    if (!within)
        b->pause_s = backoff_next(b->pause_s, FIRST_S, CA_BACKOFF_MAX_S);
    int64_t own = within ? 0 : b->pause_s;
    int64_t wait_s = MIN(MAX(own, retry_after), CA_BACKOFF_MAX_S);
    b->until_ms = MAX(b->until_ms, now_ms + (uint64_t)MAX(wait_s, 0) * 1000);
}

void ca_backoff_end(struct ca_backoff *b) {
    *b = (struct ca_backoff){.pause_s = 0};
}

bool ca_backoff_is_on(const struct ca_backoff *b, uint64_t now_ms) {
    return now_ms < b->until_ms;
}

bool ca_backoff_tries_one(const struct ca_backoff *b) {
    return b->pause_s > 0;
}
