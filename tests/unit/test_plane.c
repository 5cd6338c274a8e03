/* The record plane: what a peer may do after the handshake, what it may not, and what we owe it. */
#include "tls/plane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "record_peer.h"

static struct record_peer peer;
static uint8_t wire[512 * 1024];
static size_t wire_len;
static struct plane_opened opened;
static uint8_t control[PLANE_CONTROL_MAX];
static size_t control_len;

static void start(uint16_t suite_id) {
    peer_fini(&peer);
    peer_init(&peer, suite_by_id(suite_id), engine_find("auto"));
    assert_true(plane_valid(&peer.plane));
    wire_len = 0;
}

static void start_1_3(void) {
    start(0x1301);
}

static void start_1_2(void) {
    start(0xc02b);
}

static int setup(void **state) {
    peer_init(&peer, suite_by_id(0x1301), engine_find("auto"));
    return 0;
}

static int teardown(void **state) {
    peer_fini(&peer);
    return 0;
}

/* The peer sends one record. */
static void put(enum content_type type, const void *data, size_t len) {
    wire_len += peer_seal(&peer, type, data, len, wire + wire_len);
}

static void put_data(const char *text) {
    put(CONTENT_APPLICATION_DATA, text, strlen(text));
}

static void put_alert(uint8_t level, uint8_t description) {
    uint8_t msg[] = {level, description};
    put(CONTENT_ALERT, msg, 2);
}

static void put_key_update(uint8_t request) {
    uint8_t msg[] = {24, 0, 0, 1, request};
    put(CONTENT_HANDSHAKE, msg, sizeof msg);
    peer_next_key(&peer, &peer.out);
}

/* The plane reads all that has been sent. */
static enum step take(void) {
    enum step step = plane_open(&peer.plane, &peer.contexts, wire, wire_len, &opened);
    wire_len = 0;
    return step;
}

static void expect_failure(int err) {
    assert_int_equal(take(), STEP_FAILED);
    assert_int_equal(opened.err, err);
}

/* The plane reads on, finds nothing wrong and no data. */
static void expect_silence(void) {
    size_t sent = wire_len;
    assert_int_equal(take(), STEP_WANT_READ);
    assert_int_equal(opened.consumed, sent);
    assert_int_equal(opened.niov, 0);
    assert_int_equal(opened.plain_len, 0);
}

static void expect_data(const char *text) {
    size_t sent = wire_len;
    assert_int_equal(take(), STEP_WANT_READ);
    assert_int_equal(opened.consumed, sent);
    assert_int_equal(opened.niov, 1);
    assert_int_equal(opened.iov[0].iov_len, strlen(text));
    assert_memory_equal(opened.iov[0].iov_base, text, strlen(text));
}

/* The plane writes what it owes: exactly one record, which the peer opens. */
static void expect_control(enum content_type type, const void *msg, size_t len) {
    enum content_type got_type;
    struct span got;
    assert_true(plane_control_owed(&peer.plane));
    assert_int_equal(plane_control(&peer.plane, &peer.contexts, control, &control_len), 0);
    assert_true(control_len <= PLANE_CONTROL_MAX);
    assert_int_equal(record_frame(peer.suite, control, control_len), control_len);
    assert_int_equal(peer_open(&peer, control, control_len, &got_type, &got), 0);
    assert_int_equal(got_type, type);
    assert_int_equal(got.len, len);
    assert_memory_equal(got.p, msg, len);
    assert_false(plane_control_owed(&peer.plane));
}

static void expect_key_update(void) {
    static const uint8_t update_not_requested[] = {24, 0, 0, 1, 0};
    expect_control(CONTENT_HANDSHAKE, update_not_requested, sizeof update_not_requested);
    peer_next_key(&peer, &peer.in);
}

/* The plane sends data that the peer understands. */
static void expect_plane_can_send(void) {
    struct record_run run;
    enum content_type type;
    struct span got;
    size_t n;
    assert_int_equal(record_run_begin(&run, &peer.contexts, peer.suite, &peer.plane.out, true), 0);
    memcpy(control + record_prefix(peer.suite), "pong", 4);
    assert_int_equal(record_seal(&run, CONTENT_APPLICATION_DATA, control, 4, &n), 0);
    assert_int_equal(peer_open(&peer, control, n, &type, &got), 0);
    assert_int_equal(got.len, 4);
    assert_memory_equal(got.p, "pong", 4);
}

/* ---- data ---- */

static void data_comes_out_for_every_suite(void **state) {
    for (size_t i = 0; suite_at(i); i++) {
        start(suite_at(i)->id);
        put_data("hello");
        put_data("world");
        assert_int_equal(take(), STEP_WANT_READ);
        assert_int_equal(opened.niov, 2);
        assert_int_equal(opened.plain_len, 10);
        assert_memory_equal(opened.iov[0].iov_base, "hello", 5);
        assert_memory_equal(opened.iov[1].iov_base, "world", 5);
        expect_plane_can_send();
    }
}

static void input_may_end_anywhere(void **state) {
    static uint8_t all[4096], part[4096];
    for (size_t i = 0; suite_at(i); i += 3) {
        start(suite_at(i)->id);
        for (int r = 0; r < 5; r++)
            put_data("some bytes of data");
        size_t total = wire_len, one = total / 5;
        memcpy(all, wire, total);
        struct plane before = peer.plane;
        for (size_t cut = 0; cut <= total; cut++) {
            peer.plane = before;
            memcpy(part, all, cut);
            assert_int_equal(plane_open(&peer.plane, &peer.contexts, part, cut, &opened), STEP_WANT_READ);
            assert_int_equal(opened.consumed, cut / one * one);
            assert_int_equal(opened.niov, cut / one);
            /* What was left over stays untouched. */
            assert_memory_equal(part + opened.consumed, all + opened.consumed, cut - opened.consumed);
        }
    }
}

static void more_records_than_runs_are_read_in_turns(void **state) {
    start_1_3();
    for (int i = 0; i < PLANE_IOV_MAX + 5; i++)
        put_data("x");
    size_t total = wire_len;
    assert_int_equal(plane_open(&peer.plane, &peer.contexts, wire, total, &opened), STEP_DONE);
    assert_int_equal(opened.niov, PLANE_IOV_MAX);
    size_t off = opened.consumed;
    assert_int_equal(plane_open(&peer.plane, &peer.contexts, wire + off, total - off, &opened), STEP_WANT_READ);
    assert_int_equal(opened.niov, 5);
    assert_int_equal(off + opened.consumed, total);
}

static void data_before_a_fault_is_valid(void **state) {
    start_1_3();
    put_data("good");
    size_t good = wire_len;
    put_data("evil");
    wire[wire_len - 1] ^= 1;
    expect_failure(ERR_BAD_MAC);
    assert_int_equal(opened.niov, 1);
    assert_memory_equal(opened.iov[0].iov_base, "good", 4);
    assert_int_equal(opened.consumed, good);
}

static void bad_headers_fail_at_once(void **state) {
    static const struct {
        uint8_t header[5];
        int err;
    } rows[] = {
        {{'G', 'E', 'T', ' ', '/'}, ERR_RECORD_TYPE},
        {{23, 2, 0, 0, 20}, ERR_RECORD_VERSION},
        {{23, 3, 3, 0x41, 1}, ERR_RECORD_OVERFLOW},
        {{24, 3, 3, 0, 20}, ERR_RECORD_TYPE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        start_1_3();
        memcpy(wire, rows[i].header, 5);
        wire_len = 5;
        expect_failure(rows[i].err);
        assert_int_equal(opened.consumed, 0);
    }
}

static void empty_records_are_fine_until_they_are_a_flood(void **state) {
    for (size_t i = 0; suite_at(i); i += 3) {
        start(suite_at(i)->id);
        for (int round = 0; round < 3; round++) {
            for (int n = 0; n < PLANE_EMPTY_MAX; n++)
                put_data("");
            expect_silence();
            put_data("x");
            expect_data("x");
        }
        for (int n = 0; n < PLANE_EMPTY_MAX; n++)
            put_data("");
        expect_silence();
        put_data("");
        expect_failure(ERR_RECORD_FLOOD);
    }
}

static void other_types_are_refused(void **state) {
    static const uint8_t one[] = {1};
    start_1_3();
    put(CONTENT_CHANGE_CIPHER_SPEC, one, 1); /* protected */
    expect_failure(ERR_RECORD_TYPE);
    start_1_3();
    put((enum content_type)24, one, 1); /* heartbeat */
    expect_failure(ERR_RECORD_TYPE);
    start_1_2();
    put(CONTENT_CHANGE_CIPHER_SPEC, one, 1);
    expect_failure(ERR_RECORD_TYPE);
}

static void a_plain_change_cipher_spec_is_too_late(void **state) {
    static const uint8_t ccs[] = {20, 3, 3, 0, 1, 1};
    start_1_3();
    memcpy(wire, ccs, sizeof ccs);
    wire_len = sizeof ccs;
    expect_failure(ERR_RECORD_TYPE);
}

/* ---- alerts ---- */

static void close_notify_ends_the_input(void **state) {
    for (size_t i = 0; suite_at(i); i++)
        for (uint8_t level = 1; level <= 2; level++) {
            start(suite_at(i)->id);
            put_data("last");
            put_alert(level, ALERT_CLOSE_NOTIFY);
            put_data("ignored");
            assert_int_equal(take(), STEP_EOF);
            assert_int_equal(opened.niov, 1);
            assert_memory_equal(opened.iov[0].iov_base, "last", 4);
            assert_true(peer.plane.close_seen);

            memset(wire, 0xee, 100);
            wire_len = 100;
            assert_int_equal(take(), STEP_EOF);
            assert_int_equal(opened.consumed, 100);
            assert_int_equal(opened.niov, 0);
            expect_plane_can_send(); /* half-closed only */
        }
}

static void fatal_alerts_fail(void **state) {
    for (size_t i = 0; suite_at(i); i++) {
        start(suite_at(i)->id);
        put_alert(2, 49);
        put_data("ignored");
        expect_failure(ERR_PEER_ALERT);
        assert_int_equal(peer.plane.alert_seen, 49);
        assert_int_equal(opened.niov, 0);
    }
}

static void warnings_are_fatal_in_1_3(void **state) {
    for (unsigned description = 1; description < 256; description++) {
        if (description == ALERT_USER_CANCELED)
            continue;
        start_1_3();
        put_alert(1, (uint8_t)description);
        expect_failure(ERR_PEER_ALERT);
        assert_int_equal(peer.plane.alert_seen, description);
    }
}

static void warnings_are_ignored_but_counted_in_1_2(void **state) {
    start_1_2();
    for (int n = 0; n < PLANE_EMPTY_MAX; n++)
        put_alert(1, ALERT_NO_RENEGOTIATION);
    expect_silence();
    put_alert(1, 41);
    expect_failure(ERR_RECORD_FLOOD);
}

static void user_canceled_is_ignored_but_counted(void **state) {
    static const uint16_t ids[] = {0x1301, 0xc02b};
    for (int i = 0; i < 2; i++) {
        start(ids[i]);
        for (int n = 0; n < PLANE_EMPTY_MAX; n++)
            put_alert(1, ALERT_USER_CANCELED);
        expect_silence();
        put_alert(1, ALERT_USER_CANCELED);
        expect_failure(ERR_RECORD_FLOOD);
    }
    start_1_3();
    put_alert(2, ALERT_USER_CANCELED);
    put_alert(1, ALERT_CLOSE_NOTIFY);
    assert_int_equal(take(), STEP_EOF);
}

static void malformed_alerts_fail(void **state) {
    static const uint16_t ids[] = {0x1301, 0xc02b};
    static const uint8_t bytes[] = {1, 0, 1, 0};
    for (int i = 0; i < 2; i++)
        for (size_t len = 0; len <= sizeof bytes; len++) {
            if (len == 2)
                continue;
            start(ids[i]);
            put(CONTENT_ALERT, bytes, len);
            expect_failure(len == 0 ? ERR_RECORD_TYPE : ERR_RECORD_DECODE);
            assert_false(peer.plane.close_seen);
        }
    start_1_2();
    put_alert(3, 10);
    expect_failure(ERR_RECORD_ILLEGAL);
}

static void we_send_alerts_at_the_right_level(void **state) {
    static const struct {
        enum alert alert;
        uint8_t level;
    } rows[] = {{ALERT_CLOSE_NOTIFY, 1}, {ALERT_USER_CANCELED, 1}, {ALERT_BAD_RECORD_MAC, 2}, {ALERT_INTERNAL_ERROR, 2}};
    for (size_t i = 0; suite_at(i); i++)
        for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
            enum content_type type;
            struct span got;
            start(suite_at(i)->id);
            assert_int_equal(plane_alert(&peer.plane, &peer.contexts, rows[r].alert, control, &control_len), 0);
            assert_int_equal(peer_open(&peer, control, control_len, &type, &got), 0);
            assert_int_equal(type, CONTENT_ALERT);
            assert_int_equal(got.len, 2);
            assert_int_equal(got.p[0], rows[r].level);
            assert_int_equal(got.p[1], rows[r].alert);
            assert_int_equal(peer.plane.close_sent, rows[r].alert != ALERT_USER_CANCELED);
        }
}

static void nothing_follows_our_close(void **state) {
    start_1_3();
    assert_int_equal(plane_alert(&peer.plane, &peer.contexts, ALERT_CLOSE_NOTIFY, control, &control_len), 0);
    assert_true(control_len > 0);
    put_key_update(1);
    put_data("still open this way");
    assert_int_equal(take(), STEP_WANT_READ);
    assert_int_equal(opened.niov, 1);
    assert_false(plane_control_owed(&peer.plane));
    assert_int_equal(plane_control(&peer.plane, &peer.contexts, control, &control_len), 0);
    assert_int_equal(control_len, 0);
    assert_int_equal(plane_alert(&peer.plane, &peer.contexts, ALERT_BAD_RECORD_MAC, control, &control_len), 0);
    assert_int_equal(control_len, 0);
}

/* ---- KeyUpdate ---- */

static void a_key_update_changes_the_key(void **state) {
    for (size_t i = 0; i < 3; i++) {
        start(suite_at(i)->id);
        put_data("before");
        put_key_update(0);
        put_data("after");
        assert_int_equal(take(), STEP_WANT_READ);
        assert_int_equal(opened.niov, 2);
        assert_memory_equal(opened.iov[1].iov_base, "after", 5);
        assert_int_equal(peer.plane.key_updates_in, 1);
        assert_int_equal(peer.plane.in.seq, 1);
        assert_false(plane_control_owed(&peer.plane));
        assert_int_equal(plane_control(&peer.plane, &peer.contexts, control, &control_len), 0);
        assert_int_equal(control_len, 0);
    }
}

static void a_requested_key_update_is_answered(void **state) {
    for (size_t i = 0; i < 3; i++) {
        start(suite_at(i)->id);
        put_key_update(1);
        put_data("x");
        expect_data("x");
        struct record_half before = peer.plane.out;
        expect_key_update();
        assert_memory_not_equal(peer.plane.out.secret, before.secret, sizeof before.secret);
        assert_memory_not_equal(peer.plane.out.key, before.key, 16);
        assert_int_equal(peer.plane.out.seq, 0);
        assert_int_equal(peer.plane.key_updates_out, 1);
        expect_plane_can_send();
    }
}

static void several_requests_get_one_answer(void **state) {
    start_1_3();
    put_key_update(1);
    put_key_update(1);
    put_key_update(0);
    expect_silence();
    expect_key_update();
    assert_int_equal(peer.plane.key_updates_in, 3);
    assert_int_equal(peer.plane.key_updates_out, 1);
    expect_plane_can_send();
    put_key_update(1);
    expect_silence();
    expect_key_update();
    expect_plane_can_send();
}

static void a_key_update_may_come_in_parts(void **state) {
    static const uint8_t msg[] = {24, 0, 0, 1, 1};
    for (size_t cut = 1; cut < sizeof msg; cut++) {
        start_1_3();
        put(CONTENT_HANDSHAKE, msg, cut);
        expect_silence();
        assert_int_equal(peer.plane.key_updates_in, 0);
        assert_true(plane_valid(&peer.plane));
        put(CONTENT_HANDSHAKE, msg + cut, sizeof msg - cut);
        peer_next_key(&peer, &peer.out);
        put_data("x");
        expect_data("x");
        expect_key_update();
    }
    start_1_3();
    for (size_t i = 0; i < sizeof msg; i++)
        put(CONTENT_HANDSHAKE, msg + i, 1);
    peer_next_key(&peer, &peer.out);
    put_data("x");
    expect_data("x");
}

static void nothing_comes_between_the_parts(void **state) {
    static const uint8_t msg[] = {24, 0, 0, 1, 1};
    start_1_3();
    put(CONTENT_HANDSHAKE, msg, 3);
    put_data("x");
    expect_failure(ERR_RECORD_TYPE);
    assert_int_equal(opened.niov, 0);
    start_1_3();
    put(CONTENT_HANDSHAKE, msg, 3);
    put_data("");
    expect_failure(ERR_RECORD_TYPE);
    start_1_3();
    put(CONTENT_HANDSHAKE, msg, 3);
    put_alert(1, ALERT_CLOSE_NOTIFY);
    expect_failure(ERR_RECORD_TYPE);
    assert_false(peer.plane.close_seen);
}

static void nothing_follows_a_key_update_in_its_record(void **state) {
    static const uint8_t two[] = {24, 0, 0, 1, 0, 24, 0, 0, 1, 0};
    for (size_t len = 6; len <= sizeof two; len++) {
        start_1_3();
        put(CONTENT_HANDSHAKE, two, len);
        expect_failure(ERR_RECORD_TYPE);
        assert_int_equal(peer.plane.key_updates_in, 0);
    }
}

static void malformed_key_updates_fail(void **state) {
    static const struct {
        uint8_t msg[6];
        size_t len;
        int err;
    } rows[] = {
        {{24, 0, 0, 0}, 4, ERR_RECORD_DECODE},      {{24, 0, 0, 2, 0, 0}, 6, ERR_RECORD_DECODE},
        {{24, 0, 0, 2}, 4, ERR_RECORD_DECODE},      {{24, 1}, 2, ERR_RECORD_DECODE},
        {{24, 0, 0, 1, 2}, 5, ERR_RECORD_ILLEGAL},  {{24, 0, 0, 1, 255}, 5, ERR_RECORD_ILLEGAL},
        {{1, 0, 0, 1, 0}, 5, ERR_RECORD_TYPE},      {{4}, 1, ERR_RECORD_TYPE},
        {{13, 0, 0, 1, 0}, 5, ERR_RECORD_TYPE},     {{11, 0, 0, 1, 0}, 5, ERR_RECORD_TYPE},
        {{20, 0, 0, 32, 0, 0}, 6, ERR_RECORD_TYPE}, {{0}, 1, ERR_RECORD_TYPE},
        {{24, 0, 0, 1, 0}, 0, ERR_RECORD_TYPE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        start_1_3();
        put(CONTENT_HANDSHAKE, rows[i].msg, rows[i].len);
        expect_failure(rows[i].err);
        assert_int_equal(peer.plane.key_updates_in, 0);
        assert_false(plane_control_owed(&peer.plane));
    }
}

static void key_updates_without_data_are_a_flood(void **state) {
    start_1_3();
    for (int round = 0; round < 2; round++) {
        for (int n = 0; n < PLANE_KEY_UPDATES_MAX; n++)
            put_key_update(n & 1);
        expect_silence();
        put_data("x");
        expect_data("x");
    }
    for (int n = 0; n < PLANE_KEY_UPDATES_MAX; n++)
        put_key_update(0);
    expect_silence();
    put_data(""); /* is no data */
    put_key_update(0);
    expect_failure(ERR_RECORD_FLOOD);
    assert_int_equal(peer.plane.key_updates_in, 3 * PLANE_KEY_UPDATES_MAX);
}

static void old_keys_open_nothing_after_an_update(void **state) {
    start_1_3();
    struct record_half old = peer.out;
    put_key_update(0);
    old.seq++;
    peer.out = old;
    put_data("late");
    expect_failure(ERR_BAD_MAC);
}

static void our_own_update_is_due_before_the_limit(void **state) {
    for (size_t i = 0; i < 3; i++) {
        start(suite_at(i)->id);
        uint64_t limit = aead_of(peer.suite->aead)->seal_limit;
        peer.plane.out.seq = peer.in.seq = limit - PLANE_SEALS_LOW_1_3;
        assert_false(plane_control_owed(&peer.plane));
        expect_plane_can_send();
        expect_key_update();
        assert_int_equal(peer.plane.out.seq, 0);
        expect_plane_can_send();
    }
}

static void the_peers_own_limit_is_the_peers_matter(void **state) {
    start_1_3();
    peer.plane.in.seq = peer.out.seq = aead_of(AEAD_AES_128_GCM)->seal_limit - 1;
    put_data("x");
    expect_data("x");
    peer.plane.in.seq = UINT64_MAX;
    peer.out.seq = 5;
    put_data("x");
    expect_failure(ERR_KEY_LIMIT);
}

static void a_used_up_1_2_key_ends_with_an_alert(void **state) {
    enum content_type type;
    struct span got;
    start_1_2();
    peer.plane.out.seq = peer.in.seq = aead_of(AEAD_AES_128_GCM)->seal_limit - PLANE_SEALS_LOW_1_2;
    assert_false(plane_control_owed(&peer.plane));
    expect_plane_can_send();
    assert_true(plane_control_owed(&peer.plane));
    assert_int_equal(plane_control(&peer.plane, &peer.contexts, control, &control_len), ERR_KEY_LIMIT);
    assert_int_equal(control_len, 0);
    assert_int_equal(plane_alert(&peer.plane, &peer.contexts, ALERT_INTERNAL_ERROR, control, &control_len), 0);
    assert_int_equal(peer_open(&peer, control, control_len, &type, &got), 0);
    assert_false(plane_control_owed(&peer.plane));

    start_1_2();
    peer.plane.out.seq = aead_of(AEAD_AES_128_GCM)->seal_limit;
    assert_int_equal(plane_alert(&peer.plane, &peer.contexts, ALERT_CLOSE_NOTIFY, control, &control_len), ERR_KEY_LIMIT);
    assert_int_equal(control_len, 0);
    assert_false(peer.plane.close_sent);
}

/* ---- TLS 1.2 renegotiation ---- */

static const uint8_t refusal[] = {1, ALERT_NO_RENEGOTIATION};

static void put_client_hello(size_t body_len, size_t record_len) {
    static uint8_t msg[4 + 70000];
    memset(msg, 3, sizeof msg);
    msg[0] = 1;
    msg[1] = (uint8_t)(body_len >> 16);
    msg[2] = (uint8_t)(body_len >> 8);
    msg[3] = (uint8_t)body_len;
    for (size_t off = 0; off < 4 + body_len; off += record_len)
        put(CONTENT_HANDSHAKE, msg + off, MIN(record_len, 4 + body_len - off));
}

static void renegotiation_is_refused_by_a_warning(void **state) {
    for (size_t i = 3; suite_at(i); i++) {
        start(suite_at(i)->id);
        put_client_hello(300, 16384);
        put_data("go on");
        expect_data("go on");
        expect_control(CONTENT_ALERT, refusal, sizeof refusal);
        expect_plane_can_send();
        assert_false(peer.plane.close_sent);
    }
}

static void a_hello_in_parts_is_one_attempt(void **state) {
    start_1_2();
    put_client_hello(60000, 16384);
    expect_silence();
    assert_int_equal(peer.plane.renegotiations, 1);
    expect_control(CONTENT_ALERT, refusal, sizeof refusal);

    static const size_t pieces[] = {10, 17, 25};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        start_1_2();
        put_client_hello(200, pieces[i]);
        put_data("x"); /* data may come between and after them in 1.2 */
        expect_data("x");
        assert_int_equal(peer.plane.renegotiations, 1);
        assert_int_equal(peer.plane.post_len, 0);
    }
    for (size_t cut = 1; cut <= 6; cut++) {
        start_1_2();
        static const uint8_t hello[] = {1, 0, 0, 2, 9, 9, 1, 0, 0, 0};
        put(CONTENT_HANDSHAKE, hello, cut);
        assert_int_equal(take(), STEP_WANT_READ);
        assert_true(plane_valid(&peer.plane));
        put_data("x");
        expect_data("x");
        put(CONTENT_HANDSHAKE, hello + cut, sizeof hello - cut);
        expect_silence();
        assert_int_equal(peer.plane.renegotiations, 2);
    }
}

static void renegotiation_attempts_are_counted(void **state) {
    start_1_2();
    for (int n = 0; n < PLANE_RENEGOTIATIONS_MAX; n++) {
        put_client_hello(50, 16384);
        put_data("x");
        expect_data("x");
        expect_control(CONTENT_ALERT, refusal, sizeof refusal);
    }
    put_client_hello(50, 16384);
    expect_failure(ERR_RECORD_FLOOD);
}

static void attempts_before_an_answer_get_one_answer(void **state) {
    start_1_2();
    put_client_hello(50, 16384);
    put_client_hello(50, 16384);
    expect_silence();
    expect_control(CONTENT_ALERT, refusal, sizeof refusal);
}

static void handshake_records_without_data_are_a_flood_in_1_2(void **state) {
    start_1_2();
    put_client_hello(1000, 20);
    expect_failure(ERR_RECORD_FLOOD);
}

static void other_handshake_messages_are_refused_in_1_2(void **state) {
    for (unsigned type = 0; type < 256; type++) {
        uint8_t msg[] = {(uint8_t)type, 0, 0, 0};
        if (type == 1)
            continue;
        start_1_2();
        put(CONTENT_HANDSHAKE, msg, sizeof msg);
        expect_failure(ERR_RECORD_TYPE);
    }
    static const uint8_t giant[] = {1, 2, 0, 1};
    start_1_2();
    put(CONTENT_HANDSHAKE, giant, sizeof giant);
    expect_failure(ERR_RECORD_DECODE);
    start_1_2();
    put(CONTENT_HANDSHAKE, giant, 0);
    expect_failure(ERR_RECORD_TYPE);
    static const uint8_t hello_then_other[] = {1, 0, 0, 0, 16, 0, 0, 0};
    start_1_2();
    put(CONTENT_HANDSHAKE, hello_then_other, sizeof hello_then_other);
    expect_failure(ERR_RECORD_TYPE);
}

/* ---- as plain data ---- */

static void a_copied_plane_goes_on(void **state) {
    static const uint8_t half_update[] = {24, 0, 0};
    for (size_t i = 0; suite_at(i); i++) {
        uint8_t blob[sizeof(struct plane)];
        start(suite_at(i)->id);
        put_data("one");
        expect_data("one");
        expect_plane_can_send();
        if (peer.suite->version == TLS_1_3) {
            put_key_update(1);
            put(CONTENT_HANDSHAKE, half_update, sizeof half_update);
            expect_silence();
        }
        memcpy(blob, &peer.plane, sizeof blob);
        memset(&peer.plane, 0xff, sizeof peer.plane);
        peer_fini(&peer); /* another process has contexts of its own */
        memcpy(&peer.plane, blob, sizeof blob);
        assert_true(plane_valid(&peer.plane));
        if (peer.suite->version == TLS_1_3) {
            expect_key_update();
            put(CONTENT_HANDSHAKE, "\x01\x01", 2);
            peer_next_key(&peer, &peer.out);
        }
        put_data("two");
        expect_data("two");
        expect_plane_can_send();
    }
}

static void nonsense_planes_are_not_valid(void **state) {
    start_1_3();
    struct plane p = peer.plane;
    p.suite_id = 0x009c;
    assert_false(plane_valid(&p));
    p = peer.plane;
    p.out_max = 0;
    assert_false(plane_valid(&p));
    p.out_max = RECORD_PLAIN_MAX + 1;
    assert_false(plane_valid(&p));
    p.out_max = RECORD_PLAIN_MAX;
    assert_true(plane_valid(&p));
    p.post_len = 5;
    assert_false(plane_valid(&p));
    p.post_len = 4;
    assert_true(plane_valid(&p));
    memset(&p.close_seen, 2, 1);
    assert_false(plane_valid(&p));
    memset(&p, 0xff, sizeof p);
    assert_false(plane_valid(&p));
    memset(&p, 0, sizeof p);
    assert_false(plane_valid(&p));
}

static void wiping_leaves_no_key(void **state) {
    static const uint8_t zero[HASH_LEN_MAX];
    start_1_3();
    put_key_update(1);
    expect_silence();
    plane_wipe(&peer.plane);
    const struct record_half *halves[] = {&peer.plane.in, &peer.plane.out};
    for (int i = 0; i < 2; i++) {
        assert_memory_equal(halves[i]->secret, zero, sizeof halves[i]->secret);
        assert_memory_equal(halves[i]->key, zero, sizeof halves[i]->key);
        assert_memory_equal(halves[i]->iv, zero, sizeof halves[i]->iv);
    }
    assert_int_equal(peer.plane.key_updates_in, 1);
    assert_ptr_equal(plane_suite(&peer.plane), peer.suite);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_comes_out_for_every_suite),
        cmocka_unit_test(input_may_end_anywhere),
        cmocka_unit_test(more_records_than_runs_are_read_in_turns),
        cmocka_unit_test(data_before_a_fault_is_valid),
        cmocka_unit_test(bad_headers_fail_at_once),
        cmocka_unit_test(empty_records_are_fine_until_they_are_a_flood),
        cmocka_unit_test(other_types_are_refused),
        cmocka_unit_test(a_plain_change_cipher_spec_is_too_late),
        cmocka_unit_test(close_notify_ends_the_input),
        cmocka_unit_test(fatal_alerts_fail),
        cmocka_unit_test(warnings_are_fatal_in_1_3),
        cmocka_unit_test(warnings_are_ignored_but_counted_in_1_2),
        cmocka_unit_test(user_canceled_is_ignored_but_counted),
        cmocka_unit_test(malformed_alerts_fail),
        cmocka_unit_test(we_send_alerts_at_the_right_level),
        cmocka_unit_test(nothing_follows_our_close),
        cmocka_unit_test(a_key_update_changes_the_key),
        cmocka_unit_test(a_requested_key_update_is_answered),
        cmocka_unit_test(several_requests_get_one_answer),
        cmocka_unit_test(a_key_update_may_come_in_parts),
        cmocka_unit_test(nothing_comes_between_the_parts),
        cmocka_unit_test(nothing_follows_a_key_update_in_its_record),
        cmocka_unit_test(malformed_key_updates_fail),
        cmocka_unit_test(key_updates_without_data_are_a_flood),
        cmocka_unit_test(old_keys_open_nothing_after_an_update),
        cmocka_unit_test(our_own_update_is_due_before_the_limit),
        cmocka_unit_test(the_peers_own_limit_is_the_peers_matter),
        cmocka_unit_test(a_used_up_1_2_key_ends_with_an_alert),
        cmocka_unit_test(renegotiation_is_refused_by_a_warning),
        cmocka_unit_test(a_hello_in_parts_is_one_attempt),
        cmocka_unit_test(renegotiation_attempts_are_counted),
        cmocka_unit_test(attempts_before_an_answer_get_one_answer),
        cmocka_unit_test(handshake_records_without_data_are_a_flood_in_1_2),
        cmocka_unit_test(other_handshake_messages_are_refused_in_1_2),
        cmocka_unit_test(a_copied_plane_goes_on),
        cmocka_unit_test(nonsense_planes_are_not_valid),
        cmocka_unit_test(wiping_leaves_no_key),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
