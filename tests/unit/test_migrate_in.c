/* The taking side against every message and death of the other, against want of memory and of descriptors. */
#include "migrate_talk.h"

#include <fcntl.h>
#include <sys/resource.h>

static bool fail_malloc;
static unsigned mallocs, fail_at;
void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_malloc(size_t n) {
    return fail_malloc && ++mallocs == fail_at ? NULL : __real_malloc(n);
}

/* ---- the test between two relays ---- */

static int import_link = -1, import_liveness = -1;

/* The session of RELAY is offered; its message is the test's to pass on, change, or keep. */
static uint32_t intercept(const struct bench_way *way) {
    int ends[2], liveness[2];
    open_and_talk(way);
    begin_export(EXPORT_ALL);
    uint32_t number = expect_offer();
    assert_int_equal(ipc_pair(0, ends), 0);
    assert_int_equal(pipe2(liveness, O_CLOEXEC | O_NONBLOCK), 0);
    migrate_in_begin(&bench_other, ends[1]);
    import_link = ends[0];
    import_liveness = liveness[1];
    assert_int_equal(ipc_send(import_link, EXPORT_LIVENESS, span_of(NULL, 0), &liveness[0], 1), 0);
    close(liveness[0]);
    bench_turn_of(&bench_other);
    return number;
}

static void pass_on(void) {
    assert_int_equal(ipc_send(import_link, EXPORT_SESSIONS, offered.body, offered.fds, offered.nfds), 0);
}

/* What the importer made of a batch of one. */
static enum export_result answered(void) {
    struct export_msg m;
    struct export_taken t;
    static uint8_t body[IPC_BODY_MAX];
    int err = 0;
    assert_int_equal(export_recv(import_link, body, &m, &err), STEP_DONE);
    assert_int_equal(export_taken_unpack(&m, &t), 0);
    assert_int_equal(t.results.len, 1);
    return (enum export_result)t.results.p[0];
}

static void close_import_link(void) {
    if (import_link >= 0)
        close(import_link);
    import_link = -1;
}

static void close_import_liveness(void) {
    if (import_liveness >= 0)
        close(import_liveness);
    import_liveness = -1;
}

static void turn_other(int n) {
    while (n--)
        bench_turn_of(&bench_other);
}

/* RELAY forgets its copy, as a dead process would; the other one's session comes to it, and lives. */
static void expect_successor(uint32_t number) {
    assert_int_equal(bench_other.sessions.used, 1);
    assert_int_equal(reply_one(number, EXPORT_IS_TAKEN), 0);
    bench_turns(3);
    (void)last_report();
    leave_link();
    migrate_out_stop(&relay);
    bench_turn();
    assert_int_equal(relay.sessions.used, 0);
    bench_hop(&bench_other, &relay);
    expect_alive_and_finish();
}

/* RELAY goes on; the other one has nothing. */
static void expect_dropped(uint32_t number) {
    assert_int_equal(bench_other.sessions.used, 0);
    assert_int_equal(bench_other.pool.used, 0);
    assert_int_equal(reply_one(number, EXPORT_NO_ROOM), 0);
    leave_link();
    bench_settle();
    (void)last_report();
    migrate_out_stop(&relay);
    assert_false(bench.client_heard_fin || bench.client_heard_reset || bench.backend_heard_fin || bench.backend_heard_reset);
    close_import_link();
    close_import_liveness();
    turn_other(2);
    assert_true(list_empty(&bench_other.importing));
    expect_alive_and_finish();
}

static void a_dead_exporter_leaves_its_sessions(void **state) {
    uint32_t number = intercept(&tls13);
    pass_on();
    close_import_link(); /* before anything was read */
    close_import_liveness();
    turn_other(3);
    expect_successor(number);
}

static void an_exporter_that_lives_on_keeps_them(void **state) {
    uint32_t number = intercept(&tls13);
    pass_on();
    assert_int_equal(write(import_liveness, "", 1), 1);
    close_import_link();
    turn_other(3);
    expect_dropped(number);
}

static void a_dying_exporters_will_is_waited_for(void **state) {
    uint32_t number = intercept(&tls13);
    pass_on();
    close_import_link();
    turn_other(3);
    assert_int_equal(bench_other.sessions.used, 1);
    client_say(100);
    client_write(SIZE_MAX);
    turn_other(3);
    assert_int_equal(bench.up_got, 1000); /* nobody moves it yet */
    close_import_liveness();
    turn_other(3);
    backend_read(SIZE_MAX);
    assert_int_equal(bench.up_got, 1100);
    expect_successor(number);
}

static void without_a_will_nothing_is_inherited(void **state) {
    uint32_t number = intercept(&tls13);
    pass_on();
    close_import_link();
    turn_other(3);
    bench_ms += 1100;
    turn_other(3);
    expect_dropped(number);
}

static void what_is_answered_is_at_work(void **state) {
    uint32_t number = intercept(&tls13);
    pass_on();
    turn_other(2);
    assert_int_equal(answered(), EXPORT_IS_TAKEN);
    close_import_link();
    assert_int_equal(write(import_liveness, "", 1), 1); /* whatever it says now comes too late */
    close_import_liveness();
    turn_other(3);
    expect_successor(number);
}

/* The message with sockets that nobody minds being used. */
static void pass_on_decoys(void) {
    int a[2], b[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, a) == 0);
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, b) == 0);
    assert_int_equal(ipc_send(import_link, EXPORT_SESSIONS, offered.body, (int[]){a[0], b[0]}, offered.nfds), 0);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
}

/* Every byte of a session changed in two ways: it is refused, or taken and makes sense; nothing is left behind. */
static void any_changed_byte_is_borne(void **state) {
    const struct bench_way *all[] = {&tls13, &plain};
    unsigned taken = 0, refused = 0;
    for (size_t w = 0; w < ARRAY_LEN(all); w++) {
        uint32_t number = intercept(all[w]);
        for (size_t at = EXPORT_BATCH_LEN; at < offered.body.len; at++) {
            for (unsigned flip = 1; flip <= 0x80; flip *= 0x80) {
                scratch[at] ^= (uint8_t)flip;
                pass_on_decoys();
                bench_turn_of(&bench_other);
                scratch[at] ^= (uint8_t)flip;
                taken += answered() == EXPORT_IS_TAKEN;
                refused += bench_other.sessions.used == 0;
                uint32_t slot = 0;
                for (struct session *s; (s = slab_next(&bench_other.sessions, &slot));)
                    session_cut(&bench_other, s);
                bench_turn_of(&bench_other);
            }
        }
        assert_int_equal(bench_other.sessions.used, 0);
        bench_drop_events();
        expect_dropped(number);
    }
    assert_true(taken > 100 && refused > 100);
}

static void odd_descriptors_are_refused(void **state) {
    uint32_t number = intercept(&tls13);
    int packets[2], datagrams[2], file = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, packets), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, datagrams), 0);
    int odd[][2] = {{packets[0], offered.fds[1]},   {offered.fds[0], packets[0]}, {datagrams[0], offered.fds[1]},
                    {offered.fds[0], datagrams[0]}, {file, offered.fds[1]},       {offered.fds[0], file}};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        assert_int_equal(ipc_send(import_link, EXPORT_SESSIONS, offered.body, odd[i], 2), 0);
        turn_other(2);
        assert_int_not_equal(answered(), EXPORT_IS_TAKEN);
    }
    assert_int_equal(ipc_send(import_link, EXPORT_SESSIONS, offered.body, offered.fds, 1), 0);
    turn_other(2);
    assert_int_equal(answered(), EXPORT_IS_REFUSED);
    for (size_t i = 0; i < 2; i++) {
        close(packets[i]);
        close(datagrams[i]);
    }
    close(file);
    expect_dropped(number);
}

static void another_version_is_refused(void **state) {
    uint32_t number = intercept(&tls13);
    scratch[0]++;
    pass_on();
    turn_other(2);
    scratch[0]--;
    assert_int_equal(answered(), EXPORT_IS_REFUSED);
    expect_dropped(number);
}

static void without_descriptors_there_is_no_room(void **state) {
    uint32_t number = intercept(&tls13);
    struct rlimit was, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    for (unsigned spare = 0; spare < 2; spare++) { /* none, and one of the two that are needed */
        int probe = dup(0);
        none = (struct rlimit){(rlim_t)probe + spare, was.rlim_max};
        close(probe);
        pass_on();
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        turn_other(2);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
        assert_int_equal(answered(), EXPORT_NO_ROOM);
    }
    expect_dropped(number);
}

static void without_memory_nothing_is_lost(void **state) {
    uint32_t number = intercept(&tls13);
    unsigned failures = 0;
    for (fail_at = 1;; fail_at++) {
        pass_on();
        mallocs = 0;
        fail_malloc = true;
        turn_other(2);
        fail_malloc = false;
        if (answered() == EXPORT_IS_TAKEN)
            break;
        failures++;
        assert_int_equal(bench_other.sessions.used, 0);
    }
    assert_true(failures > 0);
    expect_successor(number);
    close_import_link();
    close_import_liveness();
    turn_other(2);
}

static void broken_messages_end_the_link(void **state) {
    static const struct {
        uint16_t type;
        struct span body;
    } bad[] = {{EXPORT_SESSIONS, {NULL, 0}},
               {EXPORT_SESSIONS, {(const uint8_t *)"\1\1\0\0\0\1\0\0", 8}},
               {EXPORT_BYTES, {(const uint8_t *)"\7x", 2}},
               {EXPORT_TAKEN, {(const uint8_t *)"x", 1}},
               {EXPORT_LIVENESS, {NULL, 0}},
               {77, {NULL, 0}}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint32_t number = intercept(&plain);
        assert_int_equal(ipc_send(import_link, bad[i].type, bad[i].body, NULL, 0), 0);
        turn_other(2);
        assert_true(list_empty(&bench_other.importing));
        expect_dropped(number);
    }
}

static void the_relays_end_drops_and_keeps(void **state) {
    uint32_t number = intercept(&tls13);
    pass_on();
    close_import_link();
    turn_other(2); /* staged, the liveness pipe is open */
    migrate_in_end_all(&bench_other);
    expect_dropped(number);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dead_exporter_leaves_its_sessions),  cmocka_unit_test(an_exporter_that_lives_on_keeps_them),
        cmocka_unit_test(a_dying_exporters_will_is_waited_for), cmocka_unit_test(without_a_will_nothing_is_inherited),
        cmocka_unit_test(what_is_answered_is_at_work),          cmocka_unit_test(any_changed_byte_is_borne),
        cmocka_unit_test(odd_descriptors_are_refused),          cmocka_unit_test(another_version_is_refused),
        cmocka_unit_test(without_descriptors_there_is_no_room), cmocka_unit_test(without_memory_nothing_is_lost),
        cmocka_unit_test(broken_messages_end_the_link),         cmocka_unit_test(the_relays_end_drops_and_keeps),
    };
    return cmocka_run_group_tests(tests, migrate_setup, NULL);
}
