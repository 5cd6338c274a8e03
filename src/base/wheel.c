/*
 * The timer wheel. A timer sits in the slot of its deadline's tick, however many rounds away that is. Each slot knows the
 * soonest deadline in it and the wheel the soonest of all; both may be too early (a cancelled timer leaves them as they are),
 * never too late.
 */
#include "base/wheel.h"

#include "base/defs.h"

void wheel_init(struct wheel *w, uint64_t now_ms) {
    *w = (struct wheel){.tick = now_ms / WHEEL_TICK_MS, .wake_ms = UINT64_MAX};
}

static void link_timer(struct wtimer **head, struct wtimer *t) {
    t->next = *head;
    t->link = head;
    if (t->next)
        t->next->link = &t->next;
    *head = t;
}

static void unlink_timer(struct wtimer *t) {
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    t->next = NULL;
    t->link = NULL;
}

void wheel_cancel(struct wheel *w, struct wtimer *t) {
    if (!wtimer_armed(t))
        return;
    unlink_timer(t);
    w->armed--;
}

void wheel_arm(struct wheel *w, struct wtimer *t, uint64_t deadline_ms) {
    wheel_cancel(w, t);
    deadline_ms = MIN(deadline_ms, WHEEL_NEVER_MS);
    uint64_t tick = MAX(deadline_ms / WHEEL_TICK_MS, w->tick);
    size_t i = tick % WHEEL_SLOTS;
    w->soonest[i] = w->slots[i] ? MIN(w->soonest[i], deadline_ms) : deadline_ms;
    w->wake_ms = w->armed ? MIN(w->wake_ms, deadline_ms) : deadline_ms;
    t->deadline_ms = deadline_ms & WHEEL_NEVER_MS;
    link_timer(&w->slots[i], t);
    w->armed++;
}

int wheel_wait_ms(const struct wheel *w, uint64_t now_ms, int max_ms) {
    if (w->armed == 0)
        return max_ms;
    if (w->wake_ms <= now_ms)
        return 0;
    uint64_t wait = w->wake_ms - now_ms;
    return wait < (uint64_t)max_ms ? (int)wait : max_ms;
}

/* Moves what is due from one slot to DUE. */
static void collect_due(struct wheel *w, size_t slot, uint64_t now_ms, struct wtimer **due) {
    uint64_t soonest = UINT64_MAX;
    struct wtimer *next;
    if (w->slots[slot] && w->soonest[slot] > now_ms)
        return;
    for (struct wtimer *t = w->slots[slot]; t; t = next) {
        next = t->next;
        if (t->deadline_ms <= now_ms) {
            unlink_timer(t);
            link_timer(due, t);
        } else {
            soonest = MIN(soonest, t->deadline_ms);
        }
    }
    w->soonest[slot] = soonest;
}

/* The first deadline of this round of the wheel; what lies behind the round is looked for when that is over. */
static uint64_t find_wake(const struct wheel *w) {
    for (uint64_t tick = w->tick; tick < w->tick + WHEEL_SLOTS; tick++) {
        size_t i = tick % WHEEL_SLOTS;
        if (w->slots[i] && w->soonest[i] < (tick + 1) * WHEEL_TICK_MS)
            return w->soonest[i];
    }
    return (w->tick + WHEEL_SLOTS) * WHEEL_TICK_MS;
}

void wheel_turn(struct wheel *w, uint64_t now_ms, wheel_fn fn, void *ctx) {
    struct wtimer *due = NULL;
    uint64_t now_tick = MAX(now_ms / WHEEL_TICK_MS, w->tick);
    if (w->armed == 0)
        w->tick = now_tick;
    if (w->armed == 0 || w->wake_ms > now_ms)
        return;
    uint64_t count = MIN(now_tick - w->tick + 1, WHEEL_SLOTS);
    for (uint64_t tick = w->tick; tick < w->tick + count; tick++)
        collect_due(w, tick % WHEEL_SLOTS, now_ms, &due);
    w->tick = now_tick;
    w->wake_ms = find_wake(w);

    /* From here on the lists are whole again: FN may arm and cancel, also timers that still wait in DUE. */
    while (due) {
        struct wtimer *t = due;
        wheel_cancel(w, t);
        fn(ctx, t);
    }
}
