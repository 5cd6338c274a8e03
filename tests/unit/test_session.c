/* How sessions begin, end and report it: one case for each way, with the reason that the log would name. */
#include "relay/session.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "relay_bench.h"

static struct bench_way tls13, tls12, plain;

static int setup(void **state) {
    bench_migrations = BENCH_MIGRATIONS;
    bench_begin(8 * 1024 * 1024);
    tls13 = (struct bench_way){.suite = suite_by_id(0x1301), .out_max = RECORD_PLAIN_MAX};
    tls12 = (struct bench_way){.suite = suite_by_id(0xc02b), .out_max = RECORD_PLAIN_MAX};
    plain = (struct bench_way){.out_max = RECORD_PLAIN_MAX};
    return 0;
}

static const struct bench_way *ways(size_t i) {
    const struct bench_way *all[] = {&tls13, &tls12, &plain};
    return i < ARRAY_LEN(all) ? all[i] : NULL;
}

/* A session through which some bytes have passed both ways. */
static void open_and_talk(const struct bench_way *way) {
    bench_open(way);
    client_say(1000);
    backend_write(1000);
    bench_settle();
    assert_int_equal(bench.up_got, 1000);
    assert_int_equal(bench.down_got, 1000);
}

/* The session is over, and that is why. */
static struct event expect_over(int reason) {
    bench_expect_gone();
    struct event e = bench_event();
    assert_int_equal(e.reason, reason);
    assert_int_equal(e.bytes_in, bench.up_sent);
    assert_int_equal(e.bytes_out, bench.down_sent);
    bench_close();
    return e;
}

/* ---- ends ---- */

static void the_backend_may_end_first(void **state) {
    for (size_t i = 0; ways(i); i++) {
        open_and_talk(ways(i));
        backend_end();
        bench_settle();
        assert_true(bench.client_heard_fin);
        assert_int_equal(bench.client_heard_close, ways(i)->suite != NULL);
        client_say(500); /* RFC 8446 6.1: our close_notify does not end the client's way */
        bench_settle();
        assert_int_equal(bench.up_got, 1500);
        if (ways(i)->suite)
            client_say_close();
        bench_settle();
        client_end();
        bench_settle();
        assert_true(bench.backend_heard_fin);
        struct event e = expect_over(0);
        assert_int_equal(e.client_end, END_CLOSE);
        assert_int_equal(e.backend_end, END_CLOSE);
    }
}

static void a_tcp_end_without_close_notify_is_truncation(void **state) {
    for (size_t i = 0; i < 2; i++) {
        open_and_talk(ways(i));
        client_end();
        bench_settle();
        assert_true(bench.backend_heard_fin);
        backend_write(10);
        backend_end();
        bench_settle();
        assert_int_equal(bench.down_got, 1010);
        assert_int_equal(expect_over(0).client_end, END_TRUNCATED);
    }
}

static void truncation_can_be_a_reset_for_the_backend(void **state) {
    bench_service.truncation = TRUNCATION_RESET;
    for (size_t i = 0; i < 2; i++) {
        open_and_talk(ways(i));
        client_end();
        bench_settle();
        assert_true(bench.backend_heard_fin || bench.backend_heard_reset);
        assert_int_equal(expect_over(ERR_TRUNCATED).client_end, END_TRUNCATED);
    }
    bench_service.truncation = TRUNCATION_CLOSE;
}

static void a_clients_reset_is_one(void **state) {
    for (size_t i = 0; ways(i); i++) {
        open_and_talk(ways(i));
        backend_write(100);
        bench_turn();
        client_leave(); /* with bytes unread */
        bench_settle();
        assert_true(bench.backend_heard_fin || bench.backend_heard_reset);
        struct event e = expect_over(ERR_CLIENT_RESET);
        assert_int_equal(e.client_end, END_RESET);
        assert_int_equal(e.backend_end, END_CUT);
    }
}

static void a_backends_reset_is_no_good_end_for_the_client(void **state) {
    for (size_t i = 0; ways(i); i++) {
        open_and_talk(ways(i));
        client_say(100);
        client_write(SIZE_MAX);
        bench_turn();
        backend_leave(); /* with bytes unread */
        bench_settle();
        client_end();
        bench_settle();
        assert_false(bench.client_heard_close);
        assert_true(bench.client_heard_fin || bench.client_heard_reset);
        assert_int_equal(expect_over(ERR_BACKEND_RESET).backend_end, END_RESET);
    }
}

static void a_broken_record_is_answered_by_an_alert(void **state) {
    static const uint8_t junk[] = {23, 3,  3,  0,  30, 1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13,
                                   14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30};
    for (size_t i = 0; i < 2; i++) {
        open_and_talk(ways(i));
        client_say(50); /* still counts: it came before */
        assert_int_equal(buf_append(&bench.to_relay, junk, sizeof(junk)), 0);
        bench_settle();
        assert_int_equal(bench.up_got, 1050);
        assert_int_equal(bench.alert, ALERT_BAD_RECORD_MAC);
        assert_true(bench.client_heard_fin);
        assert_true(bench.backend_heard_fin || bench.backend_heard_reset);
        client_end();
        bench_settle();
        struct event e = expect_over(ERR_BAD_MAC);
        assert_int_equal(e.client_end, END_CUT);
        assert_int_equal(e.backend_end, END_CUT);
    }
}

/* The alert that is due meets a reset: the second fault must not trip over the first. */
static void a_broken_record_from_a_client_that_is_gone(void **state) {
    static const uint8_t junk[] = {99, 3, 3, 0, 1, 0};
    for (size_t i = 0; i < 2; i++) {
        open_and_talk(ways(i));
        assert_int_equal(buf_append(&bench.to_relay, junk, sizeof(junk)), 0);
        client_write(SIZE_MAX);
        client_leave();
        bench_settle();
        assert_int_equal(expect_over(ERR_RECORD_TYPE).client_end, END_RESET);
    }
}

static void a_stop_meets_a_client_that_is_gone(void **state) {
    for (size_t i = 0; ways(i); i++) {
        open_and_talk(ways(i));
        client_leave();
        session_stop(&relay, bench_session(), ERR_STOPPED);
        bench_settle();
        bench_expect_gone();
        (void)bench_event();
        bench_close();
    }
}

static void the_clients_fatal_alert_is_reported(void **state) {
    static const uint8_t alert[] = {2, 80};
    for (size_t i = 0; i < 2; i++) {
        open_and_talk(ways(i));
        client_queue(CONTENT_ALERT, alert, 2);
        bench_settle();
        client_end();
        bench_settle();
        assert_int_equal(expect_over(ERR_PEER_ALERT).alert, 80);
    }
}

static void key_updates_are_answered_also_while_nothing_else_moves(void **state) {
    open_and_talk(&tls13);
    for (unsigned i = 1; i <= 5; i++) {
        client_update_key(true);
        bench_settle();
        assert_int_equal(bench.key_updates, i);
        client_say(10);
        backend_write(10);
        bench_settle();
    }
    client_update_key(false);
    bench_settle();
    assert_int_equal(bench.key_updates, 5);
    client_say(10);
    backend_write(10);
    bench_settle();
    assert_int_equal(bench.up_got, bench.up_sent);
    assert_int_equal(bench.down_got, bench.down_sent);
    client_say_close();
    client_write(SIZE_MAX);
    client_end();
    backend_end();
    bench_settle();
    (void)expect_over(0);
}

/* ---- deadlines ---- */

static void an_idle_session_is_ended_in_good_order(void **state) {
    for (size_t i = 0; ways(i); i++) {
        open_and_talk(ways(i));
        bench_later(59000);
        client_say(1); /* pushes the deadline out */
        bench_settle();
        bench_later(59000);
        bench_settle();
        assert_false(bench.client_heard_fin);
        bench_later(1100);
        bench_settle();
        assert_true(bench.client_heard_fin);
        assert_int_equal(bench.client_heard_close, ways(i)->suite != NULL);
        assert_true(bench.backend_heard_fin);
        client_end();
        bench_settle();
        (void)expect_over(ERR_IDLE);
    }
}

static void a_client_that_does_not_close_is_left_after_the_linger_time(void **state) {
    for (size_t i = 0; ways(i); i++) {
        open_and_talk(ways(i));
        bench_later(60100);
        bench_settle();
        bench_later(4900);
        bench_settle();
        assert_int_equal(relay.sessions.used, 1);
        bench_later(200);
        bench_settle();
        (void)expect_over(ERR_IDLE);
    }
}

/* More than one turn's share of a closing client's bytes, and then its end, are all there already. */
/* ---- one direction is over ---- */

/* Second by second: what the kernel has got rid of shows only to those that look. */
static void pass_ms(uint64_t ms) {
    for (; ms >= 1000; ms -= 1000)
        bench_later(1000);
    bench_later(ms);
}

/* Neither side closes: the side that received an end has had its time, the other one gets the linger time. */
static void a_half_closed_session_may_be_silent_for_a_while(void **state) {
    for (size_t i = 0; ways(i); i++) {
        for (unsigned by_client = 0; by_client < 2; by_client++) {
            open_and_talk(ways(i));
            bench_later(25000);
            if (by_client)
                client_end();
            else
                backend_end();
            bench_settle();
            pass_ms(bench_service.half_closed_ms - 100);
            assert_non_null(bench_session());
            assert_int_equal(bench_session()->state, SESSION_OPEN);
            pass_ms(1200 + bench_service.half_closed_ms / 8 + (BENCH_MIGRATIONS ? bench_service.half_closed_ms : 0));
            bench_settle();
            assert_true(bench.client_heard_fin && (bench.backend_heard_fin || !by_client));
            struct event e = expect_over(ERR_HALF_CLOSED);
            assert_int_equal(e.client_end, !by_client ? END_CUT : ways(i)->suite ? END_TRUNCATED : END_CLOSE);
            assert_int_equal(e.backend_end, by_client ? END_CUT : END_CLOSE);
        }
    }
}

static void a_half_closed_session_that_moves_bytes_goes_on(void **state) {
    for (size_t i = 0; ways(i); i++) {
        for (unsigned by_client = 0; by_client < 2; by_client++) {
            open_and_talk(ways(i));
            if (by_client)
                client_end();
            else
                backend_end();
            for (int k = 0; k < 20; k++) {
                if (by_client)
                    backend_write(10);
                else
                    client_say(10);
                bench_settle();
                bench_later(bench_service.half_closed_ms - 1000);
            }
            assert_int_equal(bench.up_got, bench.up_sent);
            assert_int_equal(bench.down_got, bench.down_sent);
            if (by_client)
                backend_end();
            else if (ways(i)->suite)
                client_say_close();
            bench_settle();
            client_end();
            bench_settle();
            (void)expect_over(0);
        }
    }
}

/* For long a slow reader takes only what the kernel holds: that is no silence either. */
static void a_half_closed_sessions_slow_reader_gets_all(void **state) {
    uint64_t idle_ms = bench_service.idle_ms;
    bench_service.idle_ms = CONF_NEVER;
    for (size_t i = 0; ways(i); i++) {
        open_and_talk(ways(i));
        for (int k = 0; k < 20; k++) {
            backend_write(60000);
            bench_turn();
        }
        backend_end();
        bench_turns(3);
        for (int k = 0; bench.down_got < bench.down_sent && k < 10000; k++) {
            client_read(9000);
            bench_later(bench_service.half_closed_ms / 5);
        }
        assert_int_equal(bench.down_got, bench.down_sent);
        if (ways(i)->suite)
            client_say_close();
        bench_settle();
        client_end();
        bench_settle();
        (void)expect_over(0);
    }
    bench_service.idle_ms = idle_ms;
}

static void a_half_closed_sessions_reader_that_stops_is_not_waited_for(void **state) {
    bench_migrations = 0; /* each move allows a look more */
    for (size_t i = 0; ways(i); i++) {
        open_and_talk(ways(i));
        for (int k = 0; k < 20; k++) {
            backend_write(60000);
            bench_turn();
        }
        client_end();
        bench_turns(3);
        pass_ms(bench_service.half_closed_ms * 9 / 8 + 1100);
        pass_ms(bench_service.linger_ms + 100);
        bench_expect_gone();
        assert_int_equal(bench_event().reason, ERR_HALF_CLOSED);
        bench_close();
    }
    bench_migrations = BENCH_MIGRATIONS;
}

static void half_closed_may_be_none(void **state) {
    uint64_t ms = bench_service.half_closed_ms;
    bench_service.half_closed_ms = CONF_NEVER;
    open_and_talk(&tls13);
    backend_end();
    bench_settle();
    bench_later(ms * 2 - 5000); /* idle is a minute */
    assert_non_null(bench_session());
    bench_later(10000);
    client_end();
    bench_settle();
    assert_int_equal(expect_over(ERR_IDLE).backend_end, END_CLOSE);
    bench_service.half_closed_ms = ms;
}

/* ---- descriptors ---- */

static int relay_fd(bool client) {
    return client ? bench_session()->client.fd : bench_session()->backend.fd;
}

/* Another process with the socket can take its O_NONBLOCK away, or make close() wait: nothing here waits for it. */
static void descriptors_that_block_hold_nobody_up(void **state) {
    bench_migrations = 0;
    alarm(60);
    for (size_t i = 0; ways(i); i++) {
        struct bench_way way = *ways(i);
        way.client_sndbuf = way.backend_sndbuf = 1;
        bench_open(&way);
        for (unsigned client = 0; client < 2; client++)
            MUST(fcntl(relay_fd(client), F_SETFL, 0) == 0);
        for (int k = 0; k < 20; k++) {
            client_say(16384);
            client_write(SIZE_MAX);
            backend_write(60000);
            bench_turn(); /* neither reads */
        }
        bench_settle();
        assert_int_equal(bench.up_got, bench.up_sent);
        assert_int_equal(bench.down_got, bench.down_sent);
        backend_end();
        bench_settle();
        if (way.suite)
            client_say_close();
        bench_settle();
        client_end();
        bench_settle();
        (void)expect_over(0);
    }
    alarm(0);
    bench_migrations = BENCH_MIGRATIONS;
}

/* A handed-over descriptor has to be a stream socket. */
static void odd_descriptors_are_not_taken(void **state) {
    static const int kinds[] = {SOCK_DGRAM, SOCK_SEQPACKET};
    open_and_talk(&plain);
    backend_end();
    bench_settle();
    client_end();
    bench_settle();
    (void)expect_over(0);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        int fds[2];
        MUST(socketpair(AF_UNIX, kinds[i] | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
        bench_hand_off(fds[1]);
        assert_int_equal(relay.sessions.used, 0);
        close(fds[0]);
    }
}

static void a_closing_clients_rest_is_read_to_its_end(void **state) {
    static uint8_t rest[200 * 1024];
    int large = 4 * 1024 * 1024;
    open_and_talk(&tls13);
    assert_int_equal(__real_setsockopt(bench.client, SOL_SOCKET, SO_SNDBUF, &large, sizeof(large)), 0);
    bench_later(60100);
    bench_later(10);
    size_t sent = 0;
    for (ssize_t n; sent < 2 * 1024 * 1024 && (n = send(bench.client, rest, sizeof(rest), MSG_NOSIGNAL)) > 0;)
        sent += (size_t)n;
    assert_true(sent > 300 * 1000);
    client_end();
    for (int i = 0; i < 200 && relay.sessions.used; i++)
        bench_turn();
    assert_int_equal(relay.sessions.used, 0);
    bench_settle();
    (void)expect_over(ERR_IDLE);
}

/* ---- backends ---- */

static void take_away_the_backend(void) {
    close(bench.listener);
}

static void without_a_backend_the_client_is_reported(void **state) {
    for (size_t i = 0; ways(i); i++) {
        take_away_the_backend();
        struct bench_way way = *ways(i);
        way.no_accept = true;
        bench_open(&way);
        bench_turns(3);
        client_read(SIZE_MAX);
        client_read(SIZE_MAX);
        assert_true(bench.client_heard_fin);
        assert_int_equal(bench.alert, way.suite ? ALERT_INTERNAL_ERROR : -1);
        client_end();
        bench_turns(3);
        bench_expect_gone();
        assert_int_equal(bench_event().reason, ERR_BACKEND_REFUSED);
        int spare = bench.spare_fd;
        bench_listen(16);
        bench.spare_fd = spare;
        backends_connected(&relay.services[0].backends, 0); /* no time out for the next case */
        bench_close();
    }
}

/* The backend is a name with these addresses, of which the last one listens. */
static void be_a_name(const struct addr *addrs, size_t n) {
    struct sockaddr_in to = {.sin_family = AF_INET};
    socklen_t len = sizeof(to);
    close(bench.listener);
    bench.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    memcpy(&to.sin_addr, addrs[n - 1].ip, 4);
    assert_int_equal(bind(bench.listener, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(listen(bench.listener, 16), 0);
    assert_int_equal(getsockname(bench.listener, (struct sockaddr *)&to, &len), 0);
    bench_backend = (struct conf_backend){
        .kind = BACKEND_TCP, .text = "tcp:app:80", .path = "app", .port = ntohs(to.sin_port), .is_name = true};
    backends_resolved(&relay.services[0].backends, 0, addrs, n);
    backends_resolved(&bench_other.services[0].backends, 0, addrs, n);
}

static void be_a_path_again(void) {
    close(bench.listener);
    bench_listen(16);
    bench_backend = (struct conf_backend){.kind = BACKEND_UNIX_ABSTRACT, .text = bench_text, .path = bench_path};
    relay.services[0].backends.list[0].naddrs = bench_other.services[0].backends.list[0].naddrs = 0;
}

static struct addr loopback(uint8_t last) {
    return (struct addr){.family = AF_INET, .ip = {127, 0, 0, last}};
}

static uint64_t connects_failed(void) {
    return stats_block(&relay.child.stats, STATS_SERVICE, span_str("web"), span_of("", 0))->values[STATS_CONNECTS_FAILED];
}

/* A session whose backend does not have it at once. */
static void open_to_name(void) {
    tls13.no_accept = true;
    bench_open(&tls13);
    tls13.no_accept = false;
    client_say(1000);
    bench_settle();
}

/* It is with its backend now, and ends as it should. */
static struct event expect_served(void) {
    assert_int_equal(bench.up_got, 1000);
    client_say_close();
    bench_settle();
    backend_end();
    bench_settle();
    client_end();
    bench_settle();
    return expect_over(0);
}

/* As with "localhost", which is ::1 and 127.0.0.1, and an application that listens on one of them. */
static void all_addresses_of_a_name_are_tried(void **state) {
    const struct addr addrs[] = {loopback(3), loopback(4), loopback(1)};
    be_a_name(addrs, 3);
    uint64_t failed = connects_failed();
    open_to_name();
    struct event e = expect_served();
    if (!BENCH_MIGRATIONS) /* who takes it over in the middle does not know which ones were tried */
        assert_int_equal(e.retries, 2);
    assert_int_equal(connects_failed() - failed, e.retries);
    assert_int_equal(relay.services[0].backends.list[0].failures, 0); /* the backend is well */
    failed = connects_failed();
    for (unsigned i = 0; i < 4; i++) { /* nobody tries them again at once */
        open_to_name();
        assert_int_equal(expect_served().retries, 0);
    }
    assert_int_equal(connects_failed(), failed);
    be_a_path_again();
}

static void an_address_that_is_silent_gets_half_of_the_time(void **state) {
    const struct addr addrs[] = {loopback(3), loopback(1)};
    int silent[4];
    be_a_name(addrs, 2);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)bench_backend.port)};
    memcpy(&to.sin_addr, addrs[0].ip, 4);
    for (unsigned i = 0; i < ARRAY_LEN(silent); i++)
        silent[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(silent[0], (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(listen(silent[0], 0), 0);
    for (unsigned i = 1; i < ARRAY_LEN(silent); i++) /* the queue is full now: who else comes gets no answer */
        (void)!connect(silent[i], (struct sockaddr *)&to, sizeof(to));

    open_to_name();
    bench_later(1400);
    bench_settle();
    assert_int_equal(bench.up_got, 0);
    bench_later(200);
    bench_settle();
    assert_int_equal(expect_served().retries, 1);
    for (unsigned i = 0; i < ARRAY_LEN(silent); i++)
        close(silent[i]);
    be_a_path_again();
}

static void a_name_fails_when_all_its_addresses_do(void **state) {
    const struct addr addrs[] = {loopback(3), loopback(4), loopback(5), loopback(1)};
    if (BENCH_MIGRATIONS)
        skip(); /* see above: it would be tried until its time is over */
    be_a_name(addrs, 4);
    backends_resolved(&relay.services[0].backends, 0, addrs, 3);
    open_to_name();
    assert_int_equal(bench.alert, ALERT_INTERNAL_ERROR);
    client_end();
    bench_turns(3);
    bench_expect_gone();
    struct event e = bench_event();
    assert_int_equal(e.reason, ERR_BACKEND_REFUSED);
    assert_int_equal(e.retries, 3);
    assert_int_equal(relay.services[0].backends.list[0].failures, 1);
    bench_close();
    backends_connected(&relay.services[0].backends, 0);
    be_a_path_again();
}

/* Connections that fill the backlog; -1 ends the list. */
static void fill_backlog(int fds[static 64]) {
    struct sockaddr_storage to;
    socklen_t len = sizeof(to);
    unsigned n = 0;
    assert_int_equal(getsockname(bench.listener, (struct sockaddr *)&to, &len), 0);
    for (;; n++) {
        assert_true(n < 63);
        fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_true(fds[n] >= 0);
        if (connect(fds[n], (struct sockaddr *)&to, len) < 0)
            break;
    }
    close(fds[n]);
    fds[n] = -1;
}

static void empty_backlog(int fds[static 64]) {
    for (unsigned i = 0; fds[i] >= 0; i++) {
        int fd = accept(bench.listener, NULL, NULL);
        assert_true(fd >= 0);
        close(fd);
        close(fds[i]);
    }
}

static void a_full_backlog_is_waited_for(void **state) {
    for (size_t i = 0; ways(i); i++) {
        int fds[64];
        struct bench_way way = *ways(i);
        way.no_accept = true;
        way.read_ahead = 3000;
        fill_backlog(fds);
        int spare = dup(0);
        bench_open(&way);
        bench_later(500);
        bench_later(500);
        assert_int_equal(relay.backlog_waiters, 1);
        empty_backlog(fds);
        bench_later(8);
        assert_int_equal(relay.backlog_waiters, 0);
        close(spare);
        bench.spare_fd = fds[0]; /* the lowest that is free now */
        bench_settle();
        assert_int_equal(bench.up_got, 3000);
        if (way.suite)
            client_say_close();
        client_write(SIZE_MAX);
        client_end();
        backend_end();
        bench_settle();
        assert_true(expect_over(0).retries >= 1);
    }
}

static void a_backlog_that_stays_full_is_reported(void **state) {
    int fds[64];
    struct bench_way way = tls13;
    way.no_accept = true;
    fill_backlog(fds);
    bench_open(&way);
    bench_later(2900);
    assert_int_equal(relay.backlog_waiters, 1);
    bench_later(200);
    bench_turns(2);
    client_read(SIZE_MAX);
    client_read(SIZE_MAX);
    assert_int_equal(bench.alert, ALERT_INTERNAL_ERROR);
    client_end();
    bench_turns(3);
    bench_later(10);
    struct event e = bench_event();
    assert_int_equal(e.reason, ERR_BACKEND_BACKLOG);
    bench_expect_gone();
    bench_close();
    for (unsigned i = 0; fds[i] >= 0; i++)
        close(fds[i]);
}

static void a_client_that_goes_while_it_waits_leaves_the_line(void **state) {
    int fds[64];
    struct bench_way way = tls13;
    way.no_accept = true;
    fill_backlog(fds);
    bench_open(&way);
    bench_turn();
    assert_int_equal(relay.backlog_waiters, 1);
    client_leave();
    bench_turns(3);
    bench_later(10);
    assert_int_equal(bench_event().reason, ERR_CLIENT_RESET);
    bench_expect_gone();
    bench_close();
    for (unsigned i = 0; fds[i] >= 0; i++)
        close(fds[i]);
}

/* ---- others ---- */

static void a_session_can_be_stopped_at_any_time(void **state) {
    for (size_t i = 0; ways(i); i++) {
        open_and_talk(ways(i));
        client_say(100);
        client_write(SIZE_MAX);
        session_stop(&relay, bench_session(), ERR_STOPPED);
        bench.up_sent = 1000; /* the last bytes come too late */
        bench_settle();
        assert_true(bench.client_heard_fin);
        assert_int_equal(bench.client_heard_close, ways(i)->suite != NULL);
        client_end();
        bench_settle();
        (void)expect_over(ERR_STOPPED);
    }
}

static void late_events_for_a_session_that_is_gone_are_dropped(void **state) {
    open_and_talk(&tls13);
    struct slab_item old = bench_session()->item;
    client_say_close();
    client_write(SIZE_MAX);
    client_end();
    backend_end();
    bench_settle();
    (void)expect_over(0);
    session_client_event(&relay, old.slot, old.gen, EPOLLIN);
    session_backend_event(&relay, old.slot, old.gen, EPOLLIN);
    open_and_talk(&tls13); /* takes the same slot */
    assert_int_equal(bench_session()->item.slot, old.slot);
    session_client_event(&relay, old.slot, old.gen, EPOLLHUP | EPOLLERR);
    assert_false(bench_session()->client.ended);
    client_say_close();
    client_write(SIZE_MAX);
    client_end();
    backend_end();
    bench_settle();
    (void)expect_over(0);
}

static void moves_have_been_made(void **state) {
    if (BENCH_MIGRATIONS)
        assert_true(bench_migrated > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_backend_may_end_first),
        cmocka_unit_test(a_tcp_end_without_close_notify_is_truncation),
        cmocka_unit_test(truncation_can_be_a_reset_for_the_backend),
        cmocka_unit_test(a_clients_reset_is_one),
        cmocka_unit_test(a_backends_reset_is_no_good_end_for_the_client),
        cmocka_unit_test(a_broken_record_is_answered_by_an_alert),
        cmocka_unit_test(a_broken_record_from_a_client_that_is_gone),
        cmocka_unit_test(a_stop_meets_a_client_that_is_gone),
        cmocka_unit_test(the_clients_fatal_alert_is_reported),
        cmocka_unit_test(key_updates_are_answered_also_while_nothing_else_moves),
        cmocka_unit_test(an_idle_session_is_ended_in_good_order),
        cmocka_unit_test(a_client_that_does_not_close_is_left_after_the_linger_time),
        cmocka_unit_test(a_half_closed_session_may_be_silent_for_a_while),
        cmocka_unit_test(a_half_closed_session_that_moves_bytes_goes_on),
        cmocka_unit_test(a_half_closed_sessions_slow_reader_gets_all),
        cmocka_unit_test(a_half_closed_sessions_reader_that_stops_is_not_waited_for),
        cmocka_unit_test(half_closed_may_be_none),
        cmocka_unit_test(descriptors_that_block_hold_nobody_up),
        cmocka_unit_test(odd_descriptors_are_not_taken),
        cmocka_unit_test(a_closing_clients_rest_is_read_to_its_end),
        cmocka_unit_test(without_a_backend_the_client_is_reported),
        cmocka_unit_test(all_addresses_of_a_name_are_tried),
        cmocka_unit_test(an_address_that_is_silent_gets_half_of_the_time),
        cmocka_unit_test(a_name_fails_when_all_its_addresses_do),
        cmocka_unit_test(a_full_backlog_is_waited_for),
        cmocka_unit_test(a_backlog_that_stays_full_is_reported),
        cmocka_unit_test(a_client_that_goes_while_it_waits_leaves_the_line),
        cmocka_unit_test(a_session_can_be_stopped_at_any_time),
        cmocka_unit_test(late_events_for_a_session_that_is_gone_are_dropped),
        cmocka_unit_test(moves_have_been_made),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
