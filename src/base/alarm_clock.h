/* Timers that know what they are for, so that the event loop of their role needs no list of them. */
#pragma once

#include "base/loop.h"

struct alarm_clock {
    struct wtimer timer;
    struct loop *loop;
    void (*fn)(void *ctx);
    void *ctx;
};

/* For loop_on_timer(): all timers of that loop are alarm clocks, of kind 0. */
void alarm_clock_ring(void *unused, struct wtimer *t);

static inline void alarm_clock_set(struct alarm_clock *a, uint64_t ms) {
    wheel_arm(&a->loop->wheel, &a->timer, a->loop->now_ms + ms);
}

static inline void alarm_clock_stop(struct alarm_clock *a) {
    if (a->loop)
        wheel_cancel(&a->loop->wheel, &a->timer);
}
