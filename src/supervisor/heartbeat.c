#include "supervisor/heartbeat.h"

#include "base/err.h"
#include "supervisor/super.h"

#define PING_MS     2000
#define HUNG_AFTER  5 /* pings without an answer */
#define KILL_AFTER  15
#define LOOKUP_MORE 12 /* times that for the resolver: it waits for name servers in one call */

/* With a watchdog all must have happened within its time: the kill after 5 of 8 parts of it. */
#define PARTS        8
#define WATCHED_HUNG 3
#define WATCHED_KILL 5
#define PING_MIN_MS  100
#define USEC_OF_MS   1000

static uint64_t interval_ms(void) {
    uint64_t watchdog_ms = notify_watchdog_usec() / USEC_OF_MS;
    return watchdog_ms ? MAX(MIN(watchdog_ms / PARTS, (uint64_t)PING_MS), (uint64_t)PING_MIN_MS) : PING_MS;
}

static unsigned patience(const struct worker *w, unsigned usual, unsigned watched) {
    return (notify_watchdog_usec() ? watched : usual) * (w->role == ROLE_RESOLVER ? LOOKUP_MORE : 1);
}

static bool is_asked(const struct super *s, const struct worker *w) {
    return w->state >= CHILD_READY && !w->stopping && w->gen != s->coming;
}

static bool may_be_killed(const struct worker *w) {
    return w->role != ROLE_RELAY || notify_watchdog_usec() != 0;
}

static void look_after(struct super *s, struct worker *w) {
    if (!w->hung && w->silent >= patience(w, HUNG_AFTER, WATCHED_HUNG)) {
        w->hung = s->dirty = true;
        voice_say(&s->voice, LOG_LEVEL_ERROR, "%s.%u (pid %d) does not answer: it hangs, or is stopped", role_name(w->role),
                  w->index, (int)w->pid);
    }
    if (w->hung && w->silent == patience(w, KILL_AFTER, WATCHED_KILL) && may_be_killed(w)) {
        voice_say(&s->voice, LOG_LEVEL_ERROR, "%s.%u (pid %d) is killed: it has not answered for %llu ms", role_name(w->role),
                  w->index, (int)w->pid, (unsigned long long)w->silent * interval_ms());
        worker_kill(w);
    }
}

static void ask(struct super *s, struct worker *w) {
    if (w->asked) /* the last one is not answered */
        w->silent++;
    else if (control_send(w->control, CONTROL_PING) == 0)
        w->asked = true;
    else /* its queue is full: it reads nothing */
        w->silent++;
    look_after(s, w);
}

void heartbeat_answer(struct super *s, struct worker *w) {
    w->asked = false;
    w->silent = 0;
    if (!w->hung)
        return;
    w->hung = false;
    s->dirty = true;
    voice_say(&s->voice, LOG_LEVEL_INFO, "%s.%u (pid %d) answers again", role_name(w->role), w->index, (int)w->pid);
}

void heartbeat_begin(struct super *s) {
    wheel_arm(&s->loop.wheel, &s->heartbeat.timer, s->loop.now_ms + interval_ms());
}

void heartbeat_timer(struct super *s) {
    bool well = true;
    for (struct worker *w = NULL; (w = worker_next(s, w));) {
        if (worker_runs(w) && is_asked(s, w))
            ask(s, w);
        well = well && !(worker_runs(w) && w->hung);
    }
    if (well && notify_watchdog_usec())
        notify("WATCHDOG=1");
    heartbeat_begin(s);
}
