/*
 * The giving side against every answer, silence and death of the other: some relay goes on with the session, no byte is lost,
 * and nothing is left behind.
 */
#include "migrate_talk.h"

/* ---- answers ---- */

static void a_session_in_flight_is_left_alone(void **state) {
    open_and_talk(&tls13);
    begin_export(EXPORT_ALL);
    uint32_t number = expect_offer();
    client_say(500);
    client_write(SIZE_MAX);
    backend_write(500);
    bench_later(100000); /* no deadline ends it either; the link does not outlast it */
    assert_int_equal(bench.up_got, 1000);
    (void)number;
    leave_link();
    bench_settle();
    assert_int_equal(bench.up_got, 1500);
    assert_int_equal(bench.down_got, 1500);
    (void)last_report();
    expect_alive_and_finish();
}

static void a_full_importer_is_asked_again(void **state) {
    open_and_talk(&tls13);
    begin_export(EXPORT_ALL);
    for (int i = 0; i < 3; i++) {
        uint32_t number = expect_offer();
        client_say(100);
        client_write(SIZE_MAX);
        assert_int_equal(reply_one(number, EXPORT_NO_ROOM), 0);
        bench_settle();
        assert_int_equal(bench.up_got, bench.up_sent);
        assert_false(next_message());
        if (i == 0)
            expect_reported(0, 1, false);
        bench_later(300);
    }
    leave_link();
    bench_settle();
    expect_reported(0, 1, true);
    expect_alive_and_finish();
}

static void what_is_refused_stays(void **state) {
    open_and_talk(&tls13);
    begin_export(EXPORT_ALL);
    assert_int_equal(reply_one(expect_offer(), EXPORT_IS_REFUSED), 0);
    bench_settle();
    expect_reported(0, 1, false);
    bench_later(10000);
    assert_false(next_message());
    expect_alive_and_finish();
    expect_reported(0, 0, false); /* and so it is empty in the end */
    leave_link();
    bench_turns(3);
    expect_reported(0, 0, true);
}

static void what_is_taken_is_forgotten_without_a_word(void **state) {
    open_and_talk(&tls13);
    begin_export(EXPORT_ALL);
    assert_int_equal(reply_one(expect_offer(), EXPORT_IS_TAKEN), 0);
    bench_settle();
    expect_reported(1, 0, false);
    bench_later(100);
    bench_expect_gone();
    assert_false(bench.client_heard_fin || bench.client_heard_reset || bench.backend_heard_fin);
    bench.born = 0; /* no event: it is not over */
    (void)bench_event();
    leave_link();
    bench_turns(3);
    (void)last_report();
    bench_close();
}

static void wrong_answers_end_the_link(void **state) {
    static const struct {
        uint32_t off;
        size_t n;
        uint8_t result;
    } wrong[] = {{1, 1, 0}, {0, 2, 0}, {0, 1, EXPORT_RESULTS}, {0, 0, 0}};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        open_and_talk(&tls13);
        begin_export(EXPORT_ALL);
        uint8_t results[2] = {wrong[i].result, wrong[i].result};
        assert_int_equal(reply(expect_offer() + wrong[i].off, results, wrong[i].n), 0);
        bench_settle();
        expect_reported(0, 1, true);
        assert_int_equal(liveness_says(), 1);
        leave_link();
        expect_alive_and_finish();
    }
}

static void an_answer_to_nothing_ends_the_link(void **state) {
    open_and_talk(&plain);
    begin_export(EXPORT_ALL);
    uint32_t number = expect_offer();
    assert_int_equal(reply_one(number, EXPORT_NO_ROOM), 0);
    assert_int_equal(reply_one(number, EXPORT_IS_TAKEN), 0);
    bench_settle();
    expect_reported(0, 1, true);
    leave_link();
    expect_alive_and_finish();
}

/* ---- deaths and silence of the importer ---- */

static void an_importer_that_dies_has_nothing(void **state) {
    open_and_talk(&tls13);
    begin_export(EXPORT_ALL);
    (void)expect_offer();
    leave_link();
    bench_settle();
    expect_reported(0, 1, true);
    expect_alive_and_finish();
}

static void an_importer_that_answers_and_dies_had_it(void **state) {
    open_and_talk(&tls13);
    begin_export(EXPORT_ALL);
    assert_int_equal(reply_one(expect_offer(), EXPORT_IS_TAKEN), 0);
    leave_link();
    bench_settle();
    expect_reported(1, 0, true);
    assert_true(bench.client_heard_fin || bench.client_heard_reset);
    bench.born = 0;
    bench_expect_gone();
    bench_close();
}

static void a_silent_importer_is_given_up(void **state) {
    open_and_talk(&tls13);
    begin_export(EXPORT_ALL);
    uint32_t number = expect_offer();
    bench_later(MIGRATE_STALL_MS - 100);
    expect_silence();
    bench_later(200);
    bench_turns(3);
    expect_reported(0, 1, true);
    assert_int_equal(liveness_says(), 1);
    assert_int_equal(reply_one(number, EXPORT_IS_TAKEN), ERR_CLOSED); /* too late: it cannot believe to have it */
    leave_link();
    expect_alive_and_finish();
}

/* What was answered before the exporter gave up is the importer's: the exporter hears it even then. */
static void a_last_answer_is_heard(void **state) {
    open_and_talk(&tls13);
    begin_export(EXPORT_ALL);
    assert_int_equal(reply_one(expect_offer(), EXPORT_IS_TAKEN), 0);
    migrate_out_stop(&relay);
    bench_turns(2);
    bench_expect_gone();
    bench.born = 0;
    leave_link();
    bench_close();
}

static void another_export_takes_the_place_of_the_first(void **state) {
    open_and_talk(&tls13);
    begin_export(EXPORT_ALL);
    (void)expect_offer();
    int old_link = link_fd, old_liveness = liveness_fd;
    close_offer();
    begin_export(EXPORT_ALL);
    uint8_t byte;
    assert_int_equal(read(old_liveness, &byte, 1), 1);
    close(old_link);
    close(old_liveness);
    assert_int_equal(reply_one(expect_offer(), EXPORT_NO_ROOM), 0);
    bench_settle();
    expect_reported(0, 1, false);
    leave_link();
    bench_settle();
    (void)last_report();
    expect_alive_and_finish();
}

/* ---- many bytes, small links ---- */

/* A bulk session whose client has stopped reading: more waits than fits into one message. */
static void open_and_block(void) {
    struct bench_way way = tls13;
    way.client_sndbuf = 50000;
    bench_open(&way);
    for (int i = 0; i < 1000; i++) {
        for (int k = 0; k < 6; k++)
            backend_write(65536);
        bench_turn();
        if (bench_session()->down.wait.len > EXPORT_BYTES_MAX)
            return;
        for (int k = 0; k < 12 && i % 10 < 8; k++)
            client_read(SIZE_MAX);
    }
    fail();
}

static void waiting_bytes_go_ahead(void **state) {
    open_and_block();
    bench_hop(&relay, &bench_other);
    bench_hop(&bench_other, &relay);
    bench_settle();
    assert_int_equal(bench.down_got, bench.down_sent);
    expect_alive_and_finish();
}

static void a_full_link_is_waited_for(void **state) {
    struct export_msg m;
    int ends[2], err = 0;
    size_t ahead = 0;
    open_and_block();
    size_t waits = bench_session()->down.wait.len;
    assert_int_equal(ipc_pair(60000, ends), 0); /* room for one message of bytes at a time */
    migrate_out_begin(&relay, &(struct control_export){EXPORT_ALL, EXPORT_ANY}, ends[0]);
    for (int i = 0; i < 100; i++) {
        bench_later(30);
        if (export_recv(ends[1], scratch, &m, &err) != STEP_DONE)
            continue;
        export_msg_close(&m);
        if (m.type == EXPORT_SESSIONS)
            break;
        ahead += m.type == EXPORT_BYTES ? m.body.len - 1 : 0;
    }
    assert_int_equal(m.type, EXPORT_SESSIONS);
    assert_int_equal(ahead, waits);
    close(ends[1]);
    bench_settle();
    expect_reported(0, 1, true);
    expect_alive_and_finish();
}

static void a_link_without_any_room_is_no_link(void **state) {
    int ends[2];
    open_and_talk(&tls13);
    assert_int_equal(ipc_pair(1, ends), 0);
    while (ipc_send(ends[0], EXPORT_BYTES, span_of(scratch, 100), NULL, 0) == 0)
        ;
    migrate_out_begin(&relay, &(struct control_export){EXPORT_ALL, EXPORT_ANY},
                      ends[0]); /* not even the liveness pipe can be sent */
    expect_reported(0, 1, true);
    close(ends[1]);
    expect_alive_and_finish();
}

/* ---- how many ---- */

static void open_many(unsigned n, int *clients) {
    for (unsigned i = 0; i < n; i++) {
        int fds[2];
        MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
        bench_start(&(struct conn_info){.client = {.family = AF_INET, .ip = {192, 0, 2, 1}}}, NULL, span_of(NULL, 0), fds[1]);
        clients[i] = fds[0];
        bench_turn_of(&relay);
    }
}

/* All over: clients and backends close, both relays have nothing left. */
static void end_many(unsigned n, int *clients) {
    for (unsigned i = 0; i < n; i++)
        close(clients[i]);
    for (int fd; (fd = accept4(bench.listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
        close(fd);
    for (int i = 0; i < 20; i++) {
        bench_turn_of(&relay);
        bench_turn_of(&bench_other);
    }
    bench_ms += 70000;
    bench_turn_of(&relay);
    bench_turn_of(&bench_other);
    bench_ms += 6000;
    bench_turn_of(&relay);
    bench_turn_of(&bench_other);
    assert_int_equal(relay.sessions.used + bench_other.sessions.used, 0);
    bench.born = n;
    (void)bench_event();
}

static void so_many_move_and_no_more(void **state) {
    enum { ALL = 14, SOME = 5 };
    int clients[ALL], ends[2];
    open_many(ALL, clients);
    assert_int_equal(relay.sessions.used, ALL);
    assert_int_equal(ipc_pair(0, ends), 0);
    migrate_in_begin(&bench_other, ends[1]);
    migrate_out_begin(&relay, &(struct control_export){SOME, EXPORT_ANY}, ends[0]);
    for (int i = 0; i < 10; i++) {
        bench_turn_of(&relay);
        bench_turn_of(&bench_other);
    }
    expect_reported(SOME, ALL - SOME, false);
    assert_int_equal(relay.sessions.used, ALL - SOME);
    assert_int_equal(bench_other.sessions.used, SOME);
    assert_true(list_empty(&bench_other.importing));
    assert_int_equal(bench_other.services[0].backends.list[0].sessions, SOME);
    end_many(ALL, clients);
}

/* Of sessions old and new the idle ones go first, or the active ones, and then the others. */
static void who_shall_go_first_does(void **state) {
    static const enum export_first firsts[] = {EXPORT_IDLE, EXPORT_ACTIVE};
    for (size_t f = 0; f < ARRAY_LEN(firsts); f++) {
        enum { ALL = 12, ACTIVE = 5 };
        int clients[ALL], ends[2];
        unsigned want = firsts[f] == EXPORT_ACTIVE ? ACTIVE : ALL - ACTIVE, active = 0;
        open_many(ALL, clients);
        bench_ms += 10000;
        for (unsigned i = 0; i < ACTIVE; i++)
            assert_int_equal(write(clients[2 * i], "x", 1), 1);
        bench_turn_of(&relay);
        assert_int_equal(ipc_pair(0, ends), 0);
        migrate_in_begin(&bench_other, ends[1]);
        migrate_out_begin(&relay, &(struct control_export){want, firsts[f]}, ends[0]);
        for (int i = 0; i < 10; i++) {
            bench_turn_of(&relay);
            bench_turn_of(&bench_other);
        }
        expect_reported(want, ALL - want, false);
        uint32_t slot = 0;
        for (const struct session *s; (s = slab_next(&bench_other.sessions, &slot));)
            active += s->up.bytes > 0;
        assert_int_equal(active, firsts[f] == EXPORT_ACTIVE ? ACTIVE : 0);
        assert_int_equal(ipc_pair(0, ends), 0);
        migrate_in_begin(&bench_other, ends[1]);
        migrate_out_begin(&relay, &(struct control_export){ALL, firsts[f]}, ends[0]);
        for (int i = 0; i < 10; i++) {
            bench_turn_of(&relay);
            bench_turn_of(&bench_other);
        }
        expect_reported(ALL - want, 0, false);
        end_many(ALL, clients);
    }
}

static void without_room_the_rest_stays(void **state) {
    enum { ALL = 12, ROOM = 7 };
    int clients[ALL], ends[2];
    uint32_t room = bench_other.room;
    open_many(ALL, clients);
    bench_other.room = ROOM;
    assert_int_equal(ipc_pair(0, ends), 0);
    migrate_in_begin(&bench_other, ends[1]);
    migrate_out_begin(&relay, &(struct control_export){EXPORT_ALL, EXPORT_ANY}, ends[0]);
    for (int i = 0; i < 10; i++) {
        bench_turn_of(&relay);
        bench_turn_of(&bench_other);
    }
    expect_reported(ROOM, ALL - ROOM, false);
    assert_int_equal(bench_other.sessions.used, ROOM);
    bench_other.room = room;
    bench_ms += 300;
    for (int i = 0; i < 10; i++) {
        bench_turn_of(&relay);
        bench_turn_of(&bench_other);
    }
    expect_reported(ALL, 0, false);
    migrate_out_stop(&relay);
    end_many(ALL, clients);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_in_flight_is_left_alone),
        cmocka_unit_test(a_full_importer_is_asked_again),
        cmocka_unit_test(what_is_refused_stays),
        cmocka_unit_test(what_is_taken_is_forgotten_without_a_word),
        cmocka_unit_test(wrong_answers_end_the_link),
        cmocka_unit_test(an_answer_to_nothing_ends_the_link),
        cmocka_unit_test(an_importer_that_dies_has_nothing),
        cmocka_unit_test(an_importer_that_answers_and_dies_had_it),
        cmocka_unit_test(a_silent_importer_is_given_up),
        cmocka_unit_test(a_last_answer_is_heard),
        cmocka_unit_test(another_export_takes_the_place_of_the_first),
        cmocka_unit_test(waiting_bytes_go_ahead),
        cmocka_unit_test(a_full_link_is_waited_for),
        cmocka_unit_test(a_link_without_any_room_is_no_link),
        cmocka_unit_test(so_many_move_and_no_more),
        cmocka_unit_test(who_shall_go_first_does),
        cmocka_unit_test(without_room_the_rest_stays),
    };
    return cmocka_run_group_tests(tests, migrate_setup, NULL);
}
