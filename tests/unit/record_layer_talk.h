/* A conversation between a record layer and its peer, for tests: what one says, what the other must make of it. After cmocka.h.
 */
#pragma once

#include <string.h>

#include "base/err.h"
#include "record_peer.h"

static struct record_peer peer;
static uint8_t wire[512 * 1024];
static size_t wire_len;
static struct record_layer_opened opened;
static uint8_t control[RECORD_LAYER_CONTROL_MAX];
static size_t control_len;

static inline void start(uint16_t suite_id) {
    peer_fini(&peer);
    peer_init(&peer, suite_by_id(suite_id), engine_find("auto"));
    assert_true(record_layer_valid(&peer.record_layer));
    wire_len = 0;
}

static inline void start_1_3(void) {
    start(0x1301);
}

static inline void start_1_2(void) {
    start(0xc02b);
}

static inline int setup(void **state) {
    peer_init(&peer, suite_by_id(0x1301), engine_find("auto"));
    return 0;
}

static inline int teardown(void **state) {
    peer_fini(&peer);
    return 0;
}

/* The peer sends one record. */
static inline void put(enum content_type type, const void *data, size_t len) {
    wire_len += peer_seal(&peer, type, data, len, wire + wire_len);
}

static inline void put_data(const char *text) {
    put(CONTENT_APPLICATION_DATA, text, strlen(text));
}

static inline void put_alert(uint8_t level, uint8_t description) {
    uint8_t msg[] = {level, description};
    put(CONTENT_ALERT, msg, 2);
}

static inline void put_key_update(uint8_t request) {
    uint8_t msg[] = {24, 0, 0, 1, request};
    put(CONTENT_HANDSHAKE, msg, sizeof msg);
    peer_next_key(&peer, &peer.out);
}

/* The record layer reads all that has been sent. */
static inline enum step take(void) {
    enum step step = record_layer_open(&peer.record_layer, &peer.contexts, wire, wire_len, &opened);
    wire_len = 0;
    return step;
}

static inline void expect_failure(int err) {
    assert_int_equal(take(), STEP_FAILED);
    assert_int_equal(opened.err, err);
}

/* The record layer reads on, finds nothing wrong and no data. */
static inline void expect_silence(void) {
    size_t sent = wire_len;
    assert_int_equal(take(), STEP_WANT_READ);
    assert_int_equal(opened.consumed, sent);
    assert_int_equal(opened.niov, 0);
    assert_int_equal(opened.plain_len, 0);
}

static inline void expect_data(const char *text) {
    size_t sent = wire_len;
    assert_int_equal(take(), STEP_WANT_READ);
    assert_int_equal(opened.consumed, sent);
    assert_int_equal(opened.niov, 1);
    assert_int_equal(opened.iov[0].iov_len, strlen(text));
    assert_memory_equal(opened.iov[0].iov_base, text, strlen(text));
}

/* The record layer writes what it owes: exactly one record, which the peer opens. */
static inline void expect_control(enum content_type type, const void *msg, size_t len) {
    enum content_type got_type;
    struct span got;
    assert_true(record_layer_control_owed(&peer.record_layer));
    assert_int_equal(record_layer_control(&peer.record_layer, &peer.contexts, control, &control_len), 0);
    assert_true(control_len <= RECORD_LAYER_CONTROL_MAX);
    assert_int_equal(record_frame(peer.suite, control, control_len), control_len);
    assert_int_equal(peer_open(&peer, control, control_len, &got_type, &got), 0);
    assert_int_equal(got_type, type);
    assert_int_equal(got.len, len);
    assert_memory_equal(got.p, msg, len);
    assert_false(record_layer_control_owed(&peer.record_layer));
}

static inline void expect_key_update(void) {
    static const uint8_t update_not_requested[] = {24, 0, 0, 1, 0};
    expect_control(CONTENT_HANDSHAKE, update_not_requested, sizeof update_not_requested);
    peer_next_key(&peer, &peer.in);
}

/* The record layer sends data that the peer understands. */
static inline void expect_record_layer_can_send(void) {
    struct record_run run;
    enum content_type type;
    struct span got;
    size_t n;
    assert_int_equal(record_run_begin(&run, &peer.contexts, peer.suite, &peer.record_layer.out, true), 0);
    memcpy(control + record_prefix(peer.suite), "pong", 4);
    assert_int_equal(record_seal(&run, CONTENT_APPLICATION_DATA, control, 4, &n), 0);
    assert_int_equal(peer_open(&peer, control, n, &type, &got), 0);
    assert_int_equal(got.len, 4);
    assert_memory_equal(got.p, "pong", 4);
}
