/* The record layer: data in and out, what it owes and sends, its limits, and its life as plain data. */
#include "tls/record_layer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "record_layer_talk.h"
#include "tls/record_layer_pack.h"

/* ---- data ---- */

static void data_comes_out_for_every_suite(void **state) {
    for (size_t i = 0; suite_at(i); i++) {
        start(suite_at(i)->id);
        put_data("hello");
        put_data("world");
        assert_int_equal(take(), STEP_WANT_READ);
        assert_int_equal(opened.niov, 2);
        assert_int_equal(opened.plain_len, 10);
        assert_int_equal(opened.padding, 0);
        assert_memory_equal(opened.iov[0].iov_base, "hello", 5);
        assert_memory_equal(opened.iov[1].iov_base, "world", 5);
        expect_record_layer_can_send();
    }
}

static void padding_is_counted(void **state) {
    start_1_3();
    put((enum content_type)0, "hello\x17\0\0", 8); /* the type is within, and what is behind it is padding */
    put_data("world");
    assert_int_equal(take(), STEP_WANT_READ);
    assert_int_equal(opened.plain_len, 10);
    assert_int_equal(opened.padding, 3);
}

static void input_may_end_anywhere(void **state) {
    static uint8_t all[4096], part[4096];
    for (size_t i = 0; suite_at(i); i += 3) {
        start(suite_at(i)->id);
        for (int r = 0; r < 5; r++)
            put_data("some bytes of data");
        size_t total = wire_len, one = total / 5;
        memcpy(all, wire, total);
        struct record_layer before = peer.record_layer;
        for (size_t cut = 0; cut <= total; cut++) {
            peer.record_layer = before;
            memcpy(part, all, cut);
            assert_int_equal(record_layer_open(&peer.record_layer, &peer.contexts, part, cut, &opened), STEP_WANT_READ);
            assert_int_equal(opened.consumed, cut / one * one);
            assert_int_equal(opened.niov, cut / one);
            /* What was left over stays untouched. */
            assert_memory_equal(part + opened.consumed, all + opened.consumed, cut - opened.consumed);
        }
    }
}

static void more_records_than_runs_are_read_in_turns(void **state) {
    start_1_3();
    for (int i = 0; i < RECORD_LAYER_IOV_MAX + 5; i++)
        put_data("x");
    size_t total = wire_len;
    assert_int_equal(record_layer_open(&peer.record_layer, &peer.contexts, wire, total, &opened), STEP_DONE);
    assert_int_equal(opened.niov, RECORD_LAYER_IOV_MAX);
    size_t off = opened.consumed;
    assert_int_equal(record_layer_open(&peer.record_layer, &peer.contexts, wire + off, total - off, &opened), STEP_WANT_READ);
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
            for (int n = 0; n < RECORD_LAYER_IDLE_MAX; n++)
                put_data("");
            expect_silence();
            put_data("x");
            expect_data("x");
        }
        for (int n = 0; n < RECORD_LAYER_IDLE_MAX + 1; n++) /* one was saved up */
            put_data("");
        expect_silence();
        put_data("");
        expect_failure(ERR_RECORD_FLOOD);
    }
}

/* A client that only reads: what we send it counts as well, and saves up for what is under way. */
static void data_that_we_send_is_no_idleness(void **state) {
    start(suite_at(0)->id);
    for (int n = 0; n < RECORD_LAYER_IDLE_MAX; n++)
        put_data("");
    expect_silence();
    record_layer_progress(&peer.record_layer, 1);
    for (int n = 0; n < RECORD_LAYER_IDLE_MAX + 1; n++)
        put_data("");
    expect_silence();
    put_data("");
    expect_failure(ERR_RECORD_FLOOD);
}

static void what_is_saved_up_is_bounded(void **state) {
    start(suite_at(0)->id);
    for (int n = 0; n < 10; n++)
        record_layer_progress(&peer.record_layer, SIZE_MAX / 2);
    assert_true(record_layer_valid(&peer.record_layer));
    for (int n = 0; n < RECORD_LAYER_SAVED_MAX + RECORD_LAYER_IDLE_MAX; n++) {
        put_data("");
        if (n % 50 == 0)
            expect_silence();
    }
    expect_silence();
    put_data("");
    expect_failure(ERR_RECORD_FLOOD);
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

/* ---- what we send ---- */

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
            assert_int_equal(record_layer_alert(&peer.record_layer, &peer.contexts, rows[r].alert, control, &control_len), 0);
            assert_int_equal(peer_open(&peer, control, control_len, &type, &got), 0);
            assert_int_equal(type, CONTENT_ALERT);
            assert_int_equal(got.len, 2);
            assert_int_equal(got.p[0], rows[r].level);
            assert_int_equal(got.p[1], rows[r].alert);
            assert_int_equal(peer.record_layer.close_sent, rows[r].alert != ALERT_USER_CANCELED);
        }
}

static void nothing_follows_our_close(void **state) {
    start_1_3();
    assert_int_equal(record_layer_alert(&peer.record_layer, &peer.contexts, ALERT_CLOSE_NOTIFY, control, &control_len), 0);
    assert_true(control_len > 0);
    put_key_update(1);
    put_data("still open this way");
    assert_int_equal(take(), STEP_WANT_READ);
    assert_int_equal(opened.niov, 1);
    assert_false(record_layer_control_owed(&peer.record_layer));
    assert_int_equal(record_layer_control(&peer.record_layer, &peer.contexts, control, &control_len), 0);
    assert_int_equal(control_len, 0);
    assert_int_equal(record_layer_alert(&peer.record_layer, &peer.contexts, ALERT_BAD_RECORD_MAC, control, &control_len), 0);
    assert_int_equal(control_len, 0);
}

static void our_own_update_is_due_before_the_limit(void **state) {
    for (size_t i = 0; i < 3; i++) {
        start(suite_at(i)->id);
        uint64_t limit = suite_seal_limit(peer.suite);
        peer.record_layer.out.seq = peer.in.seq = limit - RECORD_LAYER_SEALS_LOW_1_3;
        assert_false(record_layer_control_owed(&peer.record_layer));
        expect_record_layer_can_send();
        expect_key_update();
        assert_int_equal(peer.record_layer.out.seq, 0);
        expect_record_layer_can_send();
    }
}

static void the_peers_own_limit_is_the_peers_matter(void **state) {
    start_1_3();
    peer.record_layer.in.seq = peer.out.seq = suite_seal_limit(peer.suite) - 1;
    put_data("x");
    expect_data("x");
    peer.record_layer.in.seq = UINT64_MAX;
    peer.out.seq = 5;
    put_data("x");
    expect_failure(ERR_KEY_LIMIT);
}

static void a_used_up_1_2_key_ends_with_an_alert(void **state) {
    enum content_type type;
    struct span got;
    start_1_2();
    peer.record_layer.out.seq = peer.in.seq = suite_seal_limit(peer.suite) - RECORD_LAYER_SEALS_LOW_1_2;
    assert_false(record_layer_control_owed(&peer.record_layer));
    expect_record_layer_can_send();
    assert_true(record_layer_control_owed(&peer.record_layer));
    assert_int_equal(record_layer_control(&peer.record_layer, &peer.contexts, control, &control_len), ERR_KEY_LIMIT);
    assert_int_equal(control_len, 0);
    assert_int_equal(record_layer_alert(&peer.record_layer, &peer.contexts, ALERT_INTERNAL_ERROR, control, &control_len), 0);
    assert_int_equal(peer_open(&peer, control, control_len, &type, &got), 0);
    assert_false(record_layer_control_owed(&peer.record_layer));

    start_1_2();
    peer.record_layer.out.seq = suite_seal_limit(peer.suite);
    assert_int_equal(record_layer_alert(&peer.record_layer, &peer.contexts, ALERT_CLOSE_NOTIFY, control, &control_len),
                     ERR_KEY_LIMIT);
    assert_int_equal(control_len, 0);
    assert_false(peer.record_layer.close_sent);
}

/* ---- in another process ---- */

static void a_packed_record_layer_goes_on(void **state) {
    static const uint8_t half_update[] = {24, 0, 0};
    for (size_t i = 0; suite_at(i); i++) {
        uint8_t packed[RECORD_LAYER_PACKED_MAX];
        start(suite_at(i)->id);
        put_data("one");
        expect_data("one");
        expect_record_layer_can_send();
        if (peer.suite->version == TLS_1_3) {
            put_key_update(1);
            put(CONTENT_HANDSHAKE, half_update, sizeof half_update);
            expect_silence();
        }
        struct span bytes = record_layer_pack(&peer.record_layer, packed);
        memset(&peer.record_layer, 0xff, sizeof peer.record_layer);
        peer_fini(&peer); /* another process has contexts of its own */
        assert_int_equal(record_layer_unpack(bytes, UINT8_MAX, false, &peer.record_layer), 0);
        if (peer.suite->version == TLS_1_3) {
            expect_key_update();
            put(CONTENT_HANDSHAKE, "\x01\x01", 2);
            peer_next_key(&peer, &peer.out);
        }
        put_data("two");
        expect_data("two");
        expect_record_layer_can_send();
    }
}

static void nonsense_record_layers_are_not_valid(void **state) {
    start_1_3();
    struct record_layer p = peer.record_layer;
    p.suite_id = 0x009c;
    assert_false(record_layer_valid(&p));
    p = peer.record_layer;
    p.out_max = 0;
    assert_false(record_layer_valid(&p));
    p.out_max = RECORD_PLAIN_MAX + 1;
    assert_false(record_layer_valid(&p));
    p.out_max = RECORD_PLAIN_MAX;
    assert_true(record_layer_valid(&p));
    p.post_len = 5;
    assert_false(record_layer_valid(&p));
    p.post_len = 4;
    assert_true(record_layer_valid(&p));
    p.idle_records = RECORD_LAYER_IDLE_MAX + 1;
    assert_false(record_layer_valid(&p));
    p.idle_records = -RECORD_LAYER_SAVED_MAX - 1;
    assert_false(record_layer_valid(&p));
    memset(&p, 0xff, sizeof p);
    assert_false(record_layer_valid(&p));
    memset(&p, 0, sizeof p);
    assert_false(record_layer_valid(&p));
}

static void wiping_leaves_no_key(void **state) {
    static const uint8_t zero[HASH_LEN_MAX];
    start_1_3();
    put_key_update(1);
    expect_silence();
    record_layer_wipe(&peer.record_layer);
    const struct traffic_keys *keys[] = {&peer.record_layer.in, &peer.record_layer.out};
    for (int i = 0; i < 2; i++) {
        assert_memory_equal(keys[i]->secret, zero, sizeof keys[i]->secret);
        assert_memory_equal(keys[i]->key, zero, sizeof keys[i]->key);
        assert_memory_equal(keys[i]->iv, zero, sizeof keys[i]->iv);
    }
    assert_int_equal(peer.record_layer.key_updates_in, 1);
    assert_ptr_equal(record_layer_suite(&peer.record_layer), peer.suite);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_comes_out_for_every_suite),
        cmocka_unit_test(padding_is_counted),
        cmocka_unit_test(input_may_end_anywhere),
        cmocka_unit_test(more_records_than_runs_are_read_in_turns),
        cmocka_unit_test(data_before_a_fault_is_valid),
        cmocka_unit_test(bad_headers_fail_at_once),
        cmocka_unit_test(empty_records_are_fine_until_they_are_a_flood),
        cmocka_unit_test(data_that_we_send_is_no_idleness),
        cmocka_unit_test(what_is_saved_up_is_bounded),
        cmocka_unit_test(other_types_are_refused),
        cmocka_unit_test(a_plain_change_cipher_spec_is_too_late),
        cmocka_unit_test(we_send_alerts_at_the_right_level),
        cmocka_unit_test(nothing_follows_our_close),
        cmocka_unit_test(our_own_update_is_due_before_the_limit),
        cmocka_unit_test(the_peers_own_limit_is_the_peers_matter),
        cmocka_unit_test(a_used_up_1_2_key_ends_with_an_alert),
        cmocka_unit_test(a_packed_record_layer_goes_on),
        cmocka_unit_test(nonsense_record_layers_are_not_valid),
        cmocka_unit_test(wiping_leaves_no_key),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
