#include "supervisor/placement.h"

#include <string.h>
#include <unistd.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "supervisor/super.h"

static bool set_free(struct placement_rule *p, uint32_t least, uint32_t most) {
    p->kept++;
    p->steady = least < PLACEMENT_FULL && most > PLACEMENT_ROOM ? p->steady + 1 : 0;
    if (p->steady < PLACEMENT_STEADY)
        return false;
    p->stay = backoff_next(p->kept < PLACEMENT_FREE_MIN ? p->stay : 0, PLACEMENT_FREE_MIN, PLACEMENT_FREE_MAX);
    p->left = p->stay;
    return true;
}

bool placement_step(struct placement_rule *p, uint32_t least, uint32_t most) {
    if (p->free ? --p->left > 0 : !set_free(p, least, most))
        return false;
    p->free = !p->free;
    p->steady = p->kept = 0;
    return true;
}

void placement_read_idle(FILE *stat, const cpu_set_t *set, uint64_t idle[static CPU_SETSIZE]) {
    char line[512];
    memset(idle, 0, CPU_SETSIZE * sizeof(*idle));
    while (fgets(line, sizeof(line), stat) && strncmp(line, "cpu", 3) == 0) {
        unsigned cpu;
        unsigned long long idles, waits;
        if (sscanf(line, "cpu%u %*u %*u %*u %llu %llu", &cpu, &idles, &waits) == 3 && cpu < CPU_SETSIZE && CPU_ISSET(cpu, set))
            idle[cpu] = idles + waits; /* for a disk: no process runs there */
    }
}

/* Per mille of the time since LAST that the busiest and the idlest usable CPU idled. False: not known, or nothing to choose. */
static bool measure_cpus(struct placement *p, uint32_t *ret_least, uint32_t *ret_most) {
    struct placement last = *p;
    cpu_set_t set;
    FILE *f = sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 1 ? fopen("/proc/stat", "re") : NULL;
    if (!f)
        return false;
    p->looked_us = clock_mono_us();
    placement_read_idle(f, &set, p->idle);
    fclose(f);
    uint64_t ticks = (p->looked_us - last.looked_us) * (uint64_t)sysconf(_SC_CLK_TCK) / 1000000;
    *ret_least = UINT32_MAX;
    *ret_most = 0;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &set))
            continue;
        if (!p->idle[cpu] || p->idle[cpu] < last.idle[cpu]) /* new, or its counters went back, as they may */
            return false;
        uint32_t idle = (uint32_t)((p->idle[cpu] - last.idle[cpu]) * 1000 / MAX(ticks, UINT64_C(1)));
        *ret_least = MIN(*ret_least, idle);
        *ret_most = MAX(*ret_most, idle);
    }
    return last.looked_us > 0;
}

int32_t placement_cpu(const struct super *s, uint16_t index) {
    cpu_set_t set;
    if (s->placement.rule.free || sched_getaffinity(0, sizeof(set), &set) < 0)
        return -1;
    uint32_t nth = index % (uint32_t)CPU_COUNT(&set);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET((unsigned)cpu, &set) && nth-- == 0)
            return cpu;
    return -1;
}

static void place_all(struct super *s) {
    for (size_t i = 0; i < s->now->nworkers; i++) {
        struct worker *w = &s->now->workers[i];
        if (!role_of_worker(w->role))
            continue;
        w->cpu = placement_cpu(s, w->index);
        uint64_t cpu = w->cpu < 0 ? 0 : (uint64_t)w->cpu + 1;
        if (w->control >= 0)
            (void)!control_send_number(w->control, CONTROL_CPU, cpu); /* a lost worker is noticed on its socket */
    }
    s->dirty = true;
}

/* During a transition the next generation is placed as the present one. */
static void check_placement(struct super *s) {
    uint32_t least, most;
    if (!measure_cpus(&s->placement, &least, &most) || !s->now || !lifecycle_idle(&s->lifecycle))
        return;
    if (!placement_step(&s->placement.rule, least, most))
        return;
    place_all(s);
    if (s->placement.rule.free)
        log_msg(&s->log, LOG_LEVEL_INFO, "a CPU is full (idle %u%%) and another is not (%u%%): workers run where there is room",
                least / 10, most / 10);
    else
        log_msg(&s->log, LOG_LEVEL_INFO, "each worker keeps to one CPU again");
}

/* After a re-exec the workers are as the previous supervisor left them. */
void placement_begin(struct super *s) {
    const struct worker *first = s->now ? generation_worker(s->now, ROLE_RELAY, 0) : NULL;
    if (first && first->cpu < 0)
        s->placement.rule = (struct placement_rule){.free = true, .stay = PLACEMENT_FREE_MIN, .left = PLACEMENT_FREE_MIN};
    wheel_arm(&s->loop.wheel, &s->placement.timer, s->loop.now_ms);
}

void placement_timer(void *ctx, struct wtimer *t) {
    struct super *s = ctx;
    check_placement(s);
    wheel_arm(&s->loop.wheel, &s->placement.timer, s->loop.now_ms + PLACEMENT_INTERVAL_MS);
}
