#include "supervisor/worker.h"

#include <signal.h>
#include <sys/epoll.h>

#include "supervisor/super.h"

#define STOP_GRACE_MS 2000 /* between STOP and SIGKILL */

/* A worker's key in the event loop. */
static uint32_t loop_key(const struct super *s, const struct worker *w) {
    return (uint32_t)(w->gen - s->gens) << 16 | (uint32_t)(w - w->gen->workers);
}

struct worker *worker_next(struct super *s, struct worker *w) {
    const struct generation *first = &s->gens[0];
    if (w && w + 1 < w->gen->workers + w->gen->nworkers)
        return w + 1;
    for (const struct generation *g = w ? w->gen + 1 : first; g < s->gens + ARRAY_LEN(s->gens); g++)
        if (g->nworkers)
            return g->workers;
    return NULL;
}

struct worker *worker_of_event(struct super *s, uint32_t key, uint32_t gen) {
    struct generation *g = &s->gens[key >> 16];
    struct worker *w = (key & 0xffff) < g->nworkers ? &g->workers[key & 0xffff] : NULL;
    return w && w->control >= 0 && LOOP_GEN(w->tag) == gen ? w : NULL;
}

static uint32_t events_of(const struct worker *w) {
    return keys_wait(&w->keys) ? EPOLLIN | EPOLLOUT : EPOLLIN;
}

int worker_watch(struct super *s, struct worker *w) {
    return loop_rewatch(&s->loop, w->control, events_of(w), SUPER_CHILD, loop_key(s, w), LOOP_GEN(w->tag));
}

int worker_attach(struct super *s, struct worker *w) {
    return loop_watch(&s->loop, w->control, events_of(w), SUPER_CHILD, loop_key(s, w), LOOP_GEN(w->tag));
}

void worker_kill(struct worker *w) {
    if (worker_runs(w))
        (void)kill(w->pid, SIGKILL); /* one that has ended is reaped */
}

void worker_stop(struct super *s, struct worker *w) {
    if (!worker_runs(w)) {
        wheel_cancel(&s->loop.wheel, &w->timer);
        return;
    }
    if (w->stopping && wtimer_armed(&w->timer))
        return;
    w->stopping = true;
    s->dirty = true;
    wheel_arm(&s->loop.wheel, &w->timer, s->loop.now_ms + STOP_GRACE_MS);
    if (control_send(w->control, CONTROL_STOP) < 0)
        worker_kill(w);
}

void worker_count_cut(struct super *s, struct worker *w, uint64_t cut) {
    s->proctab.cut += cut - MIN(cut, w->cut);
    w->cut = cut;
}
