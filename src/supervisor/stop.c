/*
 * The ordered stop: handshakers finish what they have begun while relays let sessions finish; when no handshaker has any left,
 * relays are drained once more, for what has arrived meanwhile; then all others stop, the observer last so that no log line is
 * lost. A handshaker that does not answer is not waited for. A transition that is not decided yet is undone; one that is
 * continues to its end, so that its sessions are where they are expected.
 */
#include "supervisor/stop.h"

#include "base/clock.h"
#include "supervisor/commands.h"
#include "supervisor/helper.h"
#include "supervisor/notify.h"
#include "supervisor/publish.h"
#include "supervisor/super.h"
#include "supervisor/worker.h"

#define ANSWER_MS 1000 /* for those that miss the deadline */

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
        if (control_send_drain(w->control, &(struct control_drain){s->stop.how, drain_left(s)}) < 0)
            worker_stop(s, w);
    }
}

static void stop_roles(struct super *s, bool observers) {
    for (struct worker *w = NULL; (w = worker_next(s, w));)
        if ((w->role == ROLE_OBSERVER) == observers)
            worker_stop(s, w);
}

static bool all_in_state(const struct super *s, enum role role, enum child_state state) {
    return generation_all(&s->gens[0], role, state) && generation_all(&s->gens[1], role, state);
}

/* One that does not answer is not waited for: its handshakes are lost already. */
static bool handshakes_finished(struct super *s) {
    for (struct worker *w = NULL; (w = worker_next(s, w));)
        if (w->role == ROLE_HANDSHAKER && worker_runs(w) && w->state < CHILD_DRAINED && w->silent_ms == 0)
            return false;
    return true;
}

static bool others_gone(struct super *s) {
    for (struct worker *w = NULL; (w = worker_next(s, w));)
        if (w->role != ROLE_OBSERVER && worker_runs(w))
            return false;
    return true;
}

static void stop_others(struct super *s) {
    for (unsigned kind = 0; kind < HELPERS; kind++)
        helper_end(s, (enum helper_kind)kind); /* whatever they were at, nobody waits for it any more */
    s->stop.phase = STOP_OTHERS;
    wheel_cancel(&s->loop.wheel, &s->stop.timer);
    stop_roles(s, false);
}

/* Undoes a first start or a transition that is not decided. */
static void cancel_undecided(struct super *s) {
    creds_cancel(s);
    if (s->next)
        transition_refuse(s, "the proxy is stopping");
}

bool stop_is_far(const struct super *s) {
    return s->stop.phase == STOP_NOT && !s->stop.announced;
}

void stop_announce(struct super *s, uint64_t delay_ms, uint64_t ms) {
    if (!stop_is_far(s))
        return;
    delay_ms = MIN(delay_ms, UINT32_MAX);
    s->stop.announced = true;
    s->stop.patient_ms = ms;
    s->proctab.drain_until_ms = clock_wall_us() / 1000 + delay_ms + MIN(ms, UINT32_MAX);
    s->dirty = true;
    log_msg(&s->log, LOG_LEVEL_INFO, "draining in %llu ms: not ready, and still serving", (unsigned long long)delay_ms);
    wheel_arm(&s->loop.wheel, &s->stop.timer, s->loop.now_ms + delay_ms);
}

void stop_timer(struct super *s) {
    if (s->stop.phase == STOP_NOT)
        stop_begin(s, DRAIN_PATIENT, s->stop.patient_ms);
    else
        stop_at_once(s);
}

void stop_begin(struct super *s, enum drain_how how, uint64_t ms) {
    bool again = s->stop.phase != STOP_NOT;
    if (again && (s->stop.phase >= STOP_OTHERS || how == DRAIN_PATIENT))
        return;
    s->stop.how = how;
    s->stop.until_ms = s->loop.now_ms + (ms == CONF_NEVER ? UINT32_MAX : MIN(ms, UINT32_MAX));
    s->stop.phase = STOP_HANDSHAKERS;
    s->proctab.drain_until_ms = clock_wall_us() / 1000 + drain_left(s);
    s->dirty = true;
    cancel_undecided(s);
    notify("STOPPING=1\nSTATUS=stopping");
    log_msg(&s->log, LOG_LEVEL_INFO,
            how == DRAIN_PATIENT ? "draining: no new sessions; those there are have %llu ms to end"
                                 : "stopping: sessions may finish what is in flight for %llu ms",
            (unsigned long long)drain_left(s));
    /* relays and handshakers enforce the deadline themselves; this timer is for those that do not answer */
    wheel_arm(&s->loop.wheel, &s->stop.timer, s->stop.until_ms + ANSWER_MS);
    listeners_keep(&s->listeners, &s->log, NULL);
    drain_role(s, ROLE_HANDSHAKER);
    if (!s->previous) /* else they still get sessions of the old ones */
        drain_role(s, ROLE_RELAY);
    stop_advance(s);
}

void stop_at_once(struct super *s) {
    if (s->stop.phase >= STOP_OTHERS)
        return;
    cancel_undecided(s);
    stop_others(s);
    stop_advance(s);
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

void stop_advance(struct super *s) {
    if (s->stop.phase == STOP_HANDSHAKERS && handshakes_finished(s) && !s->previous) {
        s->stop.phase = STOP_RELAYS;
        drain_role(s, ROLE_RELAY);
    }
    if (s->stop.phase == STOP_RELAYS && all_in_state(s, ROLE_RELAY, CHILD_DRAINED))
        stop_others(s);
    if (s->stop.phase == STOP_OTHERS && others_gone(s)) {
        s->stop.phase = STOP_OBSERVER;
        report_stopped(s);
        stop_roles(s, true);
    }
    if (s->stop.phase == STOP_OBSERVER && generation_gone(&s->gens[0], ROLE_COUNT) && generation_gone(&s->gens[1], ROLE_COUNT))
        s->loop.stop = true;
}
