/* The process table: what operators and scripts see of the processes, filled from the supervisor's state. */
#include "supervisor/publish.h"

#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "supervisor/notify.h"
#include "supervisor/super.h"
#include "supervisor/worker.h"

static enum proctab_phase phase_of(const struct super *s) {
    if (s->lifecycle.phase != STOP_NOT)
        return s->lifecycle.how == DRAIN_PATIENT && s->lifecycle.phase <= STOP_RELAYS ? PROCTAB_DRAINING : PROCTAB_STOPPING;
    if (s->lifecycle.announced)
        return PROCTAB_DRAINING;
    if (!s->lifecycle.serving)
        return PROCTAB_STARTING;
    bool moves = s->next || s->previous; /* the end of a start has stages too */
    return moves && s->lifecycle.stage != TRANSITION_NONE && s->lifecycle.stage != TRANSITION_DRY_RUN ? PROCTAB_RELOADING
                                                                                                      : PROCTAB_SERVING;
}

static enum proctab_state worker_state(const struct super *s, const struct worker *w) {
    if (!worker_runs(w))
        return PROCTAB_DOWN;
    if (w->hung)
        return PROCTAB_HUNG;
    if (w->stopping || w->gen == s->previous || w->state == CHILD_DRAINED)
        return PROCTAB_LEAVING;
    return w->state == CHILD_STARTING ? PROCTAB_PREPARING : PROCTAB_READY;
}

static void fill_process(const struct super *s, const struct worker *w, struct proctab_process *p) {
    *p = (struct proctab_process){
        .role = (uint8_t)w->role,
        .state = (uint8_t)worker_state(s, w),
        .index = w->index,
        .generation = w->gen->number,
        .pid = w->pid,
        .cpu = w->cpu,
        .restarts = w->restarts,
        .last_status = w->last_status,
        .started_ms = w->started_wall_ms,
        .last_end_ms = w->last_end_ms,
    };
}

static void fill_binary(struct super *s) {
    struct text binary = text_of(s->proctab.binary, sizeof(s->proctab.binary));
    struct text version = text_of(s->proctab.version, sizeof(s->proctab.version));
    text_add(&binary, s->exe_path);
    text_add(&version, s->now ? s->now->version : TLS_OFF_VERSION);
}

static void fill_processes(struct super *s) {
    struct proctab *r = &s->proctab;
    size_t n = 0;
    r->degraded = 0;
    for (struct worker *w = NULL; n < PROCTAB_PROCESSES && (w = worker_next(s, w));) {
        if (w->gen != s->now && !worker_runs(w)) /* it is not restarted */
            continue;
        fill_process(s, w, &r->processes[n]);
        bool ok = r->processes[n].state == PROCTAB_READY || s->lifecycle.phase != STOP_NOT;
        r->degraded += w->gen == s->now && s->lifecycle.serving && !ok;
        n++;
    }
    memset(&r->processes[n], 0, (PROCTAB_PROCESSES - n) * sizeof(r->processes[0]));
}

/* Notifies the service manager when it changes. */
static void report_degraded(uint32_t before, uint32_t now) {
    char line[96];
    struct text t = text_of(line, sizeof(line));
    if (now == before)
        return;
    if (now)
        text_addf(&t, "STATUS=serving, degraded: %u processes do not serve now", now);
    else
        text_add(&t, "STATUS=serving");
    notify(line);
}

void publish_proctab(struct super *s) {
    uint32_t before = s->proctab.degraded;
    s->dirty = false;
    fill_binary(s);
    fill_processes(s);
    report_degraded(before, s->proctab.degraded);
    s->proctab.phase = phase_of(s);
    s->proctab.generation = s->now ? s->now->number : 0;
    if (s->page.shared)
        proctab_write(&s->page, &s->proctab);
}
