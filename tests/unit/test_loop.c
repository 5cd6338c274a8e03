/* The event loop on pipes; epoll_wait() is replaced to see how long it would sleep and to make it fail. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/loop.h"
#include "death.h"

static int timeouts[64]; /* what the loop asked for, call by call */
static unsigned waits;
static unsigned fail_waits; /* calls that fail first */
static int fail_with;
static bool fail_create;
static uint64_t skew_us, frozen_us; /* the clock is ahead; and goes on by so much in each wait */

uint64_t __real_clock_mono_us(void);
uint64_t __wrap_clock_mono_us(void);

uint64_t __wrap_clock_mono_us(void) {
    return __real_clock_mono_us() + skew_us;
}

int __real_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout);
int __wrap_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout);
int __real_epoll_create1(int flags);
int __wrap_epoll_create1(int flags);

int __wrap_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout) {
    if (waits < ARRAY_LEN(timeouts))
        timeouts[waits] = timeout;
    waits++;
    skew_us += frozen_us;
    if (fail_waits) {
        fail_waits--;
        errno = fail_with;
        return -1;
    }
    return __real_epoll_wait(epfd, events, max, timeout);
}

int __wrap_epoll_create1(int flags) {
    if (!fail_create)
        return __real_epoll_create1(flags);
    errno = EMFILE;
    return -1;
}

static struct loop l;
static int pipe_fds[2];
static unsigned events_seen;
static uint32_t seen_key, seen_gen, seen_events;

static void on_event(void *ctx, uint32_t key, uint32_t gen, uint32_t epoll_events) {
    struct loop *loop = ctx;
    events_seen++;
    seen_key = key;
    seen_gen = gen;
    seen_events = epoll_events;
    loop->stop = true;
}

static int setup(void **state) {
    waits = fail_waits = events_seen = 0;
    frozen_us = 0;
    fail_create = false;
    return loop_init(&l) != 0 || pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0;
}

static int teardown(void **state) {
    loop_fini(&l);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return 0;
}

static void poke(void) {
    assert_int_equal(write(pipe_fds[1], "x", 1), 1);
}

static void tags_come_back_whole(void **state) {
    loop_on(&l, LOOP_KINDS - 1, on_event, &l);
    assert_int_equal(loop_watch(&l, pipe_fds[0], EPOLLIN | EPOLLET, LOOP_KINDS - 1, 0xfedcba98, 0x12abcdef), 0);
    poke();
    assert_int_equal(loop_run(&l), 0);
    assert_int_equal(seen_key, 0xfedcba98);
    assert_int_equal(seen_gen, 0xabcdef);
    assert_int_equal(seen_gen, LOOP_GEN(0x12abcdef));
    assert_true(seen_events & EPOLLIN);
}

static void each_kind_has_its_handler(void **state) {
    static struct loop other; /* stands for another context */
    loop_on(&l, 0, on_event, &other);
    loop_on(&l, 3, on_event, &l);
    assert_int_equal(loop_watch(&l, pipe_fds[0], EPOLLIN, 3, 1, 1), 0);
    poke();
    assert_int_equal(loop_run(&l), 0);
    assert_false(other.stop);
}

static void watching_twice_is_an_error(void **state) {
    loop_on(&l, 0, on_event, &l);
    assert_int_equal(loop_watch(&l, pipe_fds[0], EPOLLIN, 0, 1, 1), 0);
    assert_int_equal(loop_watch(&l, pipe_fds[0], EPOLLIN, 0, 1, 1), ERR_SYSTEM);
    assert_int_equal(errno, EEXIST);
    assert_int_equal(loop_rewatch(&l, pipe_fds[1], EPOLLOUT, 0, 1, 1), ERR_SYSTEM);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(loop_watch(&l, -1, EPOLLIN, 0, 1, 1), ERR_SYSTEM);
    assert_int_equal(errno, EBADF);
}

static void rewatching_changes_tag_and_events(void **state) {
    loop_on(&l, 0, on_event, &l);
    assert_int_equal(loop_watch(&l, pipe_fds[1], EPOLLIN, 0, 1, 1), 0);
    assert_int_equal(loop_rewatch(&l, pipe_fds[1], EPOLLOUT, 0, 2, 3), 0);
    assert_int_equal(loop_run(&l), 0);
    assert_int_equal(seen_key, 2);
    assert_int_equal(seen_gen, 3);
    assert_true(seen_events & EPOLLOUT);
}

static void on_stop_timer(void *ctx, struct wtimer *t) {
    struct loop *loop = ctx;
    loop->stop = true;
}

static void an_unwatched_descriptor_is_silent(void **state) {
    struct wtimer t = {0};
    loop_on(&l, 0, on_event, &l);
    loop_on_timer(&l, 0, on_stop_timer, &l);
    assert_int_equal(loop_watch(&l, pipe_fds[0], EPOLLIN, 0, 1, 1), 0);
    loop_unwatch(&l, pipe_fds[0]);
    loop_unwatch(&l, pipe_fds[0]); /* harmless */
    poke();
    wheel_arm(&l.wheel, &t, l.now_ms + 5);
    assert_int_equal(loop_run(&l), 0);
    assert_int_equal(events_seen, 0);
}

static void timers_bound_the_sleep(void **state) {
    struct wtimer t = {0};
    uint64_t deadline = l.now_ms + 20;
    loop_on_timer(&l, 0, on_stop_timer, &l);
    wheel_arm(&l.wheel, &t, deadline);
    assert_int_equal(loop_run(&l), 0);
    assert_true(l.now_ms >= deadline);
    assert_true(timeouts[0] >= 0 && timeouts[0] <= 20);
    assert_false(wtimer_armed(&t));
}

static void a_far_timer_sleeps_a_second_at_most(void **state) {
    struct wtimer t = {0};
    loop_on_timer(&l, 0, on_stop_timer, &l);
    loop_on(&l, 0, on_event, &l);
    assert_int_equal(loop_watch(&l, pipe_fds[0], EPOLLIN, 0, 1, 1), 0);
    poke();
    wheel_arm(&l.wheel, &t, l.now_ms + 1000000);
    assert_int_equal(loop_run(&l), 0);
    assert_int_equal(timeouts[0], 1000);
    wheel_cancel(&l.wheel, &t);
    l.stop = false;
    waits = 0;
    assert_int_equal(loop_run(&l), 0);
    assert_int_equal(timeouts[0], -1);
}

static unsigned hook_calls;

static bool work_four_times(void *ctx) {
    if (++hook_calls == 5)
        ((struct loop *)ctx)->stop = true;
    return hook_calls < 4;
}

static void the_loop_does_not_sleep_while_the_hook_has_work(void **state) {
    struct wtimer t = {0};
    hook_calls = 0;
    l.hook = work_four_times;
    l.hook_ctx = &l;
    loop_on_timer(&l, 0, on_stop_timer, &l);
    wheel_arm(&l.wheel, &t, l.now_ms + 30);
    assert_int_equal(loop_run(&l), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(timeouts[i], 0);
    assert_true(timeouts[4] > 0 && timeouts[4] <= 30);
    assert_int_equal(hook_calls, waits);
}

static uint64_t paused_ms;
static unsigned pauses, events_before;

static void on_pause(void *ctx, uint64_t ms) {
    paused_ms += ms;
    pauses++;
    events_before = events_seen;
}

/* A second that was asked for is sleep; what is beyond it is not, and is reported before the event is handled. */
static void a_pause_is_reported_before_events_and_timers(void **state) {
    struct wtimer t = {0};
    paused_ms = pauses = 0;
    loop_on(&l, 0, on_event, &l);
    assert_int_equal(loop_watch(&l, pipe_fds[0], EPOLLIN, 0, 1, 1), 0);
    l.pause_fn = on_pause;
    wheel_arm(&l.wheel, &t, l.now_ms + 1000000);
    poke();
    frozen_us = 12000000;
    assert_int_equal(loop_run(&l), 0);
    assert_int_equal(pauses, 1);
    assert_in_range(paused_ms, 10900, 12000);
    assert_int_equal(events_before, 0);
    assert_true(l.woke_us > 0);
}

static void sleep_and_work_are_no_pause(void **state) {
    struct wtimer t = {0};
    pauses = 0;
    loop_on(&l, 0, on_event, &l);
    assert_int_equal(loop_watch(&l, pipe_fds[0], EPOLLIN, 0, 1, 1), 0);
    l.pause_fn = on_pause;
    poke();
    frozen_us = 3600000000; /* nothing is armed: an hour of quiet */
    assert_int_equal(loop_run(&l), 0);
    wheel_arm(&l.wheel, &t, l.now_ms + 1000000);
    l.stop = false;
    frozen_us = 900000; /* of the second that it would have slept */
    assert_int_equal(loop_run(&l), 0);
    for (unsigned i = 0; i < 20; i++) /* a long turn of short pieces */
        loop_mark(&l, l.mark_us + LOOP_PAUSE_US, 0);
    assert_int_equal(pauses, 0);
    assert_int_equal(l.paused_us, 0);
    loop_mark(&l, l.mark_us + LOOP_PAUSE_US + 1, 0);
    assert_int_equal(l.paused_us, LOOP_PAUSE_US + 1);
}

static void a_signal_is_no_error(void **state) {
    fail_waits = 3;
    fail_with = EINTR;
    loop_on(&l, 0, on_event, &l);
    assert_int_equal(loop_watch(&l, pipe_fds[0], EPOLLIN, 0, 1, 1), 0);
    poke();
    assert_int_equal(loop_run(&l), 0);
    assert_int_equal(waits, 4);
    assert_int_equal(events_seen, 1);
}

static void a_broken_epoll_ends_the_loop(void **state) {
    fail_waits = 1;
    fail_with = EBADF;
    assert_int_equal(loop_run(&l), ERR_SYSTEM);
    assert_int_equal(errno, EBADF);
}

static void without_descriptors_there_is_no_loop(void **state) {
    struct loop other;
    fail_create = true;
    assert_int_equal(loop_init(&other), ERR_SYSTEM);
    assert_int_equal(errno, EMFILE);
    loop_fini(&other);
    loop_fini(&other);
}

static void watch_without_handler(void *ctx) {
    assert_int_equal(loop_watch(ctx, 0, EPOLLIN, 5, 0, 0), 0);
}

static void kind_too_large(void *ctx) {
    loop_on(ctx, LOOP_KINDS, on_event, NULL);
}

static void breaches_abort(void **state) {
    assert_true(aborts(watch_without_handler, &l));
    assert_true(aborts(kind_too_large, &l));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tags_come_back_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(each_kind_has_its_handler, setup, teardown),
        cmocka_unit_test_setup_teardown(watching_twice_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(rewatching_changes_tag_and_events, setup, teardown),
        cmocka_unit_test_setup_teardown(an_unwatched_descriptor_is_silent, setup, teardown),
        cmocka_unit_test_setup_teardown(timers_bound_the_sleep, setup, teardown),
        cmocka_unit_test_setup_teardown(a_far_timer_sleeps_a_second_at_most, setup, teardown),
        cmocka_unit_test_setup_teardown(the_loop_does_not_sleep_while_the_hook_has_work, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pause_is_reported_before_events_and_timers, setup, teardown),
        cmocka_unit_test_setup_teardown(sleep_and_work_are_no_pause, setup, teardown),
        cmocka_unit_test_setup_teardown(a_signal_is_no_error, setup, teardown),
        cmocka_unit_test_setup_teardown(a_broken_epoll_ends_the_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(without_descriptors_there_is_no_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(breaches_abort, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
