/* Lines about what can happen at any rate: the first at once, then one in a time, which counts those without a line. */
#pragma once

#include <stdint.h>

#define LOG_PAUSE_MS 10000

/* Zero: nothing has happened yet. */
struct log_pause {
    uint64_t next_ms; /* no line before then */
    uint32_t silent;  /* happened since the last line */
};

/* It happened at NOW_MS: how often since the last line, this time included, where a line is due, else 0; the next is due
 * EACH_MS later. */
static inline uint32_t log_pause_over_each(struct log_pause *p, uint64_t now_ms, uint64_t each_ms) {
    uint32_t times = p->silent + (p->silent < UINT32_MAX);
    if (now_ms < p->next_ms) {
        p->silent = times;
        return 0;
    }
    *p = (struct log_pause){.next_ms = now_ms + each_ms};
    return times;
}

/* One in ten seconds. */
static inline uint32_t log_pause_over(struct log_pause *p, uint64_t now_ms) {
    return log_pause_over_each(p, now_ms, LOG_PAUSE_MS);
}
