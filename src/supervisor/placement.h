/*
 * Whether workers keep to CPUs of their own.
 *
 * A handshaker, its signer and its relay wake each other all the time, which is cheapest on one CPU: each worker is given one.
 * But pinned roles would wait while others (the application, say) fill their CPU and the next one idles. When one of the usable
 * CPUs is full and another has room, the scheduler places all workers for a time; then they are pinned again. When that turns
 * out to be too early, the next time is twice as long.
 */
#pragma once

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/wheel.h"

#define PLACEMENT_INTERVAL_MS 1000
#define PLACEMENT_FULL        50   /* per mille of an interval: a CPU that idles less is full, */
#define PLACEMENT_ROOM        250  /* one that idles more has room */
#define PLACEMENT_STEADY      2    /* intervals in a row with both before workers are unpinned */
#define PLACEMENT_FREE_MIN    60   /* intervals that they are free at first, */
#define PLACEMENT_FREE_MAX    3600 /* and at most */

/* Starts zero-initialized. */
struct placement_rule {
    bool free;       /* workers may run on any CPU */
    unsigned steady; /* intervals in a row with reason to change */
    unsigned left;   /* intervals until they are pinned again */
    unsigned stay;   /* intervals of the last time that they were free */
    unsigned kept;   /* intervals since then */
};

/* One interval, in which the busiest CPU idled for LEAST per mille and the idlest for MOST. True when FREE has changed. */
bool placement_step(struct placement_rule *p, uint32_t least, uint32_t most);

/* Idle time of each CPU of SET in ticks, from a file like /proc/stat (proc_stat(5)); 0 for one that is not listed. */
void placement_read_idle(FILE *stat, const cpu_set_t *set, uint64_t idle[static CPU_SETSIZE]);

struct super;

struct placement {
    struct placement_rule rule;
    uint64_t looked_us;
    uint64_t idle[CPU_SETSIZE]; /* then */
    struct wtimer timer;
};

/* The CPU of worker number INDEX: the usable ones in turn. -1: any. */
int32_t placement_cpu(const struct super *s, uint16_t index);

void placement_begin(struct super *s);

/* Its timer. */
void placement_timer(void *ctx, struct wtimer *t);
