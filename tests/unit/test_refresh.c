/*
 * Access lists and ticket secrets that are read again while the proxy runs: taken, left as they are, refused; by a config role
 * that does what it should, says nothing, refuses or dies; a reload or a stop in the middle; and a fault at the n-th call for
 * every n.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "super_bench.h"
#include "supervisor/refresh.h"

static const uint16_t READ_S = 60, FIRST_PAUSE_S = 5, LAST_PAUSE_S = 300;

static void started(struct super *s) {
    bench_turns(s, 20);
    assert_true(s->lifecycle.serving);
    memset(bench_given, 0, sizeof(bench_given));
}

/* In steps that let everybody answer the supervisor's pings. */
static void pass(struct super *s, unsigned seconds) {
    for (unsigned i = 0; i < seconds; i++)
        bench_later(s, 1000);
}

/* As if the files of KIND looked otherwise than before. */
static void changed(struct super *s, enum refresh_kind kind) {
    s->refresh[kind].signature++;
    (void)!refresh_look(s); /* the other kind may be read just now */
    assert_true(s->refresh[kind].reading);
}

static void assert_given(unsigned access, unsigned secrets) {
    for (unsigned r = 0; r < ROLE_COUNT; r++) {
        unsigned workers = r == ROLE_HANDSHAKER ? 2 : r == ROLE_OBSERVER ? 1 : 0;
        assert_int_equal(bench_given[r][0], access * workers);
        assert_int_equal(bench_given[r][1], r == ROLE_HANDSHAKER ? secrets * workers : 0);
    }
}

static void assert_idle(const struct super *s, enum refresh_kind kind) {
    const struct refresh *r = &s->refresh[kind];
    assert_false(r->reading || wtimer_armed(&r->deadline));
}

/* ---- what is read ---- */

static void take_new_ones(struct super *s) {
    started(s);
    for (unsigned n = 1; n <= 3; n++) {
        bench_networks = n;
        changed(s, REFRESH_ACCESS);
        bench_turns(s, 6);
        assert_int_equal(access_list(&s->now->access.table, 0).networks, n);
        bench_secret = (uint8_t)n;
        changed(s, REFRESH_SECRETS);
        bench_turns(s, 6);
        assert_given(n, n);
    }
    for (unsigned k = 0; k < REFRESH_KINDS; k++) {
        assert_idle(s, (enum refresh_kind)k);
        assert_false(wtimer_armed(&s->refresh[k].retry));
    }
    assert_int_equal(bench_kills, 0);
    bench_stop(s);
}

static void new_ones_go_to_those_who_use_them(void **state) {
    bench_run(take_new_ones);
}

/* A file that was touched, or written again as it was. */
static void keep_the_same(struct super *s) {
    started(s);
    bench_networks = 2;
    changed(s, REFRESH_ACCESS);
    bench_turns(s, 6);
    int table = s->now->access.fd, secrets = s->now->secrets_fd;
    memset(bench_given, 0, sizeof(bench_given));
    changed(s, REFRESH_ACCESS);
    bench_turns(s, 6);
    changed(s, REFRESH_SECRETS);
    bench_turns(s, 6);
    assert_given(0, 0);
    assert_true(s->now->access.fd == table && s->now->secrets_fd == secrets);
    assert_idle(s, REFRESH_ACCESS);
    assert_idle(s, REFRESH_SECRETS);
    bench_stop(s);
}

static void what_has_not_changed_is_given_to_nobody(void **state) {
    bench_run(keep_the_same);
}

/* A list whose file cannot be read has what it had; no event says when it can be read again. */
static void try_a_failing_list_again(struct super *s) {
    started(s);
    bench_networks = 1;
    bench_list_fails = true;
    changed(s, REFRESH_ACCESS);
    bench_turns(s, 6);
    assert_given(1, 0);
    assert_true(wtimer_armed(&s->refresh[REFRESH_ACCESS].retry));
    bench_list_fails = false;
    pass(s, FIRST_PAUSE_S + 1u);
    assert_given(2, 0);
    assert_false(wtimer_armed(&s->refresh[REFRESH_ACCESS].retry));
    bench_stop(s);
}

static void a_failing_list_is_tried_again(void **state) {
    bench_run(try_a_failing_list_again);
}

/* ---- a config role that does not do what it should ---- */

static enum refresh_kind kind_in_test;

static enum bench_does config_does;

static void be_refused(struct super *s) {
    started(s);
    bench_how[ROLE_CONFIG] = config_does;
    struct refresh *r = &s->refresh[kind_in_test];
    const int table = s->now->access.fd, secrets = s->now->secrets_fd;
    uint32_t pause_s = FIRST_PAUSE_S;
    bench_networks = bench_secret = 9;
    changed(s, kind_in_test);
    for (unsigned i = 0; i < 8; i++) {
        bench_turns(s, 4);
        if (bench_how[ROLE_CONFIG] == DOES_NOTHING) {
            assert_true(r->reading); /* until its time is over */
            pass(s, READ_S + 1u);
        }
        assert_idle(s, kind_in_test);
        assert_int_equal(r->retry_ms, pause_s * 1000);
        assert_true(wtimer_armed(&r->retry));
        assert_true(s->now->access.fd == table && s->now->secrets_fd == secrets); /* those in use stay */
        assert_given(0, 0);
        pass(s, pause_s + 1);
        pause_s = MIN(2 * pause_s, (uint32_t)LAST_PAUSE_S);
    }
    bench_how[ROLE_CONFIG] = DOES_WELL;
    for (unsigned i = 0; i < 4 && (r->reading || r->retry_ms); i++) /* the last try was a bad one's */
        pass(s, READ_S + LAST_PAUSE_S);
    assert_given(kind_in_test == REFRESH_ACCESS, kind_in_test == REFRESH_SECRETS);
    assert_false(r->reading || wtimer_armed(&r->retry) || r->retry_ms);
    bench_stop(s);
}

static void what_cannot_be_read_leaves_those_in_use(void **state) {
    for (config_does = DOES_NOTHING; config_does < BENCH_DOES; config_does++)
        for (kind_in_test = 0; kind_in_test < REFRESH_KINDS; kind_in_test++)
            bench_run(be_refused);
}

/* Sealed, but no table. */
static void be_sent_nonsense(struct super *s) {
    started(s);
    int table = s->now->access.fd;
    bench_how[ROLE_CONFIG] = DOES_NOTHING;
    changed(s, REFRESH_ACCESS);
    bench_turns(s, 4);
    for (size_t i = 0; i < BENCH_CHILDREN; i++)
        if (bench_children[i].pid && bench_children[i].role == ROLE_CONFIG && bench_children[i].control >= 0) {
            int fd = bench_secrets();
            assert_int_equal(control_send_text(bench_children[i].control, CONTROL_ACCESS_READ, span_str(""), &fd, 1), 0);
            __real_close(fd);
        }
    bench_turns(s, 4);
    assert_idle(s, REFRESH_ACCESS);
    assert_int_equal(s->now->access.fd, table);
    assert_given(0, 0);
    assert_true(wtimer_armed(&s->refresh[REFRESH_ACCESS].retry));
    bench_stop(s);
}

static void a_table_that_is_none_is_refused(void **state) {
    bench_run(be_sent_nonsense);
}

/* ---- in the middle ---- */

static void reload_meanwhile(struct super *s) {
    started(s);
    bench_networks = 3;
    bench_how[ROLE_CONFIG] = DOES_NOTHING;
    changed(s, REFRESH_ACCESS);
    changed(s, REFRESH_SECRETS);
    bench_turns(s, 4);
    bench_how[ROLE_CONFIG] = DOES_WELL;
    bench_command(s, COMMAND_RELOAD);
    for (unsigned i = 0; i < 400 && (s->lifecycle.stage != TRANSITION_NONE || i == 0); i++) {
        bench_later(s, 500);
        if (s->lifecycle.stage != TRANSITION_NONE)
            assert_false(refresh_look(s)); /* too early */
    }
    assert_int_equal(s->now->number, 1);
    assert_int_equal(access_list(&s->now->access.table, 0).networks, 3); /* as the reload has read it */
    assert_idle(s, REFRESH_ACCESS);
    assert_idle(s, REFRESH_SECRETS);
    bench_stop(s);
}

static void a_reload_reads_instead(void **state) {
    bench_run(reload_meanwhile);
}

static void stop_meanwhile(struct super *s) {
    started(s);
    bench_how[ROLE_CONFIG] = DOES_NOTHING;
    changed(s, REFRESH_ACCESS);
    changed(s, REFRESH_SECRETS);
    bench_turns(s, 2);
    bench_stop(s); /* bench_run() looks whether all is closed */
}

static void a_stop_drops_what_is_read(void **state) {
    bench_run(stop_meanwhile);
}

/* ---- faults ---- */

static unsigned fault, calls;

static void one_fault(struct super *s) {
    started(s);
    bench_networks = bench_secret = 5;
    bench_calls = 0;
    bench_fail_at = fault;
    s->refresh[REFRESH_ACCESS].signature++;
    s->refresh[REFRESH_SECRETS].signature++;
    bench_inside = true;
    (void)!refresh_look(s); /* what it does not do now the timers do */
    bench_inside = false;
    pass(s, 20);
    calls = fault ? calls : bench_calls;
    bench_fail_at = 0;
    pass(s, 2u * READ_S);
    assert_int_equal(access_lists(&s->now->access.table), 1); /* sooner or later */
    assert_int_equal(access_list(&s->now->access.table, 0).networks, 5);
    assert_idle(s, REFRESH_ACCESS);
    assert_idle(s, REFRESH_SECRETS);
    bench_stop(s);
}

static void a_fault_at_any_call_is_survived(void **state) {
    calls = 0;
    for (fault = 0; fault <= calls; fault++) {
        bench_fail_kind = fault;
        bench_run(one_fault);
    }
    assert_true(calls > 60);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_ones_go_to_those_who_use_them), cmocka_unit_test(what_has_not_changed_is_given_to_nobody),
        cmocka_unit_test(a_failing_list_is_tried_again),     cmocka_unit_test(what_cannot_be_read_leaves_those_in_use),
        cmocka_unit_test(a_table_that_is_none_is_refused),   cmocka_unit_test(a_reload_reads_instead),
        cmocka_unit_test(a_stop_drops_what_is_read),         cmocka_unit_test(a_fault_at_any_call_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
