/* The rule of balance between relays, played over intervals with made-up numbers. */
#include "supervisor/balance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/defs.h"

static struct balance_rule b;
static struct balance_relay relays[4];
static size_t n;
static struct balance_migration move;

static void begin(size_t count) {
    b = (struct balance_rule){0};
    n = count;
    for (size_t i = 0; i < n; i++)
        relays[i] = (struct balance_relay){.there = true, .room = 10000};
}

/* Intervals until sessions move; LIMIT when none do. */
static unsigned until_move(unsigned limit) {
    for (unsigned i = 0; i < limit; i++)
        if (balance_step(&b, relays, n, &move))
            return i + 1;
    return limit;
}

/* What a move does: active sessions take CPU with them, each its part; those moved for their number are idle. */
static void carry_out(void) {
    struct balance_relay *from = &relays[move.from], *to = &relays[move.to];
    uint32_t busy = move.why == BALANCE_BY_CPU ? (uint32_t)((uint64_t)from->busy * move.count / from->sessions) : 0;
    assert_true(move.count <= from->sessions);
    from->sessions -= move.count;
    to->sessions += move.count;
    from->busy -= busy;
    to->busy += busy;
    assert_true(to->sessions <= to->room);
}

static void even_relays_are_left_alone(void **state) {
    begin(4);
    for (size_t i = 0; i < n; i++)
        relays[i] = (struct balance_relay){true, 1000 + 20 * (uint32_t)i, 10000, 900 - 30 * (uint32_t)i};
    assert_int_equal(until_move(1000), 1000);
}

static void an_empty_relay_gets_its_half(void **state) {
    begin(2);
    relays[0].sessions = 1000;
    assert_int_equal(until_move(100), BALANCE_STEADY);
    assert_int_equal(move.from, 0);
    assert_int_equal(move.to, 1);
    assert_int_equal(move.count, 500);
    assert_int_equal(move.why, BALANCE_BY_SESSIONS);
    carry_out();
    assert_int_equal(until_move(1000), 1000); /* and that was all */
}

static void few_sessions_are_not_worth_it(void **state) {
    begin(2);
    relays[0].sessions = BALANCE_GAP;
    assert_int_equal(until_move(100), 100);
    relays[0].sessions = 3000; /* no more than half as many again */
    relays[1].sessions = 2100;
    assert_int_equal(until_move(100), 100);
    relays[1].sessions = 1900;
    assert_int_equal(until_move(100), BALANCE_STEADY);
}

static void a_moment_is_no_reason(void **state) {
    begin(2);
    for (int i = 0; i < 50; i++) {
        relays[0].sessions = i % BALANCE_STEADY == 0 ? 0 : 1000; /* never so long in a row */
        assert_false(balance_step(&b, relays, n, &move));
    }
}

static void a_busy_relay_gives_active_sessions(void **state) {
    begin(2);
    relays[0] = (struct balance_relay){true, 100, 10000, 950};
    relays[1] = (struct balance_relay){true, 100, 10000, 150};
    assert_int_equal(until_move(100), BALANCE_STEADY);
    assert_int_equal(move.why, BALANCE_BY_CPU);
    assert_int_equal(move.from, 0);
    assert_int_equal(move.count, 42); /* 100 * 800 / 1900 */
    carry_out();
    assert_true(relays[0].busy < relays[1].busy + BALANCE_BUSY_GAP);
    assert_true(until_move(1000) < 1000); /* idle ones the other way, for the number */
    assert_int_equal(move.why, BALANCE_BY_SESSIONS);
    assert_int_equal(move.from, 1);
    carry_out();
    assert_int_equal(until_move(1000), 1000);
}

static void cpu_below_the_mark_is_no_reason(void **state) {
    begin(2);
    relays[0] = (struct balance_relay){true, 100, 10000, BALANCE_BUSY - 1};
    relays[1] = (struct balance_relay){true, 100, 10000, 0};
    assert_int_equal(until_move(100), 100);
    relays[0].busy = BALANCE_BUSY;
    assert_int_equal(until_move(100), BALANCE_STEADY);
}

/* One session that fills a CPU goes from one relay to the other and back, ever more rarely. */
static void what_does_not_help_is_done_ever_more_rarely(void **state) {
    begin(2);
    relays[0] = (struct balance_relay){true, 50, 10000, 1000};
    relays[1] = (struct balance_relay){true, 50, 10000, 0};
    unsigned last = until_move(10000), moves = 1;
    assert_int_equal(last, BALANCE_STEADY);
    for (unsigned pause = BALANCE_PAUSE; moves < 9; moves++, pause = MIN(2 * pause, (unsigned)BALANCE_PAUSE_MAX)) {
        uint32_t busy = relays[0].busy;
        relays[0].busy = relays[1].busy;
        relays[1].busy = busy;
        unsigned took = until_move(10000);
        assert_true(took >= pause);
        assert_true(took >= last);
        last = took;
    }
    assert_true(last >= BALANCE_PAUSE_MAX);
}

static void who_is_not_there_has_no_part(void **state) {
    begin(3);
    relays[0].sessions = 1000;
    relays[1].there = false;
    relays[2].sessions = 990;
    assert_int_equal(until_move(100), 100);
    relays[2].there = false; /* alone */
    assert_int_equal(until_move(100), 100);
    relays[0].there = false; /* nobody */
    assert_int_equal(until_move(100), 100);
    begin(1);
    assert_int_equal(until_move(100), 100);
    begin(0);
    assert_int_equal(until_move(100), 100);
}

static void room_is_respected(void **state) {
    begin(2);
    relays[0] = (struct balance_relay){true, 9000, 10000, 0};
    relays[1] = (struct balance_relay){true, 100, 150, 0};
    assert_int_equal(until_move(100), BALANCE_STEADY);
    assert_int_equal(move.count, 50);
    relays[1].sessions = 150; /* full */
    assert_int_equal(until_move(100), 100);
}

static void no_move_is_larger_than_a_share(void **state) {
    begin(2);
    relays[0].sessions = 9000;
    while (until_move(1000) < 1000) {
        assert_int_equal(move.count, BALANCE_MIGRATE_MAX);
        carry_out();
    }
    assert_int_equal(relays[1].sessions, 4000);
}

/* For any numbers: moves make sense, and constant numbers of sessions end even. */
static void any_loads_come_to_rest(void **state) {
    uint64_t random = 88172645463325252u;
    for (unsigned round = 0; round < 200; round++) {
        begin(1 + round % 4);
        for (size_t i = 0; i < n; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            relays[i].sessions = (uint32_t)(random % 10000);
        }
        unsigned moves = 0;
        while (until_move(2000) < 2000) {
            assert_true(move.from < n && move.to < n && move.from != move.to && move.count > 0);
            carry_out();
            assert_true(++moves < 100);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(even_relays_are_left_alone),
        cmocka_unit_test(an_empty_relay_gets_its_half),
        cmocka_unit_test(few_sessions_are_not_worth_it),
        cmocka_unit_test(a_moment_is_no_reason),
        cmocka_unit_test(a_busy_relay_gives_active_sessions),
        cmocka_unit_test(cpu_below_the_mark_is_no_reason),
        cmocka_unit_test(what_does_not_help_is_done_ever_more_rarely),
        cmocka_unit_test(who_is_not_there_has_no_part),
        cmocka_unit_test(room_is_respected),
        cmocka_unit_test(no_move_is_larger_than_a_share),
        cmocka_unit_test(any_loads_come_to_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
