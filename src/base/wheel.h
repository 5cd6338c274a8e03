/*
 * Timers: one hashed wheel with a resolution of WHEEL_TICK_MS. Arming and cancelling are O(1) and never call the kernel.
 *
 * Deadlines are meant to be lazy: an owner that only pushes its deadline out lets the timer fire, looks, and arms it again.
 * Times are milliseconds of clock_mono_ms().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define WHEEL_TICK_MS 4
#define WHEEL_SLOTS   1024

/* Embedded in its owner; zero-initialised is not armed, of kind 0. */
struct wtimer {
    struct wtimer *next;
    struct wtimer **link; /* what points at this one; NULL when not armed */
    uint64_t deadline_ms : 56;
    uint64_t kind : 8; /* the owner's: picks the handler in a loop (loop_on_timer()) */
};

typedef void (*wheel_fn)(void *ctx, struct wtimer *t);

struct wheel {
    struct wtimer *slots[WHEEL_SLOTS];
    uint64_t soonest[WHEEL_SLOTS]; /* no deadline in a slot that is not empty is before this */
    uint64_t tick;                 /* all that was due before this tick has fired */
    uint64_t wake_ms;              /* no armed timer is due before this */
    uint32_t armed;                /* timers in the wheel */
};

void wheel_init(struct wheel *w, uint64_t now_ms);

#define WHEEL_NEVER_MS ((UINT64_C(1) << 56) - 1) /* later deadlines are this one */

/* Arms, or moves an armed timer. A deadline in the past fires at the next turn. Never early, at most one tick late. */
void wheel_arm(struct wheel *w, struct wtimer *t, uint64_t deadline_ms);

/* Does nothing when not armed. */
void wheel_cancel(struct wheel *w, struct wtimer *t);

static inline bool wtimer_armed(const struct wtimer *t) {
    return t->link != 0;
}

/* Milliseconds until something may be due, at most MAX_MS; 0 when something is due now. Cheap, may be early. */
int wheel_wait_ms(const struct wheel *w, uint64_t now_ms, int max_ms);

/* Calls FN for every timer that is due (it is no longer armed then, and FN may arm or cancel any timer). */
void wheel_turn(struct wheel *w, uint64_t now_ms, wheel_fn fn, void *ctx);
