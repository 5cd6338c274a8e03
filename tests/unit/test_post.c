/* What a peer may still say after the handshake, and what it may not: alerts, KeyUpdate, renegotiation. */
#include "tls/post.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "record_layer_talk.h"

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
            assert_true(peer.record_layer.close_seen);

            memset(wire, 0xee, 100);
            wire_len = 100;
            assert_int_equal(take(), STEP_EOF);
            assert_int_equal(opened.consumed, 100);
            assert_int_equal(opened.niov, 0);
            expect_record_layer_can_send(); /* half-closed only */
        }
}

static void fatal_alerts_fail(void **state) {
    for (size_t i = 0; suite_at(i); i++) {
        start(suite_at(i)->id);
        put_alert(2, 49);
        put_data("ignored");
        expect_failure(ERR_PEER_ALERT);
        assert_int_equal(peer.record_layer.alert_seen, 49);
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
        assert_int_equal(peer.record_layer.alert_seen, description);
    }
}

static void warnings_are_ignored_but_counted_in_1_2(void **state) {
    start_1_2();
    for (int n = 0; n < RECORD_LAYER_IDLE_MAX; n++)
        put_alert(1, ALERT_NO_RENEGOTIATION);
    expect_silence();
    put_alert(1, 41);
    expect_failure(ERR_RECORD_FLOOD);
}

static void user_canceled_is_ignored_but_counted(void **state) {
    static const uint16_t ids[] = {0x1301, 0xc02b};
    for (int i = 0; i < 2; i++) {
        start(ids[i]);
        for (int n = 0; n < RECORD_LAYER_IDLE_MAX; n++)
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
            assert_false(peer.record_layer.close_seen);
        }
    start_1_2();
    put_alert(3, 10);
    expect_failure(ERR_RECORD_ILLEGAL);
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
        assert_int_equal(peer.record_layer.key_updates_in, 1);
        assert_int_equal(peer.record_layer.in.seq, 1);
        assert_false(record_layer_control_owed(&peer.record_layer));
        assert_int_equal(record_layer_control(&peer.record_layer, &peer.contexts, control, &control_len), 0);
        assert_int_equal(control_len, 0);
    }
}

static void a_requested_key_update_is_answered(void **state) {
    for (size_t i = 0; i < 3; i++) {
        start(suite_at(i)->id);
        put_key_update(1);
        put_data("x");
        expect_data("x");
        struct traffic_keys before = peer.record_layer.out;
        expect_key_update();
        assert_memory_not_equal(peer.record_layer.out.secret, before.secret, sizeof before.secret);
        assert_memory_not_equal(peer.record_layer.out.key, before.key, 16);
        assert_int_equal(peer.record_layer.out.seq, 0);
        assert_int_equal(peer.record_layer.key_updates_out, 1);
        expect_record_layer_can_send();
    }
}

static void several_requests_get_one_answer(void **state) {
    start_1_3();
    put_key_update(1);
    put_key_update(1);
    put_key_update(0);
    expect_silence();
    expect_key_update();
    assert_int_equal(peer.record_layer.key_updates_in, 3);
    assert_int_equal(peer.record_layer.key_updates_out, 1);
    expect_record_layer_can_send();
    put_key_update(1);
    expect_silence();
    expect_key_update();
    expect_record_layer_can_send();
}

static void a_key_update_may_come_in_parts(void **state) {
    static const uint8_t msg[] = {24, 0, 0, 1, 1};
    for (size_t cut = 1; cut < sizeof msg; cut++) {
        start_1_3();
        put(CONTENT_HANDSHAKE, msg, cut);
        expect_silence();
        assert_int_equal(peer.record_layer.key_updates_in, 0);
        assert_true(record_layer_valid(&peer.record_layer));
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
    assert_false(peer.record_layer.close_seen);
}

static void nothing_follows_a_key_update_in_its_record(void **state) {
    static const uint8_t two[] = {24, 0, 0, 1, 0, 24, 0, 0, 1, 0};
    for (size_t len = 6; len <= sizeof two; len++) {
        start_1_3();
        put(CONTENT_HANDSHAKE, two, len);
        expect_failure(ERR_RECORD_TYPE);
        assert_int_equal(peer.record_layer.key_updates_in, 0);
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
        assert_int_equal(peer.record_layer.key_updates_in, 0);
        assert_true(record_layer_valid(&peer.record_layer));
        assert_false(record_layer_control_owed(&peer.record_layer));
    }
}

static void key_updates_without_data_are_a_flood(void **state) {
    start_1_3();
    for (int round = 0; round < 2; round++) {
        for (int n = 0; n < RECORD_LAYER_IDLE_MAX; n++)
            put_key_update(n & 1);
        expect_silence();
        put_data("x");
        expect_data("x");
    }
    for (int n = 0; n < RECORD_LAYER_IDLE_MAX; n++)
        put_key_update(0);
    expect_silence();
    put_data(""); /* is no data */
    put_key_update(0);
    expect_failure(ERR_RECORD_FLOOD);
    assert_int_equal(peer.record_layer.key_updates_in, 3 * RECORD_LAYER_IDLE_MAX);
}

static void old_keys_open_nothing_after_an_update(void **state) {
    start_1_3();
    struct traffic_keys old = peer.out;
    put_key_update(0);
    old.seq++;
    peer.out = old;
    put_data("late");
    expect_failure(ERR_BAD_MAC);
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
        expect_record_layer_can_send();
        assert_false(peer.record_layer.close_sent);
    }
}

static void a_hello_in_parts_is_one_attempt(void **state) {
    start_1_2();
    put_client_hello(60000, 16384);
    expect_silence();
    assert_int_equal(peer.record_layer.renegotiations, 1);
    expect_control(CONTENT_ALERT, refusal, sizeof refusal);

    static const size_t pieces[] = {10, 17, 25};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        start_1_2();
        put_client_hello(200, pieces[i]);
        put_data("x"); /* data may come between and after them in 1.2 */
        expect_data("x");
        assert_int_equal(peer.record_layer.renegotiations, 1);
        assert_int_equal(peer.record_layer.post_len, 0);
    }
    for (size_t cut = 1; cut <= 6; cut++) {
        start_1_2();
        static const uint8_t hello[] = {1, 0, 0, 2, 9, 9, 1, 0, 0, 0};
        put(CONTENT_HANDSHAKE, hello, cut);
        assert_int_equal(take(), STEP_WANT_READ);
        assert_true(record_layer_valid(&peer.record_layer));
        put_data("x");
        expect_data("x");
        put(CONTENT_HANDSHAKE, hello + cut, sizeof hello - cut);
        expect_silence();
        assert_int_equal(peer.record_layer.renegotiations, 2);
    }
}

static void renegotiation_attempts_are_counted(void **state) {
    start_1_2();
    for (int n = 0; n < RECORD_LAYER_RENEGOTIATIONS_MAX; n++) {
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
    put_client_hello(1000, 10);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(close_notify_ends_the_input),
        cmocka_unit_test(fatal_alerts_fail),
        cmocka_unit_test(warnings_are_fatal_in_1_3),
        cmocka_unit_test(warnings_are_ignored_but_counted_in_1_2),
        cmocka_unit_test(user_canceled_is_ignored_but_counted),
        cmocka_unit_test(malformed_alerts_fail),
        cmocka_unit_test(a_key_update_changes_the_key),
        cmocka_unit_test(a_requested_key_update_is_answered),
        cmocka_unit_test(several_requests_get_one_answer),
        cmocka_unit_test(a_key_update_may_come_in_parts),
        cmocka_unit_test(nothing_comes_between_the_parts),
        cmocka_unit_test(nothing_follows_a_key_update_in_its_record),
        cmocka_unit_test(malformed_key_updates_fail),
        cmocka_unit_test(key_updates_without_data_are_a_flood),
        cmocka_unit_test(old_keys_open_nothing_after_an_update),
        cmocka_unit_test(renegotiation_is_refused_by_a_warning),
        cmocka_unit_test(a_hello_in_parts_is_one_attempt),
        cmocka_unit_test(renegotiation_attempts_are_counted),
        cmocka_unit_test(attempts_before_an_answer_get_one_answer),
        cmocka_unit_test(handshake_records_without_data_are_a_flood_in_1_2),
        cmocka_unit_test(other_handshake_messages_are_refused_in_1_2),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
