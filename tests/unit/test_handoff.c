/* What a relay takes from a handshaker: whole messages of sessions that make sense, and no descriptor stays behind. */
#include "export_samples.h"

#include <poll.h>
#include <sys/resource.h>

#include "relay/arrivals.h"
#include "relay/relay.h"
#include "relay/session.h"
#include "relay/session_info.h"
#include "relay_bench.h"

static int handshaker;             /* its end of the link */
static int clients[256], nclients; /* the other ends of the descriptors that were sent */
static uint8_t body[IPC_BODY_MAX];
static struct wr message;

static int open_link(void **state) {
    int ends[2];
    assert_int_equal(ipc_pair(0, ends), 0);
    assert_int_equal(loop_watch(&relay.loop, ends[1], EPOLLIN, RELAY_LINK, 0, 0), 0);
    handshaker = ends[0];
    relay.arrivals.links[0] = ends[1];
    message = wr_of(body, sizeof(body));
    nclients = 0;
    return 0;
}

static void begin_message(uint16_t sessions) {
    message = wr_of(body, sizeof(body));
    export_batch_pack(&message, &(struct export_batch){EXPORT_MAJOR, EXPORT_MINOR, 0, sessions});
}

/* Sends the message with N new descriptors. */
static void send_only(unsigned n) {
    int fds[EXPORT_FDS_MAX], pair[2];
    MUST(wr_end(&message));
    for (unsigned i = 0; i < n; i++) {
        MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
        MUST(nclients < (int)ARRAY_LEN(clients));
        clients[nclients++] = pair[0];
        fds[i] = pair[1];
    }
    assert_int_equal(ipc_send(handshaker, EXPORT_SESSIONS, wr_written(&message), fds, n), 0);
    for (unsigned i = 0; i < n; i++)
        close(fds[i]);
}

/* The same, and the relay has its turns. */
static void send_message(unsigned n) {
    send_only(n);
    bench_turns(3 + n);
}

static bool is_closed(int client) {
    struct pollfd p = {.fd = client, .events = POLLIN};
    return poll(&p, 1, 0) == 1 && p.revents & POLLHUP;
}

/* The relay has let go of the last client's socket. */
static bool client_is_closed(void) {
    return is_closed(clients[nclients - 1]);
}

static int close_link(void **state) {
    uint32_t slot = 0;
    for (struct session *s; (s = slab_next(&relay.sessions, &slot));)
        session_cut(&relay, s);
    close(handshaker);
    bench_turns(3);
    assert_int_equal(relay.arrivals.links[0], -1);
    while (nclients > 0) {
        assert_true(client_is_closed());
        close(clients[--nclients]);
    }
    for (int fd; (fd = accept4(bench.listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
        close(fd);
    bench_drop_events();
    assert_int_equal(relay.sessions.used + relay.pool.used, 0);
    return 0;
}

static struct session *only_session(void) {
    uint32_t slot = 0;
    assert_int_equal(relay.sessions.used, 1);
    return slab_next(&relay.sessions, &slot);
}

static struct export_session sample(void) {
    struct export_session s = sample_handoff();
    static struct sample_room room;
    const struct record_layer layer = sample_fresh_layer();
    struct conn_info info = s.conn_info;
    info.service = 0;
    sample_parts(&s, &info, &layer, &room);
    s.partial.here = span_of("\x17\x03\x03\x01\x00...", 8); /* a record that is not whole */
    return s;
}

static void a_session_comes_with_all_that_is_known(void **state) {
    const struct record_layer layer = sample_fresh_layer();
    struct export_session x = sample();
    struct conn_info info;
    begin_message(1);
    export_append(&message, &x, 1);
    send_message(1);
    struct session *s = only_session();
    assert_true(s->client.tls);
    assert_same_record_layer(&s->record_layer, &layer);
    assert_int_equal(s->partial.len, 8);
    assert_int_equal(s->greeting, GREETING_NNTP);
    session_conn_info(s, &info);
    x.conn_info.id.cert = span_of(NULL, 0); /* not kept: it is not sent to the backend */
    assert_same_conn_info(&info, &x.conn_info);
}

static void bytes_that_pass_through_have_no_keys(void **state) {
    static struct sample_room room;
    struct export_session x = sample();
    struct conn_info info = x.conn_info;
    info.tls_version = info.suite = info.group = 0;
    sample_parts(&x, &info, NULL, &room);
    x.flags = EXPORT_HANDOFF | EXPORT_READ_AHEAD;
    x.greeting = GREETING_NONE;
    begin_message(1);
    export_append(&message, &x, 1);
    send_message(1);
    assert_false(only_session()->client.tls);
}

static void expect_refused(const struct export_session *x) {
    begin_message(1);
    export_append(&message, x, 1);
    send_message(1);
    assert_int_equal(relay.sessions.used, 0);
    assert_true(client_is_closed());
}

static void sessions_that_make_no_sense_are_refused(void **state) {
    static struct sample_room room;
    static const uint8_t zeros[EXPORT_READ_AHEAD_MAX + 1];
    struct record_layer layer = sample_fresh_layer();
    struct export_session x = sample();
    struct conn_info info = x.conn_info;
    x.flags &= ~(uint32_t)EXPORT_READ_AHEAD; /* though there is some */
    expect_refused(&x);
    x = sample();
    x.greeting = GREETINGS;
    expect_refused(&x);
    x = sample();
    x.partial.here = span_of(NULL, 0);
    expect_refused(&x);
    x.partial.here = span_of(zeros, sizeof(zeros));
    expect_refused(&x);
    x = sample();
    x.partial.ahead = 1;
    expect_refused(&x);
    info.service = 1; /* there is one */
    sample_parts(&x, &info, &layer, &room);
    expect_refused(&x);
    x = sample();
    layer.suite_id = 0xc02b; /* of TLS 1.2 */
    sample_parts(&x, &x.conn_info, &layer, &room);
    expect_refused(&x);
    layer.suite_id = 0x009c;
    sample_parts(&x, &x.conn_info, &layer, &room);
    expect_refused(&x);
    x = sample_waiting(); /* a relay's, or what pretends to be */
    expect_refused(&x);
}

static void every_cut_of_a_message_is_refused(void **state) {
    struct export_session x = sample();
    begin_message(1);
    export_append(&message, &x, 1);
    for (size_t n = 0, len = message.len; n < len; n += 1 + n / 16) {
        message.len = n;
        send_message(1);
        assert_int_equal(relay.sessions.used, 0);
        assert_true(client_is_closed());
    }
}

static void descriptors_and_sessions_agree(void **state) {
    struct export_session x = sample();
    begin_message(1);
    export_append(&message, &x, 1);
    send_message(2);
    assert_true(client_is_closed());
    send_message(0);
    begin_message(1);
    export_append(&message, &x, 2);
    send_message(2);
    assert_true(client_is_closed());
    assert_int_equal(relay.sessions.used, 0);
}

static void another_version_is_refused(void **state) {
    struct export_session x = sample();
    begin_message(1);
    body[0] = EXPORT_MAJOR + 1;
    export_append(&message, &x, 1);
    send_message(1);
    assert_int_equal(relay.sessions.used, 0);
    assert_true(client_is_closed());
    body[0] = EXPORT_MAJOR; /* and the link goes on */
    send_message(1);
    assert_int_equal(relay.sessions.used, 1);
}

/* Between new sessions those that are there have their turn. */
static void one_session_begins_a_turn(void **state) {
    struct export_session x = sample();
    begin_message(EXPORT_ARRIVE_MAX);
    for (unsigned i = 0; i < EXPORT_ARRIVE_MAX; i++)
        export_append(&message, &x, 1);
    send_only(EXPORT_ARRIVE_MAX);
    begin_message(1);
    export_append(&message, &x, 1);
    send_only(1);
    for (unsigned i = 1; i <= EXPORT_ARRIVE_MAX + 1; i++) {
        bench_turn();
        assert_int_equal(relay.sessions.used, i);
    }
}

/* One that makes no sense ends alone. */
static void a_bad_one_among_others_ends_alone(void **state) {
    struct export_session x = sample();
    begin_message(3);
    export_append(&message, &x, 1);
    x.flags &= ~(uint32_t)EXPORT_READ_AHEAD;
    export_append(&message, &x, 1);
    x = sample();
    export_append(&message, &x, 1);
    send_message(3);
    assert_int_equal(relay.sessions.used, 2);
}

static void more_than_a_message_may_hold_is_refused(void **state) {
    struct export_session x = sample();
    begin_message(EXPORT_ARRIVE_MAX + 1);
    for (unsigned i = 0; i < EXPORT_ARRIVE_MAX + 1; i++)
        export_append(&message, &x, 1);
    send_message(EXPORT_ARRIVE_MAX + 1);
    assert_int_equal(relay.sessions.used, 0);
    assert_true(client_is_closed());
    begin_message(1);
    export_append(&message, &x, 1);
    send_message(1); /* the link goes on */
    assert_int_equal(relay.sessions.used, 1);
}

/* The relay is full in the middle of a message: the rest waits, and begins as soon as others have ended. */
static void a_full_relay_keeps_the_rest(void **state) {
    struct export_session x = sample();
    uint32_t room = relay.room;
    relay.room = 2;
    begin_message(5);
    for (unsigned i = 0; i < 5; i++)
        export_append(&message, &x, 1);
    send_message(5);
    assert_int_equal(relay.sessions.used, 2);
    bench_turns(5);
    assert_int_equal(relay.sessions.used, 2);
    relay.room = 4;
    bench_later(50);
    bench_turns(5);
    assert_int_equal(relay.sessions.used, 4);
    assert_true(arrivals_may_come(&relay));
    relay.room = room;
    bench_later(50);
    bench_turns(5);
    assert_int_equal(relay.sessions.used, 5);
}

/* With too few descriptors for a message none of its connections is lost. */
static void without_descriptors_a_message_waits(void **state) {
    struct export_session x = sample();
    struct rlimit old, now;
    begin_message(4);
    for (unsigned i = 0; i < 4; i++)
        export_append(&message, &x, 1);
    send_only(4);
    int lowest = dup(handshaker);
    close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    for (unsigned few = 0; few < 4; few++) {
        now = (struct rlimit){(rlim_t)lowest + few, old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
        bench_turns(3);
        assert_int_equal(relay.sessions.used, 0);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        assert_int_equal(dup(handshaker), lowest); /* what came of them is closed again */
        close(lowest);
        assert_false(client_is_closed());
        relay.arrivals.paused = false;
        assert_int_equal(loop_watch(&relay.loop, relay.arrivals.links[0], EPOLLIN, RELAY_LINK, 0, 0), 0);
    }
    bench_turns(5);
    assert_int_equal(relay.sessions.used, 4);
}

/* The handshaker dies behind its last message. */
static void what_is_at_hand_outlives_its_link(void **state) {
    struct export_session x = sample();
    begin_message(4);
    for (unsigned i = 0; i < 4; i++)
        export_append(&message, &x, 1);
    send_only(4);
    bench_turn();
    shutdown(handshaker, SHUT_RDWR);
    bench_turns(5);
    assert_int_equal(relay.sessions.used, 4);
    assert_false(arrivals_may_come(&relay));
}

static int begin(void **state) {
    bench_begin(1024 * 1024);
    return 0;
}

#define WITH_LINK(test) cmocka_unit_test_setup_teardown(test, open_link, close_link)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_LINK(a_session_comes_with_all_that_is_known),
        WITH_LINK(bytes_that_pass_through_have_no_keys),
        WITH_LINK(sessions_that_make_no_sense_are_refused),
        WITH_LINK(every_cut_of_a_message_is_refused),
        WITH_LINK(descriptors_and_sessions_agree),
        WITH_LINK(another_version_is_refused),
        WITH_LINK(one_session_begins_a_turn),
        WITH_LINK(a_bad_one_among_others_ends_alone),
        WITH_LINK(more_than_a_message_may_hold_is_refused),
        WITH_LINK(a_full_relay_keeps_the_rest),
        WITH_LINK(without_descriptors_a_message_waits),
        WITH_LINK(what_is_at_hand_outlives_its_link),
    };
    return cmocka_run_group_tests(tests, begin, NULL);
}
