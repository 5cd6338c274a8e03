/*
 * The conversation between two relays, one side of it played by the test. Link with --wrap=clock_mono_ms and --wrap=setsockopt.
 */
#pragma once

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "relay/migrate_out.h"
#include "relay/relay.h"
#include "relay_bench.h"
#include "wire/control_export.h"

static int control;                        /* the supervisor's end of the exporter's control socket */
static int link_fd = -1, liveness_fd = -1; /* the test's ends, where it plays the importer */
static uint8_t scratch[IPC_BODY_MAX];
static struct export_msg offered; /* the last SESSIONS message */
static struct bench_way tls13, plain;

static inline int migrate_setup(void **state) {
    int ends[2];
    signal(SIGPIPE, SIG_IGN); /* as in main.c */
    bench_begin(8 * 1024 * 1024);
    if (ipc_pair(0, ends) < 0)
        return -1;
    relay.child.control = ends[0];
    control = ends[1];
    tls13 = (struct bench_way){.suite = suite_by_id(0x1301), .out_max = RECORD_PLAIN_MAX};
    plain = (struct bench_way){.out_max = RECORD_PLAIN_MAX};
    return 0;
}

/* ---- the session ---- */

static inline void open_and_talk(const struct bench_way *way) {
    bench_open(way);
    client_say(1000);
    backend_write(1000);
    bench_settle();
    assert_int_equal(bench.up_got, 1000);
    assert_int_equal(bench.down_got, 1000);
}

/* It lives in RELAY: bytes pass both ways, and it ends well. */
static inline void expect_alive_and_finish(void) {
    client_say(300);
    backend_write(400);
    bench_settle();
    assert_int_equal(bench.up_got, bench.up_sent);
    assert_int_equal(bench.down_got, bench.down_sent);
    if (bench.way.suite)
        client_say_close();
    bench_settle();
    client_end();
    backend_end();
    bench_settle();
    bench_expect_gone();
    struct event e = bench_event();
    assert_int_equal(e.reason, 0);
    assert_true(e.bytes_in == bench.up_sent && e.bytes_out == bench.down_sent);
    bench_close();
}

/* ---- the test as importer ---- */

/* Descriptors of the last offer, as the importer's copies. */
static inline void close_offer(void) {
    export_msg_close(&offered);
    offered.nfds = 0;
}

static inline bool next_message(void) {
    int err = 0;
    close_offer();
    return export_recv(link_fd, scratch, &offered, &err) == STEP_DONE;
}

static inline void begin_export(uint32_t max) {
    int ends[2];
    assert_int_equal(ipc_pair(0, ends), 0);
    migrate_out_begin(&relay, &(struct control_export){max, EXPORT_ANY}, ends[0]);
    link_fd = ends[1];
    assert_true(next_message());
    assert_int_equal(offered.type, EXPORT_LIVENESS);
    assert_int_equal(offered.nfds, 1);
    liveness_fd = offered.fds[0];
    offered.nfds = 0;
}

/* A batch of one session has come; its number. */
static inline uint32_t expect_offer(void) {
    struct export_batch b;
    for (int i = 0; i < 10; i++)
        bench_turn();
    do
        assert_true(next_message());
    while (offered.type == EXPORT_BYTES);
    assert_int_equal(offered.type, EXPORT_SESSIONS);
    struct rd r = rd_of(offered.body);
    export_batch_unpack(&r, &b);
    assert_false(r.bad);
    assert_int_equal(b.n, 1);
    return b.number;
}

static inline int reply(uint32_t number, const uint8_t *results, size_t n) {
    uint8_t body[EXPORT_TAKEN_MAX];
    struct wr w = wr_of(body, sizeof(body));
    export_taken_pack(&w, &(struct export_taken){.number = number, .results = span_of(results, n)});
    return ipc_send(link_fd, EXPORT_TAKEN, wr_written(&w), NULL, 0);
}

static inline int reply_one(uint32_t number, enum export_result result) {
    uint8_t byte = (uint8_t)result;
    return reply(number, &byte, 1);
}

static inline void leave_link(void) {
    close_offer();
    if (link_fd >= 0)
        close(link_fd);
    if (liveness_fd >= 0)
        close(liveness_fd);
    link_fd = liveness_fd = -1;
}

/* What the exporter reported to the supervisor last; nothing more is there. */
static inline struct control_exported last_report(void) {
    static uint8_t body[IPC_BODY_MAX + 2];
    struct control_exported x = {.migrated = 9999};
    struct ipc_msg m;
    int err = 0;
    while (ipc_recv(control, body, sizeof(body), control_to_supervisor, &m, &err) == STEP_DONE)
        if (m.type == CONTROL_EXPORTED)
            assert_int_equal(control_read_exported(&m, &x), 0);
    return x;
}

static inline void expect_reported(uint32_t migrated, uint32_t kept, bool broken) {
    struct control_exported x = last_report();
    assert_int_equal(x.migrated, migrated);
    assert_int_equal(x.kept, kept);
    assert_int_equal(x.broken, broken);
}

static inline void expect_silence(void) {
    assert_int_equal(last_report().migrated, 9999);
}

/* 1: the exporter says that it lives; 0: it is dead; -1: nothing. */
static inline int liveness_says(void) {
    uint8_t byte;
    ssize_t n = read(liveness_fd, &byte, 1);
    return n < 0 ? -1 : (int)n;
}
