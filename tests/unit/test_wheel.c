#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/defs.h"
#include "base/wheel.h"

#define N 500

struct owner {
    struct wtimer timer;
    uint64_t deadline_ms; /* expected, when armed */
    bool armed;
    unsigned fired;
};

static struct wheel w;
static struct owner owners[N];
static uint64_t now;
static unsigned fired;

static int reset(void **state) {
    now = 1000000;
    fired = 0;
    for (size_t i = 0; i < N; i++)
        owners[i] = (struct owner){.fired = 0};
    wheel_init(&w, now);
    return 0;
}

static void arm(struct owner *o, uint64_t deadline_ms) {
    wheel_arm(&w, &o->timer, deadline_ms);
    o->deadline_ms = deadline_ms;
    o->armed = true;
}

static void cancel(struct owner *o) {
    wheel_cancel(&w, &o->timer);
    o->armed = false;
}

static void on_timer(void *ctx, struct wtimer *t) {
    struct owner *o = CONTAINER_OF(t, struct owner, timer);
    assert_ptr_equal(ctx, &w);
    assert_false(wtimer_armed(t));
    assert_true(o->armed);
    assert_true(o->deadline_ms <= now); /* never early */
    o->armed = false;
    o->fired++;
    fired++;
}

static void turn(uint64_t at) {
    now = at;
    wheel_turn(&w, now, on_timer, &w);
}

static void a_timer_fires_once_and_never_early(void **state) {
    arm(&owners[0], now + 10);
    turn(now);
    turn(now + 9);
    assert_int_equal(fired, 0);
    assert_true(wtimer_armed(&owners[0].timer));
    turn(now + 1);
    assert_int_equal(fired, 1);
    turn(now + 100000);
    assert_int_equal(fired, 1);
    assert_int_equal(w.armed, 0);
}

static void the_past_fires_at_the_next_turn(void **state) {
    turn(now + 2);
    arm(&owners[0], 0);
    arm(&owners[1], now);
    arm(&owners[2], now - 5);
    assert_int_equal(wheel_wait_ms(&w, now, 1000), 0);
    turn(now); /* no time has passed */
    assert_int_equal(fired, 3);
}

static void cancelled_timers_do_not_fire(void **state) {
    for (size_t i = 0; i < 3; i++)
        arm(&owners[i], now + 8); /* one slot */
    cancel(&owners[1]);
    cancel(&owners[1]);
    turn(now + 8);
    assert_int_equal(owners[0].fired, 1);
    assert_int_equal(owners[1].fired, 0);
    assert_int_equal(owners[2].fired, 1);
}

static void arming_again_moves(void **state) {
    arm(&owners[0], now + 10);
    arm(&owners[0], now + 500);
    assert_int_equal(w.armed, 1);
    turn(now + 100);
    assert_int_equal(fired, 0);
    arm(&owners[0], now + 10);
    turn(now + 10);
    assert_int_equal(fired, 1);
}

static void deadlines_behind_the_horizon_wait_their_rounds(void **state) {
    uint64_t end = now + 10 * WHEEL_SLOTS * WHEEL_TICK_MS + 3;
    arm(&owners[0], end);
    while (now + 50 < end)
        turn(now + 50);
    assert_int_equal(fired, 0);
    turn(end - 1);
    assert_int_equal(fired, 0);
    turn(end);
    assert_int_equal(fired, 1);
}

static void the_farthest_deadline_never_fires(void **state) {
    arm(&owners[0], UINT64_MAX);
    for (int i = 0; i < 100; i++)
        turn(now + WHEEL_SLOTS * WHEEL_TICK_MS);
    assert_int_equal(fired, 0);
    assert_int_equal(wheel_wait_ms(&w, now, 1000), 1000);
}

static void a_long_pause_fires_everything(void **state) {
    for (size_t i = 0; i < N; i++)
        arm(&owners[i], now + i * 37);
    turn(now + 1000000);
    assert_int_equal(fired, N);
    assert_int_equal(w.armed, 0);
}

static void a_clock_that_stands_or_goes_back_does_no_harm(void **state) {
    arm(&owners[0], now + 10);
    turn(now + 8);
    turn(now - 8);
    assert_int_equal(fired, 0);
    turn(now + 10);
    assert_int_equal(fired, 1);
}

static void waiting_time(void **state) {
    assert_int_equal(wheel_wait_ms(&w, now, 1000), 1000);
    arm(&owners[0], now + 300);
    assert_int_equal(wheel_wait_ms(&w, now, 1000), 300);
    assert_int_equal(wheel_wait_ms(&w, now, 100), 100);
    assert_int_equal(wheel_wait_ms(&w, now + 299, 1000), 1);
    assert_int_equal(wheel_wait_ms(&w, now + 300, 1000), 0);
    assert_int_equal(wheel_wait_ms(&w, now + 9000, 1000), 0);
    cancel(&owners[0]);
    assert_int_equal(wheel_wait_ms(&w, now, 1000), 1000);
    arm(&owners[0], now + 1000000);
    assert_int_equal(wheel_wait_ms(&w, now, 5000), 5000);
}

/* Many sessions with idle timers far away must not wake the process at every tick. */
static void far_timers_wake_seldom(void **state) {
    unsigned wakes = 0;
    for (size_t i = 0; i < N; i++)
        arm(&owners[i], now + 600000 + i * 9);
    for (uint64_t end = now + 60000; now < end; wakes++)
        turn(now + (uint64_t)wheel_wait_ms(&w, now, 1000));
    assert_int_equal(fired, 0);
    assert_true(wakes <= 60 + 60000 / (WHEEL_SLOTS * WHEEL_TICK_MS) + 2);
}

static void rearm_in_the_past(void *ctx, struct wtimer *t) {
    fired++;
    wheel_arm(&w, t, 0);
}

static void a_timer_that_arms_itself_in_the_past_fires_once_a_turn(void **state) {
    arm(&owners[0], now);
    for (unsigned i = 1; i < 10; i++) {
        wheel_turn(&w, now, rearm_in_the_past, NULL);
        assert_int_equal(fired, i);
    }
}

/* The first to fire cancels one of its fellows and moves another, which were due in the same turn. */
static void meddle(void *ctx, struct wtimer *t) {
    fired++;
    for (size_t i = 0; i < 3; i++)
        if (&owners[i].timer != t && fired == 1) {
            wheel_cancel(&w, &owners[i].timer);
            wheel_arm(&w, &owners[(i + 1) % 3].timer, now + 100);
            return;
        }
}

static void callbacks_may_touch_timers_that_are_due(void **state) {
    for (size_t i = 0; i < 3; i++)
        wheel_arm(&w, &owners[i].timer, now + i); /* one slot or two */
    now += 50;
    wheel_turn(&w, now, meddle, NULL);
    uint32_t left = w.armed;
    assert_true(fired >= 1 && fired + left <= 3);
    now += 50;
    wheel_turn(&w, now, meddle, NULL);
    unsigned before = fired;
    now += 50;
    wheel_turn(&w, now, meddle, NULL);
    assert_int_equal(w.armed, 0);
    assert_int_equal(fired, before + left);
}

static uint32_t next_random(void) {
    static uint32_t x = 2463534242u;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return x;
}

static void rearm_at_random(void *ctx, struct wtimer *t) {
    on_timer(ctx, t);
    struct owner *o = &owners[next_random() % N];
    if (next_random() % 2)
        arm(o, now + 1 + next_random() % 9000);
    else
        cancel(o);
}

/* After a turn nothing that is due is left, nothing fired early, and no waiting time was too long. */
static void behaves_like_a_list_of_deadlines(void **state) {
    for (int round = 0; round < 20000; round++) {
        struct owner *o = &owners[next_random() % N];
        switch (next_random() % 4) {
        case 0:
            cancel(o);
            break;
        default:
            arm(o, now + next_random() % (next_random() % 3 ? 300 : 20000));
            break;
        }
        uint64_t first = UINT64_MAX;
        uint32_t armed = 0;
        for (size_t i = 0; i < N && round % 10 == 0; i++) {
            if (!owners[i].armed)
                continue;
            armed++;
            first = MIN(first, owners[i].deadline_ms);
        }
        if (round % 10 != 0)
            continue;
        assert_int_equal(w.armed, armed);
        int wait = wheel_wait_ms(&w, now, 1000);
        assert_true(first > now ? (uint64_t)wait <= first - now : wait == 0);
        now += next_random() % 5 ? next_random() % 40 : next_random() % 6000;
        wheel_turn(&w, now, rearm_at_random, &w);
        for (size_t i = 0; i < N; i++)
            assert_true(!owners[i].armed || owners[i].deadline_ms > now);
    }
    assert_true(fired > 1000);
}

static void never_is_far_and_keeps_the_kind(void **state) {
    struct wtimer t = {.kind = 200};
    wheel_arm(&w, &t, UINT64_MAX);
    assert_true(wtimer_armed(&t) && t.deadline_ms == WHEEL_NEVER_MS);
    assert_int_equal(t.kind, 200);
    wheel_turn(&w, now + (UINT64_C(1) << 40), on_timer, &w);
    assert_true(wtimer_armed(&t));
    wheel_cancel(&w, &t);
    assert_int_equal(t.kind, 200);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_timer_fires_once_and_never_early, reset),
        cmocka_unit_test_setup(the_past_fires_at_the_next_turn, reset),
        cmocka_unit_test_setup(cancelled_timers_do_not_fire, reset),
        cmocka_unit_test_setup(arming_again_moves, reset),
        cmocka_unit_test_setup(deadlines_behind_the_horizon_wait_their_rounds, reset),
        cmocka_unit_test_setup(the_farthest_deadline_never_fires, reset),
        cmocka_unit_test_setup(never_is_far_and_keeps_the_kind, reset),
        cmocka_unit_test_setup(a_long_pause_fires_everything, reset),
        cmocka_unit_test_setup(a_clock_that_stands_or_goes_back_does_no_harm, reset),
        cmocka_unit_test_setup(waiting_time, reset),
        cmocka_unit_test_setup(far_timers_wake_seldom, reset),
        cmocka_unit_test_setup(a_timer_that_arms_itself_in_the_past_fires_once_a_turn, reset),
        cmocka_unit_test_setup(callbacks_may_touch_timers_that_are_due, reset),
        cmocka_unit_test_setup(behaves_like_a_list_of_deadlines, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
