/*
 * Balance between the relays that serve: measures them at even intervals, asks the rule (balance.h), and has sessions migrated.
 * Nothing happens while generations change or a stop is under way.
 */
#include "supervisor/balancing.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "shm/scoreboard.h"
#include "supervisor/super.h"
#include "supervisor/wiring.h"
#include "wire/control_export.h"

/* CPU time that a process has used; 0 when not available. */
static uint64_t cpu_us(pid_t pid) {
    clockid_t clock;
    struct timespec t;
    if (pid <= 0 || clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) < 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint32_t room_of(const struct super *s) {
    struct rlimit files;
    return getrlimit(RLIMIT_NOFILE, &files) == 0 ? scoreboard_relay_cap(files.rlim_cur, (uint16_t)s->now->conf->workers) : 0;
}

/* The scoreboard of the generation that serves, mapped once. */
static bool map_scoreboard(struct super *s) {
    struct balancing *b = &s->balancing;
    if (b->generation == s->now->number && b->scoreboard.shared)
        return true;
    scoreboard_unmap(&b->scoreboard);
    memset(b->last, 0, sizeof(b->last));
    b->rule = (struct balance_rule){0};
    b->generation = s->now->number;
    return scoreboard_map(s->now->scoreboard_fd, s->now->number, &b->scoreboard) == 0;
}

/* Measurements since the last time; a relay that did not exist then has none. */
static void measure_relays(struct super *s, uint32_t interval_us, struct balance_relay *relays) {
    struct balancing *b = &s->balancing;
    uint32_t room = room_of(s);
    uint16_t n = (uint16_t)s->now->conf->workers;
    for (uint16_t i = 0; i < n; i++) {
        const struct worker *w = generation_worker(s->now, ROLE_RELAY, i);
        bool there = w->state == CHILD_READY && w->silent_ms == 0;
        uint64_t cpu = there ? cpu_us(w->pid) : 0;
        relays[i] = (struct balance_relay){.sessions = scoreboard_relay_sessions(&b->scoreboard, i), .room = room};
        relays[i].there = there && b->last[i].pid == w->pid && cpu >= b->last[i].cpu_us;
        if (relays[i].there)
            relays[i].busy = (uint32_t)MIN((cpu - b->last[i].cpu_us) * 1000 / interval_us, UINT64_C(1000));
        b->last[i].pid = there ? w->pid : 0;
        b->last[i].cpu_us = cpu;
    }
}

static void begin_migration(struct super *s, const struct balance_migration *m, const struct balance_relay *relays) {
    struct worker *from = generation_worker(s->now, ROLE_RELAY, m->from), *to = generation_worker(s->now, ROLE_RELAY, m->to);
    const struct balance_relay *a = &relays[m->from], *z = &relays[m->to];
    const struct control_export what = {m->count, m->why == BALANCE_BY_CPU ? EXPORT_ACTIVE : EXPORT_IDLE};
    int err = wiring_migrate(from, to, &what);
    if (err < 0)
        log_msg(&s->log, LOG_LEVEL_WARNING, "balance: sessions cannot be migrated: %s", err_describe(err, errno));
    else if (m->why == BALANCE_BY_CPU)
        log_msg(&s->log, LOG_LEVEL_INFO, "balance: migrating %u active sessions from relay.%u (CPU %u%%) to relay.%u (%u%%)",
                m->count, m->from, a->busy / 10, m->to, z->busy / 10);
    else
        log_msg(&s->log, LOG_LEVEL_INFO, "balance: migrating %u sessions from relay.%u (of its %u) to relay.%u (%u)", m->count,
                m->from, a->sessions, m->to, z->sessions);
}

static void balance_relays(struct super *s) {
    struct balance_relay relays[WORKERS_MAX];
    struct balance_migration move;
    uint64_t interval_ms = s->loop.now_ms - s->balancing.looked_ms;
    s->balancing.looked_ms = s->loop.now_ms;
    if (!s->now || s->now->conf->workers < 2 || !lifecycle_idle(&s->lifecycle) || !map_scoreboard(s))
        return;
    measure_relays(s, (uint32_t)MIN(interval_ms * 1000, (uint64_t)UINT32_MAX), relays);
    if (balance_step(&s->balancing.rule, relays, s->now->conf->workers, &move))
        begin_migration(s, &move, relays);
}

void balancing_begin(struct super *s) {
    s->balancing.looked_ms = s->loop.now_ms;
    wheel_arm(&s->loop.wheel, &s->balancing.timer, s->loop.now_ms + BALANCE_INTERVAL_MS);
}

void balancing_timer(void *ctx, struct wtimer *t) {
    struct super *s = ctx;
    balance_relays(s);
    wheel_arm(&s->loop.wheel, &s->balancing.timer, s->loop.now_ms + BALANCE_INTERVAL_MS);
}

void balancing_end(struct super *s) {
    scoreboard_unmap(&s->balancing.scoreboard);
}
