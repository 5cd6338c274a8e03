/* One child process: start, watch, restart, end. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "supervisor/generation.h"

/* Over all workers of both generations, from NULL to NULL. */
struct worker *worker_next(struct super *s, struct worker *w);

/* Watches its control socket; also after a re-exec. ERR_SYSTEM (errno). */
MUST_CHECK int worker_attach(struct super *s, struct worker *w);

/* Forks and introduces it; it serves after worker_go(). */
MUST_CHECK bool worker_begin(struct super *s, struct worker *w);
void worker_go(struct worker *w);

/* Watches for room in its queue too while keys are to be sent. ERR_SYSTEM (errno). */
MUST_CHECK int worker_watch(struct super *s, struct worker *w);
static inline bool worker_runs(const struct worker *w) {
    return w->state != CHILD_NONE;
}
void worker_stop(struct super *s, struct worker *w);

/* Kills it at once. */
void worker_kill(struct worker *w);

/* CUT sessions of this worker in total have been cut in a stop: a later number replaces an earlier one. */
void worker_count_cut(struct super *s, struct worker *w, uint64_t cut);
void worker_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);
void worker_timer(struct super *s, struct worker *w);

/* Reaps every child that has ended. */
void workers_reap(struct super *s);
