#include "supervisor/heartbeat.h"

#include <stdio.h>

#include "base/err.h"
#include "supervisor/notify.h"
#include "supervisor/super.h"
#include "supervisor/wiring.h"
#include "supervisor/worker.h"

#define PING_MS           2000
#define HEARTBEAT_LOOK_MS 250 /* after a ping, for answers */
#define HUNG_MS           10000
#define KILL_MS           30000
#define LOOKUP_MORE       12 /* times that for the resolver: it waits for name servers in one call */

/*
 * With a watchdog they are these parts of its time. It is not fed from the first to the second, which are less than all of it
 * apart for the resolver too. Pings are sent as often as without one, or more often.
 */
#define HEARTBEAT_PARTS 8
#define WATCHED_HUNG    3
#define WATCHED_KILL    5
#define PING_MIN_MS     100
#define USEC_OF_MS      1000

struct heartbeat_patience heartbeat_patience(enum role role, uint64_t watchdog_ms) {
    struct heartbeat_patience p = {.ping_ms = PING_MS, .hung_ms = HUNG_MS, .kill_ms = KILL_MS};
    if (watchdog_ms) {
        uint64_t part_ms = MAX(watchdog_ms / HEARTBEAT_PARTS, (uint64_t)PING_MIN_MS);
        p.ping_ms = MIN(part_ms, (uint64_t)PING_MS);
        p.hung_ms = part_ms * WATCHED_HUNG;
        p.kill_ms = part_ms * WATCHED_KILL;
    }
    if (role == ROLE_RESOLVER) {
        uint64_t unfed_ms = p.kill_ms - p.hung_ms;
        p.hung_ms *= LOOKUP_MORE;
        p.kill_ms = watchdog_ms ? p.hung_ms + unfed_ms : p.kill_ms * LOOKUP_MORE;
    }
    return p;
}

static uint64_t watchdog_ms(void) {
    return notify_watchdog_usec() / USEC_OF_MS;
}

static uint64_t interval_ms(void) {
    return heartbeat_patience(ROLE_RELAY, watchdog_ms()).ping_ms; /* of all roles */
}

/* In a drain too, but not after STOP was sent. */
static bool is_asked(const struct super *s, const struct worker *w) {
    return w->state >= CHILD_READY && !(w->stopping && wtimer_armed(&w->timer)) && w->gen != s->next;
}

static bool may_be_killed(const struct worker *w) {
    return w->role != ROLE_RELAY || watchdog_ms() != 0;
}

uint64_t heartbeat_read_waited(FILE *schedstat) {
    unsigned long long waited_ns;
    return schedstat && fscanf(schedstat, "%*u %llu", &waited_ns) == 1 ? waited_ns / 1000 : 0;
}

/* Where the kernel does not report it, all time counts. */
static uint64_t waited_us(const struct worker *w) {
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)w->pid); /* it fits */
    FILE *f = fopen(path, "re");
    uint64_t us = heartbeat_read_waited(f);
    if (f)
        (void)fclose(f); /* read only */
    return us;
}

/*
 * Another interval without an answer. Time in which it was runnable without a CPU does not count; for the first interval it is
 * not known. When we did not run ourselves, there was no interval.
 */
static void count_silence(struct worker *w) {
    uint64_t now_us = waited_us(w), interval = interval_ms();
    uint64_t waited_ms = w->silent_ms && now_us > w->waited_us ? (now_us - w->waited_us) / 1000 : 0;
    w->waited_us = now_us;
    w->silent_ms += interval - MIN(interval, waited_ms);
}

static void look_after(struct super *s, struct worker *w, uint64_t before_ms) {
    struct heartbeat_patience p = heartbeat_patience(w->role, watchdog_ms());
    if (!w->hung && w->silent_ms >= p.hung_ms) {
        w->hung = s->dirty = true;
        log_msg(&s->log, LOG_LEVEL_ERROR, "%s.%u (pid %d) does not answer: it hangs, or is stopped", role_name(w->role),
                w->index, (int)w->pid);
    }
    if (w->hung && before_ms < p.kill_ms && w->silent_ms >= p.kill_ms && may_be_killed(w)) {
        log_msg(&s->log, LOG_LEVEL_ERROR, "%s.%u (pid %d) is killed: it has not answered for %llu ms", role_name(w->role),
                w->index, (int)w->pid, (unsigned long long)w->silent_ms);
        worker_kill(w);
    }
}

static void ping_worker(struct super *s, struct worker *w) {
    uint64_t before_ms = w->silent_ms;
    if (!w->asked && control_send(w->control, CONTROL_PING) == 0)
        w->asked = true;
    else /* the last one is not answered, or its queue is full: it reads nothing */
        count_silence(w);
    look_after(s, w, before_ms);
}

void heartbeat_answer(struct super *s, struct worker *w) {
    w->asked = false;
    w->silent_ms = 0;
    if (!w->hung)
        return;
    w->hung = false;
    s->dirty = true;
    log_msg(&s->log, LOG_LEVEL_INFO, "%s.%u (pid %d) answers again", role_name(w->role), w->index, (int)w->pid);
}

void heartbeat_begin(struct super *s) {
    s->heartbeat.ask_ms = s->loop.now_ms + interval_ms();
    wheel_arm(&s->loop.wheel, &s->heartbeat.timer, s->heartbeat.ask_ms);
}

/* Its share of new connections, which the kernel still queues for it, goes to another until it answers. */
static bool needs_cover(const struct super *s, const struct worker *w) {
    return w->role == ROLE_HANDSHAKER && w->gen == s->now && s->lifecycle.phase == STOP_NOT && (!worker_runs(w) || w->asked);
}

/* True when some of them have not answered yet. */
static bool cover(struct super *s) {
    bool any = false;
    for (struct worker *w = NULL; (w = worker_next(s, w));)
        if (needs_cover(s, w)) {
            wiring_cover(s, w);
            any = true;
        }
    return any;
}

static void ask_all(struct super *s) {
    bool ok = true;
    for (struct worker *w = NULL; (w = worker_next(s, w));) {
        if (worker_runs(w) && is_asked(s, w))
            ping_worker(s, w);
        ok = ok && !(worker_runs(w) && w->hung);
    }
    if (ok && watchdog_ms())
        notify("WATCHDOG=1");
    if (!lifecycle_idle(&s->lifecycle)) /* a stop, or a reload: both have deadlines of their own */
        notify(NOTIFY_EXTEND);
}

/* Answers arrive quickly: one more check shows which processes may hang, and repeats while any may. */
void heartbeat_timer(void *ctx, struct wtimer *t) {
    struct super *s = ctx;
    struct heartbeat *h = &s->heartbeat;
    bool asks = s->loop.now_ms >= h->ask_ms, waits = false;
    if (asks) {
        h->ask_ms = s->loop.now_ms + interval_ms();
        ask_all(s);
    } else {
        waits = cover(s);
    }
    wheel_arm(&s->loop.wheel, &h->timer, asks || waits ? MIN(s->loop.now_ms + HEARTBEAT_LOOK_MS, h->ask_ms) : h->ask_ms);
}
