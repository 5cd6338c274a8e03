#include "observer/sampling.h"

#include <stdlib.h>

#include "base/err.h"

#define REASONS (ERR_END_ - ERR_BASE_ - 1)

struct sampling_row {
    uint64_t start_ms;
    uint64_t held;
    uint32_t written; /* 0 = no window is open */
};

static size_t row_count(const struct sampling *s) {
    return (s->services + 1u) * (size_t)REASONS;
}

void sampling_init(struct sampling *s, uint16_t services) {
    *s = (struct sampling){.services = services, .next_ms = UINT64_MAX};
    s->rows = calloc(row_count(s), sizeof(*s->rows));
    MUST(s->rows);
}

void sampling_fini(struct sampling *s) {
    free(s->rows);
    *s = (struct sampling){.next_ms = UINT64_MAX};
}

bool sampling_pass(struct sampling *s, uint16_t service, int reason, uint64_t now_ms) {
    if (!err_known(reason))
        return true;
    size_t at = (size_t)MIN(service, s->services) * REASONS + (size_t)(reason - ERR_BASE_ - 1);
    struct sampling_row *row = &s->rows[at];
    if (row->written == 0) {
        row->start_ms = now_ms;
        s->next_ms = MIN(s->next_ms, now_ms + SAMPLING_WINDOW_MS);
    }
    if (row->written >= SAMPLING_LINES) {
        row->held++;
        return false;
    }
    row->written++;
    return true;
}

static void end_row(struct sampling *s, size_t i, uint64_t now_ms, sampling_fn fn, void *ctx) {
    struct sampling_row *row = &s->rows[i];
    struct sampled out = {.reason = (int)(i % (size_t)REASONS) + ERR_BASE_ + 1, .count = row->held};
    size_t service = i / (size_t)REASONS;
    out.service = service < s->services ? (uint16_t)service : UINT16_MAX;
    out.seconds = (unsigned)((now_ms - row->start_ms + 999) / 1000);
    *row = (struct sampling_row){0};
    if (out.count > 0)
        fn(ctx, &out);
}

/* Walks all rows, which happens at most a few times a window. */
static void end_before(struct sampling *s, uint64_t limit_ms, uint64_t now_ms, sampling_fn fn, void *ctx) {
    uint64_t next_ms = UINT64_MAX;
    for (size_t i = 0; i < row_count(s); i++) {
        if (s->rows[i].written == 0)
            continue;
        uint64_t end_ms = s->rows[i].start_ms + SAMPLING_WINDOW_MS;
        if (end_ms <= limit_ms)
            end_row(s, i, now_ms, fn, ctx);
        else
            next_ms = MIN(next_ms, end_ms);
    }
    s->next_ms = next_ms;
}

void sampling_turn(struct sampling *s, uint64_t now_ms, sampling_fn fn, void *ctx) {
    if (now_ms >= s->next_ms)
        end_before(s, now_ms, now_ms, fn, ctx);
}

void sampling_end(struct sampling *s, uint64_t now_ms, sampling_fn fn, void *ctx) {
    if (s->next_ms != UINT64_MAX)
        end_before(s, UINT64_MAX, now_ms, fn, ctx);
}
