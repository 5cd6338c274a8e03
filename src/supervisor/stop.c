#include "supervisor/stop.h"

#include "base/clock.h"
#include "supervisor/commands.h"
#include "supervisor/helper.h"
#include "supervisor/notify.h"
#include "supervisor/publish.h"
#include "supervisor/super.h"
#include "supervisor/worker.h"

#define STOP_ANSWER_MS 1000 /* for those that miss the deadline */

static uint64_t drain_left(const struct super *s) {
    return s->stop.until_ms > s->loop.now_ms ? s->stop.until_ms - s->loop.now_ms : 0;
}

static void drain_role(struct super *s, enum role role) {
    for (struct worker *w = NULL; (w = worker_next(s, w));) {
        if (w->role != role || w->gen == s->next)
            continue;
        if (!worker_runs(w)) {
            wheel_cancel(&s->loop.wheel, &w->timer); /* no more restarts */
            continue;
        }
        w->stopping = true;
        if (w->state == CHILD_DRAINED)
            w->state = CHILD_READY; /* it is asked once more */
        if (control_send_drain(w->control, &(struct control_drain){s->lifecycle.how, drain_left(s)}) < 0)
            worker_stop(s, w);
    }
}

static void stop_roles(struct super *s, bool last) {
    for (struct worker *w = NULL; (w = worker_next(s, w));)
        if (worker_is_last(w) == last)
            worker_stop(s, w);
}

void stop_others(struct super *s) {
    creds_reload_cancel(s);
    for (unsigned kind = 0; kind < HELPERS; kind++)
        helper_end(s, (enum helper_kind)kind); /* whatever they were at, nobody waits for it any more */
    wheel_cancel(&s->loop.wheel, &s->stop.timer);
    stop_roles(s, false);
}

void stop_announce(struct super *s) {
    uint64_t delay_ms = MIN(s->lifecycle.delay_ms, UINT32_MAX);
    s->proctab.drain_until_ms = clock_wall_us() / 1000 + delay_ms + MIN(s->lifecycle.patient_ms, UINT32_MAX);
    s->dirty = true;
    log_msg(&s->log, LOG_LEVEL_INFO, "draining in %llu ms: not ready, and still serving", (unsigned long long)delay_ms);
    wheel_arm(&s->loop.wheel, &s->stop.timer, s->loop.now_ms + delay_ms);
}

void stop_begin(struct super *s) {
    uint64_t ms = s->lifecycle.stop_ms;
    s->stop.until_ms = s->loop.now_ms + (ms == CONF_NEVER ? UINT32_MAX : MIN(ms, UINT32_MAX));
    s->proctab.drain_until_ms = clock_wall_us() / 1000 + drain_left(s);
    s->dirty = true;
    creds_reload_cancel(s);
    notify("STOPPING=1\nSTATUS=stopping\n" NOTIFY_EXTEND);
    log_msg(&s->log, LOG_LEVEL_INFO,
            s->lifecycle.how == DRAIN_PATIENT ? "draining: no new sessions; those there are have %llu ms to end"
                                              : "stopping: sessions may finish what is in flight for %llu ms",
            (unsigned long long)drain_left(s));
    /* relays and handshakers enforce the deadline themselves; this timer is for those that do not answer */
    wheel_arm(&s->loop.wheel, &s->stop.timer, s->stop.until_ms + STOP_ANSWER_MS);
    listeners_keep(&s->listeners, &s->log, NULL);
    drain_role(s, ROLE_HANDSHAKER);
    if (!s->previous) /* else they still get sessions of the old ones */
        drain_role(s, ROLE_RELAY);
}

void stop_drain_relays(struct super *s) {
    drain_role(s, ROLE_RELAY);
}

static void report_stopped(struct super *s) {
    char line[96];
    struct text t = text_of(line, sizeof(line));
    text_addf(&t, "%llu sessions were cut", (unsigned long long)s->proctab.cut);
    log_msg(&s->log, LOG_LEVEL_INFO, "stopped: %s", line);
    command_end(s, COMMAND_DRAIN, PROCTAB_DONE, line);
    command_end(s, COMMAND_STOP, PROCTAB_DONE, line);
    command_end(s, COMMAND_RELOAD, PROCTAB_REFUSED, "the proxy has stopped");
    publish_proctab(s);
}

void stop_observer(struct super *s) {
    report_stopped(s);
    stop_roles(s, true);
}
