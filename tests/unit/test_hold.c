/*
 * Many sessions and little memory for bytes that wait: the client that makes us hold them pays, the client that reads is
 * served. In its migrating form all sessions go to another relay and back after each so-many turns.
 */
#include "relay/hold.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "relay_bench.h"

#define MEMORY (1024 * 1024)
#define CROWD  200

/* Both ends of one session. */
struct guest {
    int client, backend;
    uint8_t address[4];
    bool v6;
};

static struct guest crowd[CROWD], by;
static unsigned ended[256]; /* sessions, by the last byte of the client's address */
static int ended_for[256];  /* the last one's reason */

static int setup(void **state) {
    bench_migrations = BENCH_MIGRATIONS;
    bench_begin(MEMORY);
    peer_init(&bench.peer, suite_by_id(0x1301), &engine_libcrypto);
    return 0;
}

static struct addr address_of(const struct guest *g) {
    struct addr a = {.family = g->v6 ? AF_INET6 : AF_INET, .port = 1234};
    memcpy(a.ip, g->address, sizeof(g->address));
    if (g->v6) { /* of one /64, each another one in it */
        a.ip[4] = a.ip[0];
        memcpy(a.ip + 8, g->address, sizeof(g->address));
        memcpy(a.ip, "\x20\x01\x0d\xb8", 4);
    }
    return a;
}

/* A session of that client; READ_AHEAD bytes come with it. TLS ones can only be sent parts of records. */
static void join(struct guest *g, uint8_t who, bool tls, struct span read_ahead) {
    struct conn_info info = {.local = {.family = AF_INET, .port = 443, .ip = {192, 0, 2, 2}}};
    int fds[2], small = 1;
    g->address[0] = 192;
    g->address[3] = who;
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    MUST(__real_setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
    bench_sndbuf = 1;
    g->client = fds[0];
    info.client = address_of(g);
    info.tls_version = tls ? TLS_1_3 : 0;
    uint32_t before = relay.sessions.used;
    bench_start(&info, tls ? &bench.peer.record_layer : NULL, read_ahead, fds[1]);
    MUST(relay.sessions.used == before + 1);
    g->backend = accept4(bench.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    MUST(g->backend >= 0);
    bench_turn();
}

static void leave(struct guest *g) {
    if (g->client >= 0)
        close(g->client);
    if (g->backend >= 0)
        close(g->backend);
    g->client = g->backend = -1;
}

/* As much as the socket takes, N at the most. */
static void say(int fd, size_t n) {
    static const uint8_t bytes[64 * 1024];
    while (n) {
        ssize_t sent = send(fd, bytes, MIN(n, sizeof(bytes)), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent <= 0)
            return;
        n -= (size_t)sent;
    }
}

/* The first N bytes of a record of 16 KiB. */
static void say_part(int fd, size_t n) {
    static const uint8_t header[] = {23, 3, 3, 0x40, 0x11};
    say(fd, 0);
    MUST(send(fd, header, MIN(n, sizeof(header)), MSG_NOSIGNAL | MSG_DONTWAIT) > 0);
    say(fd, n - MIN(n, sizeof(header)));
}

static size_t hear(int fd) {
    static uint8_t in[64 * 1024];
    size_t all = 0;
    for (ssize_t n; (n = recv(fd, in, sizeof(in), MSG_DONTWAIT)) > 0;)
        all += (size_t)n;
    return all;
}

static void note_ends(void) {
    static uint8_t record[RING_RECORD_MAX];
    struct event e;
    for (int n; (n = ring_get(&relay.child.log.ring, record)) > 0;) {
        MUST(event_read(span_of(record, (size_t)n), &e) == 0);
        if (e.kind != EVENT_SESSION)
            continue;
        uint8_t who = e.conn_info.client.ip[e.conn_info.client.family == AF_INET6 ? 11 : 3];
        ended[who]++;
        ended_for[who] = e.reason;
    }
}

static void begin_case(void) {
    memset(ended, 0, sizeof(ended));
    memset(ended_for, 0, sizeof(ended_for));
    for (size_t i = 0; i < CROWD; i++)
        crowd[i] = (struct guest){.client = -1, .backend = -1};
    by = (struct guest){.client = -1, .backend = -1};
}

static void end_case(void) {
    for (size_t i = 0; i < CROWD; i++)
        leave(&crowd[i]);
    leave(&by);
    for (int i = 0; i < 10; i++)
        bench_turn();
    bench_later(bench_service.linger_ms + 10);
    bench_later(bench_service.idle_ms + 10);
    bench_later(bench_service.linger_ms + 10);
    note_ends();
    assert_int_equal(relay.sessions.used, 0);
    assert_int_equal(relay.pool.used, 0);
    assert_int_equal(relay.pool.limit, relay.pool.budget);
    assert_int_equal(relay.holders.holds.used, 0);
    assert_int_equal(relay.holders.clients.used, 0);
}

/* The bystander gets an answer at once: within a few turns of the relay, nothing else having happened. */
static void expect_served(void) {
    say(by.client, 1500);
    bench_turns(3);
    assert_int_equal(hear(by.backend), 1500);
    say(by.backend, 3000);
    bench_turns(3);
    assert_int_equal(hear(by.client), 3000);
    note_ends();
    assert_int_equal(ended[250], 0);
}

/* How a member of the crowd makes us hold bytes. */
static void sends_all_but_a_byte(struct guest *g, uint8_t who) {
    join(g, who, true, span_of(NULL, 0));
    say_part(g->client, 5 + 0x4011 - 1);
    bench_turn();
}

static void sends_a_header(struct guest *g, uint8_t who) {
    join(g, who, true, span_of(NULL, 0));
    say_part(g->client, 5);
    bench_turn();
}

static void does_not_read(struct guest *g, uint8_t who) {
    join(g, who, false, span_of(NULL, 0));
    for (int i = 0; i < 6; i++) {
        say(g->backend, 100 * 1000);
        bench_turn();
    }
}

static void is_not_read(struct guest *g, uint8_t who) {
    join(g, who, false, span_of(NULL, 0));
    for (int i = 0; i < 6; i++) {
        say(g->client, 100 * 1000);
        bench_turn();
    }
}

static void neither(struct guest *g, uint8_t who) {
    does_not_read(g, who);
    say(g->client, 100 * 1000);
    bench_turn();
}

static void says_early(struct guest *g, uint8_t who) {
    static const uint8_t part[16000] = {23, 3, 3, 0x40, 0x11};
    join(g, who, true, span_of(part, sizeof(part)));
}

static void (*const attacks[])(struct guest *, uint8_t) = {
    sends_all_but_a_byte, sends_a_header, does_not_read, is_not_read, neither, says_early,
};

/* While the budget is used up and long after, from one address, many, or many of one /64; new sessions are let in, too. */
static void a_session_whose_peers_read_is_served(void **state) {
    for (size_t a = 0; a < ARRAY_LEN(attacks); a++) {
        for (unsigned from = 0; from < 3; from++) {
            begin_case();
            join(&by, 250, false, span_of(NULL, 0));
            for (unsigned i = 0; i < CROWD; i++) {
                crowd[i].v6 = from == 2;
                attacks[a](&crowd[i], from == 1 ? (uint8_t)(i % 240) : 1);
                assert_true(relay.pool.used <= MEMORY || bench_migrations);
                if (i % 10 == 0)
                    expect_served();
                if (i % 10 == 0)
                    bench_later(1);
            }
            for (int k = 0; k < 10; k++) {
                bench_later(1000);
                expect_served();
            }
            leave(&by);
            bench_turns(3);
            join(&by, 250, false, span_of(NULL, 0));
            note_ends();
            ended[250] = 0;
            expect_served();
            end_case();
        }
    }
}

/* Not the one that holds something for longest, but of those that hold most. */
static void the_largest_pays_and_not_the_oldest(void **state) {
    begin_case();
    join(&by, 250, false, span_of(NULL, 0));
    for (unsigned i = 0; i < 5; i++) /* small holders, since long ago */
        does_not_read(&crowd[i], 100);
    bench_later(5000);
    for (unsigned i = 5; i < CROWD; i++) {
        does_not_read(&crowd[i], 1);
        bench_later(20);
    }
    expect_served();
    assert_int_equal(ended[100], 0);
    assert_true(ended[1] > 50);
    assert_int_equal(ended_for[1], ERR_NO_BUFFERS);
    uint8_t byte;
    assert_true(recv(crowd[5].client, &byte, 1, MSG_DONTWAIT | MSG_PEEK) >= 0 || errno != EAGAIN); /* the first of them */
    assert_true(recv(crowd[CROWD - 1].client, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 1);            /* the last is there */
    end_case();
}

/* Clients of one /64 are one; a million small ones cannot hide behind each other. */
static void a_network_is_one_client(void **state) {
    begin_case();
    for (unsigned i = 0; i < 6; i++) {
        crowd[i].v6 = true;
        does_not_read(&crowd[i], (uint8_t)i);
    }
    assert_int_equal(relay.holders.clients.used, 1);
    assert_int_equal(relay.holders.holds.used, 6);
    does_not_read(&crowd[6], 6);
    assert_int_equal(relay.holders.clients.used, 2);
    end_case();
}

/* From half of the budget on less is read at once, least for those that hold much of it. */
static void those_that_hold_much_read_little(void **state) {
    begin_case();
    bench_migrations = 0;
    join(&by, 250, false, span_of(NULL, 0));
    struct session *s = bench_session();
    relay.pool.budget *= 16; /* a usual one */
    assert_int_equal(hold_chunk(&relay, s, 256 * 1024), 256 * 1024);
    relay.pool.budget /= 16;
    assert_int_equal(hold_chunk(&relay, s, 256 * 1024), 16 * 1024);
    for (unsigned i = 0; !pool_pressed(&relay.pool); i++)
        does_not_read(&crowd[i], 1);
    assert_int_equal(hold_chunk(&relay, s, 256 * 1024), 16 * 1024);
    uint32_t slot = 0;
    unsigned least = 0;
    for (struct session *each; (each = slab_next(&relay.sessions, &slot));)
        least += hold_chunk(&relay, each, 256 * 1024) == 4096;
    assert_int_equal(least, relay.sessions.used - 1);
    end_case();
    bench_migrations = BENCH_MIGRATIONS;
}

/* A client whose connection is broken is noticed, though nothing of it can be read at present: what waits has the linger time.
 */
static void a_reset_is_seen_while_bytes_wait(void **state) {
    bench_migrations = 0;
    begin_case();
    is_not_read(&crowd[0], 1);
    assert_true(relay.pool.used > 10000);
    say(crowd[0].backend, 10); /* a Unix socket shows a reset to the other side when bytes were unread */
    bench_turn();
    close(crowd[0].client);
    crowd[0].client = -1;
    bench_turns(3);
    assert_int_equal(bench_session()->state, SESSION_CLOSING);
    bench_later(bench_service.linger_ms + 10);
    note_ends();
    assert_int_equal(relay.pool.used, 0);
    assert_int_equal(ended[1], 1);
    assert_int_equal(ended_for[1], ERR_CLIENT_RESET);
    end_case();
    bench_migrations = BENCH_MIGRATIONS;
}

static void an_end_is_seen_while_others_hold_all(void **state) {
    begin_case();
    for (unsigned i = 0; i < CROWD; i++)
        sends_all_but_a_byte(&crowd[i], 1);
    assert_true(relay.pool.used > MEMORY / 8 * 7);
    for (unsigned i = 0; i < CROWD; i++) {
        MUST(shutdown(crowd[i].client, SHUT_WR) == 0 || errno == ENOTCONN);
        MUST(shutdown(crowd[i].backend, SHUT_WR) == 0 || errno == ENOTCONN);
    }
    bench_turns(5);
    assert_int_equal(relay.pool.used, 0);
    end_case();
}

/* A part of a record has seconds, however it trickles in, and whatever the idle time is. */
static void the_rest_of_a_record_has_a_deadline(void **state) {
    uint64_t idle_ms = bench_service.idle_ms;
    for (unsigned i = 0; i < 2; i++) {
        bench_service.idle_ms = i ? CONF_NEVER : idle_ms;
        begin_case();
        sends_a_header(&crowd[0], 1);
        for (uint64_t ms = 0; ms + 2000 < bench_service.partial_record_ms; ms += 500) {
            say(crowd[0].client, 1);
            bench_later(500);
        }
        note_ends();
        assert_int_equal(ended[1], 0);
        for (int k = 0; k < 40 && !BENCH_MIGRATIONS; k++) {
            say(crowd[0].client, 1);
            bench_later(100);
        }
        bench_later(BENCH_MIGRATIONS ? bench_service.partial_record_ms + 100 : 0); /* each move may give it as long again */
        leave(&crowd[0]);
        bench_turns(3);
        note_ends();
        assert_int_equal(ended[1], 1);
        assert_int_equal(ended_for[1], ERR_PARTIAL_RECORD);
        bench_service.idle_ms = idle_ms;
        end_case();
    }
}

static void without_a_deadline_a_record_may_take_its_time(void **state) {
    uint64_t ms = bench_service.partial_record_ms;
    bench_service.partial_record_ms = CONF_NEVER;
    begin_case();
    sends_a_header(&crowd[0], 1);
    for (int i = 0; i < 100; i++) {
        say(crowd[0].client, 1);
        bench_later(5000);
    }
    note_ends();
    assert_int_equal(ended[1], 0);
    bench_service.partial_record_ms = ms;
    end_case();
}

static void moves_have_been_made(void **state) {
    if (BENCH_MIGRATIONS)
        assert_true(bench_migrated > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_whose_peers_read_is_served),
        cmocka_unit_test(the_largest_pays_and_not_the_oldest),
        cmocka_unit_test(a_network_is_one_client),
        cmocka_unit_test(those_that_hold_much_read_little),
        cmocka_unit_test(a_reset_is_seen_while_bytes_wait),
        cmocka_unit_test(an_end_is_seen_while_others_hold_all),
        cmocka_unit_test(the_rest_of_a_record_has_a_deadline),
        cmocka_unit_test(without_a_deadline_a_record_may_take_its_time),
        cmocka_unit_test(moves_have_been_made),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, setup, NULL);
}
