/* The roster: what operators and scripts see of the processes, filled from what the supervisor knows. */
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "supervisor/super.h"

static enum roster_phase phase_of(const struct super *s) {
    if (s->stop.phase != STOP_NOT)
        return s->stop.how == DRAIN_PATIENT && s->stop.phase <= STOP_RELAYS ? ROSTER_DRAINING : ROSTER_STOPPING;
    if (!s->serving)
        return ROSTER_STARTING;
    return s->change.stage == CHANGE_NONE || s->change.stage == CHANGE_REHEARSING ? ROSTER_SERVING : ROSTER_RELOADING;
}

static enum roster_state state_of(const struct super *s, const struct worker *w) {
    if (!worker_runs(w))
        return ROSTER_DOWN;
    if (w->hung)
        return ROSTER_HUNG;
    if (w->stopping || w->gen == s->going || w->state == CHILD_DRAINED)
        return ROSTER_LEAVING;
    return w->state == CHILD_STARTING ? ROSTER_PREPARING : ROSTER_READY;
}

static void show_worker(const struct super *s, const struct worker *w, struct roster_process *p) {
    *p = (struct roster_process){
        .role = (uint8_t)w->role,
        .state = (uint8_t)state_of(s, w),
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

static void show_binary(struct super *s) {
    struct text binary = text_of(s->roster.binary, sizeof(s->roster.binary));
    struct text version = text_of(s->roster.version, sizeof(s->roster.version));
    text_add(&binary, s->exe_path);
    text_add(&version, s->now ? s->now->version : TLS_OFF_VERSION);
}

static void show_processes(struct super *s) {
    struct roster *r = &s->roster;
    size_t n = 0;
    r->degraded = 0;
    for (struct worker *w = NULL; n < ROSTER_PROCESSES && (w = worker_next(s, w));) {
        if (w->gen != s->now && !worker_runs(w)) /* nothing comes after it */
            continue;
        show_worker(s, w, &r->processes[n]);
        bool well = r->processes[n].state == ROSTER_READY || s->stop.phase != STOP_NOT;
        r->degraded += w->gen == s->now && s->serving && !well;
        n++;
    }
    memset(&r->processes[n], 0, (ROSTER_PROCESSES - n) * sizeof(r->processes[0]));
}

/* Said to the service manager when it changes. */
static void tell_degraded(uint32_t before, uint32_t now) {
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

void show(struct super *s) {
    uint32_t before = s->roster.degraded;
    s->dirty = false;
    show_binary(s);
    show_processes(s);
    tell_degraded(before, s->roster.degraded);
    s->roster.phase = phase_of(s);
    s->roster.generation = s->now ? s->now->number : 0;
    if (s->page.shared)
        roster_write(&s->page, &s->roster);
}
