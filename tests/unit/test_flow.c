/*
 * Bytes through the relay's own code: what goes in comes out, however the calls to the kernel turn out. Every system call of a
 * conversation fails once in every way it may, and every allocation.
 */
#include "relay/session.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/uio.h>

#include <cmocka.h>

#include "relay_bench.h"

/* ---- faults: the n-th call that the relay makes ---- */

enum fault { FAULT_NONE, FAULT_SHORT, FAULT_EINTR, FAULT_EAGAIN, FAULT_RESET, FAULT_NOMEM };

static enum fault fault;
static unsigned calls, fault_at;

static bool hits(bool memory) {
    return bench_in_relay && (fault == FAULT_NOMEM) == memory && ++calls == fault_at;
}

/* The errno for this call, or 0 for none. */
static int error_now(void) {
    switch (fault) {
    case FAULT_EINTR:
        return EINTR;
    case FAULT_EAGAIN:
        return EAGAIN;
    case FAULT_RESET:
        return ECONNRESET;
    default:
        return 0;
    }
}

ssize_t __real_recv(int fd, void *to, size_t n, int flags);
ssize_t __wrap_recv(int fd, void *to, size_t n, int flags);
ssize_t __wrap_recv(int fd, void *to, size_t n, int flags) {
    if (!hits(false))
        return __real_recv(fd, to, n, flags);
    if ((errno = error_now()))
        return -1;
    return __real_recv(fd, to, fault == FAULT_SHORT ? 1 : n, flags);
}

ssize_t __real_send(int fd, const void *from, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *from, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *from, size_t n, int flags) {
    if (!hits(false))
        return __real_send(fd, from, n, flags);
    if ((errno = error_now()))
        return -1;
    return __real_send(fd, from, fault == FAULT_SHORT ? 1 : n, flags);
}

ssize_t __real_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags) {
    if (!hits(false))
        return __real_sendmsg(fd, m, flags);
    if ((errno = error_now()))
        return -1;
    if (fault != FAULT_SHORT)
        return __real_sendmsg(fd, m, flags);
    return __real_send(fd, m->msg_iov[0].iov_base, 1, flags);
}

ssize_t __real_recvmsg(int fd, struct msghdr *m, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *m, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *m, int flags) {
    if (!hits(false))
        return __real_recvmsg(fd, m, flags);
    if ((errno = error_now()))
        return -1;
    return fault == FAULT_SHORT ? __real_recv(fd, m->msg_iov[0].iov_base, 1, flags) : __real_recvmsg(fd, m, flags);
}

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_malloc(size_t n) {
    return hits(true) ? NULL : __real_malloc(n);
}

static void no_fault(void) {
    fault = FAULT_NONE;
    calls = 0;
    fault_at = 0;
}

/* ---- a conversation ---- */

static int setup(void **state) {
    bench_migrations = BENCH_MIGRATIONS;
    bench_begin(8 * 1024 * 1024);
    bench_service.proxy_send = PROXY_SEND_V2;
    return 0;
}

static int clean(void **state) {
    no_fault();
    bench_service.truncation = TRUNCATION_CLOSE;
    return 0;
}

/* An event that says nothing new: after a fault that no kernel would show, the edge that would have come is missing. */
static void nudge(void) {
    struct session *s = bench_session();
    if (!s)
        return;
    session_client_event(&relay, s->item.slot, s->item.gen, EPOLLIN | EPOLLOUT);
    s = bench_session();
    if (s)
        session_backend_event(&relay, s->item.slot, s->item.gen, EPOLLIN | EPOLLOUT);
}

static void settle(void) {
    bench_settle();
    if (fault == FAULT_SHORT || fault == FAULT_EAGAIN) {
        nudge();
        bench_settle();
    }
}

/* Everything that may happen in good order; both ends close last. */
static void converse(const struct bench_way *way) {
    static const size_t sizes[] = {1, 100, 16384, 5, 3000, 16384, 16384, 1};
    bench_open(way);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        client_say(sizes[i]);
        client_write(SIZE_MAX);
        bench_turn();
        backend_write(20000);
        bench_turn();
        backend_read(4000);
        client_read(4000);
    }
    if (way->suite && way->suite->version == TLS_1_3)
        client_update_key(true);
    client_say(200);
    settle();
    backend_write(300);
    settle();
    if (way->suite)
        client_say_close();
    client_write(SIZE_MAX);
    if (!way->suite)
        client_end();
    settle();
    backend_write(5000); /* half-closed: the answer may still come */
    settle();
    backend_end();
    settle();
    client_end();
    settle();
}

static void expect_all_passed(const struct bench_way *way) {
    assert_int_equal(bench.up_got, bench.up_sent);
    assert_int_equal(bench.down_got, bench.down_sent);
    assert_int_equal(bench.header_left, 0);
    assert_true(bench.backend_heard_fin);
    assert_true(bench.client_heard_fin);
    assert_int_equal(bench.client_heard_close, way->suite != NULL);
    assert_int_equal(bench.key_updates, way->suite && way->suite->version == TLS_1_3);
    bench_expect_gone();
    struct event e = bench_event();
    assert_int_equal(e.reason, 0);
    assert_int_equal(e.bytes_in, bench.up_sent);
    assert_int_equal(e.bytes_out, bench.down_sent);
    assert_int_equal(e.client_end, END_CLOSE);
    assert_int_equal(e.backend_end, END_CLOSE);
    bench_close();
}

static struct bench_way way_of(const struct suite *suite) {
    return (struct bench_way){.suite = suite, .out_max = RECORD_PLAIN_MAX};
}

static void everything_passes_in_every_suite_and_without(void **state) {
    for (size_t i = 0; i == 0 || suite_at(i - 1); i++) {
        struct bench_way way = way_of(i ? suite_at(i - 1) : NULL);
        converse(&way);
        expect_all_passed(&way);
    }
}

static void everything_passes_through_small_buffers_and_records(void **state) {
    static const uint16_t limits[] = {1, 63, 512, RECORD_PLAIN_MAX};
    for (size_t i = 0; i == 0 || suite_at(i - 1); i++)
        for (size_t k = 0; k < ARRAY_LEN(limits); k++) {
            struct bench_way way = way_of(i ? suite_at(i - 1) : NULL);
            way.out_max = limits[k];
            way.client_sndbuf = way.backend_sndbuf = 1;
            converse(&way);
            expect_all_passed(&way);
        }
}

static void read_ahead_comes_first(void **state) {
    static const size_t sizes[] = {1, 500, 16384, 38000};
    for (size_t i = 0; i == 0 || suite_at(i - 1); i++)
        for (size_t k = 0; k < 2 * ARRAY_LEN(sizes); k++) {
            struct bench_way way = way_of(i ? suite_at(i - 1) : NULL);
            way.read_ahead = sizes[k / 2];
            way.read_ahead_torn = k & 1;
            converse(&way);
            expect_all_passed(&way);
        }
}

/* ---- faults ---- */

static unsigned count_calls(const struct bench_way *way) {
    no_fault();
    converse(way);
    unsigned n = calls;
    expect_all_passed(way);
    return n;
}

static const struct bench_way *fault_ways(size_t i) {
    static struct bench_way ways[4];
    ways[0] = way_of(suite_by_id(0x1301));
    ways[1] = way_of(suite_by_id(0xc02b));
    ways[2] = way_of(NULL);
    ways[3] = ways[0];
    ways[3].client_sndbuf = ways[3].backend_sndbuf = 1;
    ways[0].read_ahead = 20000;
    ways[0].read_ahead_torn = true;
    return i < ARRAY_LEN(ways) ? &ways[i] : NULL;
}

static void every_call_may_be_short_or_interrupted_or_too_soon(void **state) {
    static const enum fault kinds[] = {FAULT_SHORT, FAULT_EINTR, FAULT_EAGAIN};
    for (size_t i = 0; fault_ways(i); i++) {
        unsigned n = count_calls(fault_ways(i));
        assert_true(n > 40);
        for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
            for (unsigned at = 1; at <= n; at++) {
                no_fault();
                fault = kinds[k];
                fault_at = at;
                converse(fault_ways(i));
                expect_all_passed(fault_ways(i));
            }
    }
}

/* Bytes may be lost then; nothing else may. */
static void expect_nothing_left(void) {
    bench_later(61000); /* past every deadline */
    bench_settle();
    bench_later(61000);
    bench_settle();
    bench_expect_gone();
    (void)bench_event();
    bench_close();
}

static void every_call_may_meet_a_reset(void **state) {
    for (size_t i = 0; fault_ways(i); i++) {
        unsigned n = count_calls(fault_ways(i));
        for (unsigned at = 1; at <= n; at++) {
            no_fault();
            fault = FAULT_RESET;
            fault_at = at;
            converse(fault_ways(i));
            expect_nothing_left();
        }
    }
}

static void every_allocation_may_fail(void **state) {
    for (size_t i = 0; fault_ways(i); i++) {
        bool hit = true;
        for (unsigned at = 1; hit; at++) {
            no_fault();
            fault = FAULT_NOMEM;
            fault_at = at;
            converse(fault_ways(i));
            hit = calls >= at;
            expect_nothing_left();
        }
    }
}

static void without_memory_at_birth_the_client_is_sent_away(void **state) {
    struct bench_way way = way_of(suite_by_id(0x1301));
    fault = FAULT_NOMEM;
    fault_at = 1;
    bench_open(&way);
    client_read(1);
    assert_true(bench.client_heard_fin);
    bench_expect_gone();
    bench_close();
}

/* ---- bounds ---- */

/* A reader that does not read costs a bounded amount, and the other direction goes on. */
static void a_blocked_side_stops_its_source_only(void **state) {
    for (size_t i = 0; i < 2; i++) {
        struct bench_way way = way_of(i ? suite_by_id(0x1301) : NULL);
        way.client_sndbuf = way.backend_sndbuf = 1;
        bench_open(&way);
        for (int k = 0; k < 100; k++) {
            client_say(16384);
            client_write(SIZE_MAX);
            bench_turn();
        }
        assert_true(buf_len(&bench.to_relay) > 1000 * 1000); /* not taken */
        assert_true(relay.pool.used < 100 * 1000);
        for (int k = 0; k < 100; k++) {
            backend_write(1000);
            bench_turn();
            client_read(2000);
        }
        assert_true(bench.down_got > 50 * 1000);
        bench_settle();
        assert_int_equal(bench.up_got, bench.up_sent);
        assert_int_equal(bench.down_got, bench.down_sent);
        client_leave();
        backend_leave();
        expect_nothing_left();
    }
}

static void a_blocked_client_stops_its_backend_only(void **state) {
    for (size_t i = 0; i < 2; i++) {
        struct bench_way way = way_of(i ? suite_by_id(0x1301) : NULL);
        way.client_sndbuf = way.backend_sndbuf = 1;
        bench_open(&way);
        uint64_t before;
        do {
            before = bench.down_sent;
            for (int k = 0; k < 10; k++) {
                backend_write(16384);
                bench_turn();
            }
        } while (bench.down_sent != before);
        assert_true(relay.pool.used < 100 * 1000);
        for (int k = 0; k < 100; k++) {
            client_say(1000);
            client_write(SIZE_MAX);
            bench_turn();
            backend_read(2000);
        }
        bench_settle();
        assert_int_equal(bench.up_got, bench.up_sent);
        assert_int_equal(bench.down_got, bench.down_sent);
        client_leave();
        backend_leave();
        expect_nothing_left();
    }
}

/* With most of the budget for waiting bytes used by others, a session whose peers read notices nothing but smaller reads. */
static void with_few_buffers_reading_goes_on(void **state) {
    static uint8_t ballast[1000];
    for (size_t i = 0; i < 2; i++) {
        struct bench_way way = way_of(i ? suite_by_id(0x1301) : NULL);
        struct chain others = {0};
        size_t budget = relay.pool.budget;
        bench_migrations = 0; /* the other relay has all of its budget */
        bench_open(&way);
        bench_settle();
        relay.pool.budget = relay.pool.limit = 400 * 1000;
        while (relay.pool.used + 80 * 1000 < relay.pool.limit)
            assert_int_equal(chain_append(&relay.pool, &others, span_of(ballast, sizeof(ballast))), 0);
        for (size_t k = 1; k <= 20; k++) {
            client_say(16384);
            client_write(SIZE_MAX);
            backend_write(50000);
            bench_settle();
            assert_int_equal(bench.up_got, bench.up_sent);
            assert_int_equal(bench.down_got, bench.down_sent);
        }
        chain_free(&relay.pool, &others);
        relay.pool.budget = relay.pool.limit = budget;
        client_leave();
        backend_leave();
        expect_nothing_left();
        bench_migrations = BENCH_MIGRATIONS;
    }
}

static void moves_have_been_made(void **state) {
    if (BENCH_MIGRATIONS)
        assert_true(bench_migrated > 1000);
}

static void bulk_passes_both_ways_at_once(void **state) {
    for (size_t i = 0; i < 2; i++) {
        struct bench_way way = way_of(i ? suite_by_id(0x1302) : NULL);
        bench_open(&way);
        for (int k = 0; k < 600; k++) {
            client_say(16384);
            client_write(SIZE_MAX);
            backend_write(65536);
            bench_turn();
            client_read(65536);
            backend_read(65536);
        }
        bench_settle();
        assert_true(bench.up_got > 9 * 1000 * 1000);
        assert_true(bench.down_got > 9 * 1000 * 1000);
        assert_int_equal(bench.up_got, bench.up_sent);
        assert_int_equal(bench.down_got, bench.down_sent);
        client_leave();
        backend_leave();
        expect_nothing_left();
    }
}

int main(void) {
#define CASE(f) cmocka_unit_test_teardown(f, clean)
    const struct CMUnitTest tests[] = {
        CASE(everything_passes_in_every_suite_and_without),
        CASE(everything_passes_through_small_buffers_and_records),
        CASE(read_ahead_comes_first),
        CASE(every_call_may_be_short_or_interrupted_or_too_soon),
        CASE(every_call_may_meet_a_reset),
        CASE(every_allocation_may_fail),
        CASE(without_memory_at_birth_the_client_is_sent_away),
        CASE(a_blocked_side_stops_its_source_only),
        CASE(a_blocked_client_stops_its_backend_only),
        CASE(with_few_buffers_reading_goes_on),
        CASE(bulk_passes_both_ways_at_once),
        cmocka_unit_test(moves_have_been_made),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
