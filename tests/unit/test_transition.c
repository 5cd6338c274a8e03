/*
 * The change from one generation to the next with children that do what they should, say nothing, refuse or die, in every
 * stage; a stop or another reload in the middle; and a fault at the n-th call for every n. super_bench.h looks after every turn
 * whether all is in order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "super_bench.h"

static void started(struct super *s) {
    bench_turns(s, 20);
    assert_non_null(s->now);
    assert_int_equal(s->lifecycle.stage, TRANSITION_NONE);
    assert_true(s->lifecycle.serving);
}

/* Until the reload has its result. */
static void settle(struct super *s) {
    for (unsigned i = 0; i < 400 && s->lifecycle.stage != TRANSITION_NONE && !s->loop.stop; i++)
        bench_later(s, 500);
    assert_int_equal(s->lifecycle.stage, TRANSITION_NONE);
}

static void start_and_stop(struct super *s) {
    started(s);
    assert_int_equal(bench_running(s->now), 5); /* an observer, two relays, two handshakers */
    bench_stop(s);
}

static void it_starts_and_stops(void **state) {
    assert_int_equal(bench_run(start_and_stop), 0);
}

static void reload_twice(struct super *s) {
    started(s);
    for (uint32_t n = 1; n <= 2; n++) {
        bench_command(s, COMMAND_RELOAD);
        settle(s);
        assert_int_equal(s->now->number, n);
        assert_int_equal(s->proctab.reloads, n);
        assert_int_equal(bench_running(s->now), 5);
    }
    assert_int_equal(bench_kills, 0);
    bench_stop(s);
}

static void reloads(void **state) {
    bench_run(reload_twice);
}

/* ---- children of the next generation ---- */

static enum role bad_role;
static enum bench_does bad_does;

/* Before the switch, whatever goes wrong leaves the generation that serves as it was. */
static void next_goes_wrong(struct super *s) {
    started(s);
    pid_t before = s->now->workers[0].pid;
    uint32_t restarts = (uint32_t)s->proctab.restarts;
    bench_how[bad_role] = bad_does;
    bench_command(s, COMMAND_RELOAD);
    settle(s);
    assert_int_equal(s->now->number, 0);
    assert_int_equal(s->now->workers[0].pid, before);
    assert_int_equal(s->proctab.restarts, restarts);
    assert_int_equal(s->proctab.reloads_refused, 1);
    assert_int_equal(bench_commands(s, true), 0);
    bench_how[bad_role] = DOES_WELL;
    bench_command(s, COMMAND_RELOAD);
    settle(s);
    assert_int_equal(s->proctab.reloads, 1);
    assert_int_equal(bench_commands(s, false), 2);
    bench_stop(s);
}

static void the_next_generation_goes_wrong(void **state) {
    static const enum role roles[] = {ROLE_CONFIG, ROLE_OBSERVER, ROLE_RELAY, ROLE_HANDSHAKER};
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        for (bad_does = DOES_NOTHING; bad_does < BENCH_DOES; bad_does++) {
            bad_role = roles[i];
            bench_run(next_goes_wrong);
        }
}

/* After it, whatever goes wrong in the old one or in the dry run is survived. */
static void previous_goes_wrong(struct super *s) {
    started(s);
    bench_leave[bad_role] = bad_does;
    if (bad_role == ROLE_SUPERVISOR)
        bench_how[bad_role] = bad_does;
    bench_command(s, COMMAND_RELOAD);
    settle(s);
    assert_int_equal(s->now->number, 1);
    assert_int_equal(s->proctab.reloads, 1);
    assert_null(s->previous);
    bench_stop(s);
}

static void the_previous_generation_goes_wrong(void **state) {
    static const enum role roles[] = {ROLE_OBSERVER, ROLE_RELAY, ROLE_HANDSHAKER, ROLE_SUPERVISOR};
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        for (bad_does = DOES_NOTHING; bad_does < BENCH_DOES; bad_does++) {
            bad_role = roles[i];
            bench_run(previous_goes_wrong);
        }
}

/* ---- in the middle ---- */

static unsigned middle; /* turns after the reload was asked for */

static void another_reload(struct super *s) {
    started(s);
    bench_command(s, COMMAND_RELOAD);
    bench_turns(s, middle);
    bench_command(s, COMMAND_RELOAD);
    bench_command(s, COMMAND_RELOAD);
    settle(s);
    assert_int_equal(bench_commands(s, true), 0);
    assert_int_equal(bench_commands(s, false), 3); /* each has one result */
    assert_in_range(s->proctab.reloads, 1, 3);
    bench_stop(s);
}

static void a_reload_in_every_stage(void **state) {
    for (middle = 0; middle < 16; middle++)
        bench_run(another_reload);
}

static void stop_in_order(struct super *s) {
    started(s);
    bench_command(s, COMMAND_RELOAD);
    bench_turns(s, middle);
    bench_command(s, middle % 2 ? COMMAND_DRAIN : COMMAND_STOP);
    for (unsigned i = 0; i < 200 && !s->loop.stop; i++)
        bench_later(s, 500);
    assert_true(s->loop.stop);
    assert_int_equal(bench_commands(s, true), 0);
    bench_stop(s);
}

static void a_stop_in_every_stage(void **state) {
    for (middle = 0; middle < 24; middle++)
        bench_run(stop_in_order);
}

/* Asked by a signal, with nothing else under way: the result comes at once, not with the next event. */
static void refused_at_once(struct super *s) {
    started(s);
    s->exe_path = "/nonexistent/tls-off";
    assert_int_equal(raise(SIGHUP), 0); /* blocked: it comes through the descriptor */
    bench_turn(s);
    assert_int_equal(s->proctab.reloads_refused, 1);
    assert_int_equal(s->lifecycle.stage, TRANSITION_NONE);
    bench_stop(s);
}

static void a_missing_binary_is_reported_at_once(void **state) {
    bench_run(refused_at_once);
}

/* ---- a fault at the n-th call ---- */

static unsigned nth, calls;

static void begin_faults(void) {
    bench_calls = bench_complaints = 0;
    bench_fail_at = nth;
}

static void end_faults(void) {
    calls = nth ? calls : bench_calls;
    bench_fail_at = 0;
}

static void ask(struct super *s, enum command_kind kind) {
    bench_inside = true;
    bench_command(s, kind);
    bench_inside = false;
}

static bool is_relay_of(const struct generation *g, pid_t pid) {
    for (size_t i = 0; i < g->nworkers; i++)
        if (g->workers[i].role == ROLE_RELAY && g->workers[i].pid == pid)
            return true;
    return false;
}

/* The first start has an end: it serves, or it reports why not. */
static void faulty_start(struct super *s) {
    begin_faults();
    for (unsigned i = 0; i < 400 && !s->loop.stop && !(s->lifecycle.serving && s->lifecycle.stage == TRANSITION_NONE); i++)
        bench_later(s, 500);
    end_faults();
    if (!s->loop.stop) {
        bench_later(s, 20000);
        started(s);
        bench_stop(s);
        return;
    }
    assert_true(s->lifecycle.failed && s->refusal.is_made);
    assert_null(strstr(s->refusal.text, "Success"));
    bench_reap();
}

/* One result; those that serve do so all the time when it is a refusal, and so do they after it. */
static void faulty_reload(struct super *s) {
    started(s);
    pid_t relays[2];
    for (uint16_t i = 0; i < 2; i++)
        relays[i] = generation_worker(s->now, ROLE_RELAY, i)->pid;
    begin_faults();
    ask(s, COMMAND_RELOAD);
    settle(s);
    end_faults();
    if (s->proctab.reloads_refused) {
        assert_int_equal(s->now->number, 0);
        assert_true(is_relay_of(s->now, relays[0]) && is_relay_of(s->now, relays[1]));
    }
    bench_later(s, 20000);
    assert_true(bench_complaints >= s->proctab.reloads_refused);
    assert_int_equal(bench_commands(s, true), 0);
    assert_int_equal(bench_commands(s, false), 1);
    assert_int_equal(s->proctab.reloads + s->proctab.reloads_refused, 1);
    assert_int_equal(bench_running(s->now), 5);
    ask(s, COMMAND_RELOAD);
    settle(s);
    assert_int_equal(s->proctab.reloads + s->proctab.reloads_refused, 2);
    bench_stop(s);
}

/* The new code is willing, and the step to it fails: the old code goes on. */
static void faulty_upgrade(struct super *s) {
    bench_how[ROLE_SUPERVISOR] = DOES_WELL;
    faulty_reload(s);
}

static enum command_kind ends_by;

static void faulty_end(struct super *s) {
    started(s);
    begin_faults();
    ask(s, ends_by);
    for (unsigned i = 0; i < 200 && !s->loop.stop; i++)
        bench_later(s, 500);
    end_faults();
    assert_true(s->loop.stop);
    assert_int_equal(bench_commands(s, true), 0);
    bench_stop(s);
}

static void each_fault(void (*script)(struct super *s), unsigned at_least) {
    for (unsigned kind = 0; kind < 2; kind++) {
        bench_fail_more = kind ? 7 : 0; /* what is gone may stay away for a while */
        calls = 0;
        for (nth = 0; nth <= calls; nth++) {
            bench_fail_kind = nth + kind;
            bench_run(script);
        }
        assert_true(calls > at_least);
    }
    bench_fail_kind = bench_fail_more = 0;
}

static void a_fault_at_every_call_of_a_start(void **state) {
    each_fault(faulty_start, 60);
}

static void a_fault_at_every_call_of_a_reload(void **state) {
    each_fault(faulty_reload, 60);
}

static void a_fault_at_every_call_of_an_upgrade(void **state) {
    each_fault(faulty_upgrade, 60);
}

static void a_fault_at_every_call_of_a_drain(void **state) {
    ends_by = COMMAND_DRAIN;
    each_fault(faulty_end, 20);
}

static void a_fault_at_every_call_of_a_stop(void **state) {
    ends_by = COMMAND_STOP;
    each_fault(faulty_end, 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_starts_and_stops),
        cmocka_unit_test(reloads),
        cmocka_unit_test(the_next_generation_goes_wrong),
        cmocka_unit_test(the_previous_generation_goes_wrong),
        cmocka_unit_test(a_reload_in_every_stage),
        cmocka_unit_test(a_stop_in_every_stage),
        cmocka_unit_test(a_missing_binary_is_reported_at_once),
        cmocka_unit_test(a_fault_at_every_call_of_a_start),
        cmocka_unit_test(a_fault_at_every_call_of_a_reload),
        cmocka_unit_test(a_fault_at_every_call_of_an_upgrade),
        cmocka_unit_test(a_fault_at_every_call_of_a_drain),
        cmocka_unit_test(a_fault_at_every_call_of_a_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
