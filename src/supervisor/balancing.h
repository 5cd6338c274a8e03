/* Balance between the relays of the generation that serves: see balance.h for the rule. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/wheel.h"
#include "conf/conf.h"
#include "shm/scoreboard.h"
#include "supervisor/balance.h"

struct super;

struct balancing {
    struct balance_rule rule;
    struct scoreboard scoreboard; /* of GENERATION */
    uint32_t generation;
    uint64_t looked_ms;
    struct {
        pid_t pid; /* 0 = none was there */
        uint64_t cpu_us;
    } last[WORKERS_MAX];
    struct wtimer timer;
};

void balancing_begin(struct super *s);
void balancing_end(struct super *s);

/* Its timer. */
void balancing_timer(void *ctx, struct wtimer *t);
