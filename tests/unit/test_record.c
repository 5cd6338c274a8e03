/* Record protection: RFC 8448's records, every length, every refusal, the limits. */
#include "tls/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "death.h"
#include "record_peer.h"
#include "rfc8448.h"

static uint8_t plain[RECORD_PLAIN_MAX + 300];
static uint8_t rec[RECORD_WIRE_MAX + 64], copy[RECORD_WIRE_MAX + 64];
static const struct suite *aes13;

static int fill(void **state) {
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)(i * 13 + 1);
    aes13 = suite_by_id(0x1301);
    return 0;
}

static void check_rfc8448(const uint8_t *secret, uint64_t seq, enum content_type type, struct span content,
                          const uint8_t *sealed, size_t sealed_len) {
    struct engine_contexts contexts;
    struct traffic_keys keys = {.seq = seq};
    struct record_run run;
    enum content_type got_type;
    struct span got;
    size_t n;

    engine_contexts_init(&contexts, engine_find("auto"));
    memcpy(keys.secret, secret, 32);
    assert_int_equal(keysched_traffic_key(aes13, secret, keys.key, keys.iv), 0);

    assert_int_equal(record_run_begin(&run, &contexts, aes13, &keys, true), 0);
    memcpy(rec + record_prefix(aes13), content.p, content.len);
    assert_int_equal(record_seal(&run, type, rec, content.len, &n), 0);
    assert_int_equal(n, sealed_len);
    assert_memory_equal(rec, sealed, n);
    assert_int_equal(keys.seq, seq + 1);

    keys.seq = seq;
    assert_int_equal(record_run_begin(&run, &contexts, aes13, &keys, false), 0);
    assert_int_equal(record_frame(aes13, rec, n), n);
    assert_int_equal(record_open(&run, rec, n, &got_type, &got), 0);
    assert_int_equal(got_type, type);
    assert_int_equal(got.len, content.len);
    assert_memory_equal(got.p, content.p, content.len);
    engine_contexts_fini(&contexts);
}

static void rfc8448_records_seal_and_open(void **state) {
    static const uint8_t close_notify[] = {1, 0};
    uint8_t data[50];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)i;
    struct span d = span_of(data, sizeof data), c = span_of(close_notify, 2);
    check_rfc8448(rfc8448_client_secret, 0, CONTENT_APPLICATION_DATA, d, rfc8448_client_data, sizeof rfc8448_client_data);
    check_rfc8448(rfc8448_server_secret, 1, CONTENT_APPLICATION_DATA, d, rfc8448_server_data, sizeof rfc8448_server_data);
    check_rfc8448(rfc8448_client_secret, 1, CONTENT_ALERT, c, rfc8448_client_close, sizeof rfc8448_client_close);
    check_rfc8448(rfc8448_server_secret, 2, CONTENT_ALERT, c, rfc8448_server_close, sizeof rfc8448_server_close);
}

static void check_round_trip(struct record_peer *p, size_t len) {
    struct record_run run;
    enum content_type type;
    struct span got;
    uint64_t seq = p->record_layer.in.seq;
    size_t n = peer_seal(p, CONTENT_APPLICATION_DATA, plain, len, rec);
    assert_int_equal(n, record_prefix(p->suite) + len + AEAD_TAG_LEN + (p->suite->version == TLS_1_3));
    assert_int_equal(record_frame(p->suite, rec, n), n);
    assert_int_equal(record_run_begin(&run, &p->contexts, p->suite, &p->record_layer.in, false), 0);
    assert_int_equal(record_open(&run, rec, n, &type, &got), 0);
    assert_int_equal(type, CONTENT_APPLICATION_DATA);
    assert_int_equal(got.len, len);
    assert_memory_equal(got.p, plain, len);
    assert_true(got.p >= rec && got.p + got.len <= rec + n);
    assert_int_equal(p->record_layer.in.seq, seq + 1);
}

static void every_length_comes_back_for_every_suite(void **state) {
    static const size_t edges[] = {1023, 1024, 1400, 8192, 16383, 16384};
    for (size_t i = 0; suite_at(i); i++) {
        struct record_peer p;
        peer_init(&p, suite_at(i), engine_find("auto"));
        for (size_t len = 0; len <= 320; len++)
            check_round_trip(&p, len);
        for (size_t e = 0; e < sizeof edges / sizeof edges[0]; e++)
            check_round_trip(&p, edges[e]);
        peer_fini(&p);
    }
}

static void many_records_share_one_run(void **state) {
    for (size_t i = 0; suite_at(i); i++) {
        struct record_peer p;
        struct record_run seal, open;
        size_t off[21] = {0}, n;
        peer_init(&p, suite_at(i), engine_find("auto"));
        assert_int_equal(record_run_begin(&seal, &p.contexts, p.suite, &p.out, true), 0);
        for (size_t r = 0; r < 20; r++) {
            memcpy(rec + off[r] + record_prefix(p.suite), plain + r, 100 + r);
            assert_int_equal(record_seal(&seal, CONTENT_APPLICATION_DATA, rec + off[r], 100 + r, &n), 0);
            off[r + 1] = off[r] + n;
        }
        assert_int_equal(record_run_begin(&open, &p.contexts, p.suite, &p.record_layer.in, false), 0);
        for (size_t r = 0; r < 20; r++) {
            enum content_type type;
            struct span got;
            assert_int_equal(record_open(&open, rec + off[r], off[r + 1] - off[r], &type, &got), 0);
            assert_int_equal(got.len, 100 + r);
            assert_memory_equal(got.p, plain + r, got.len);
        }
        peer_fini(&p);
    }
}

static int open_copy(struct record_peer *p, size_t n, enum content_type *type, struct span *got) {
    struct traffic_keys keys = p->record_layer.in;
    struct record_run run;
    memcpy(copy, rec, n);
    assert_int_equal(record_run_begin(&run, &p->contexts, p->suite, &keys, false), 0);
    int rc = record_open(&run, copy, n, type, got);
    assert_int_equal(keys.seq, p->record_layer.in.seq + (rc == 0 || rc == ERR_RECORD_TYPE));
    return rc;
}

static void a_flipped_bit_anywhere_is_refused(void **state) {
    for (size_t i = 0; suite_at(i); i++) {
        struct record_peer p;
        enum content_type type;
        struct span got;
        peer_init(&p, suite_at(i), engine_find("auto"));
        size_t n = peer_seal(&p, CONTENT_APPLICATION_DATA, plain, 40, rec);
        for (size_t bit = 8; bit < 8 * n; bit++) {
            /* Of the header the type has its own refusal; a wrong length makes another record. */
            if (bit / 8 == 3 || bit / 8 == 4)
                continue;
            rec[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(open_copy(&p, n, &type, &got), ERR_BAD_MAC);
            rec[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_int_equal(open_copy(&p, n, &type, &got), 0);
        /* 1.2 authenticates the type too. */
        rec[0] = CONTENT_ALERT;
        struct record_run run;
        assert_int_equal(record_run_begin(&run, &p.contexts, p.suite, &p.record_layer.in, false), 0);
        assert_int_equal(record_open(&run, rec, n, &type, &got), p.suite->version == TLS_1_3 ? ERR_RECORD_TYPE : ERR_BAD_MAC);
        peer_fini(&p);
    }
}

static void a_truncated_record_is_refused(void **state) {
    for (size_t i = 0; suite_at(i); i++) {
        struct record_peer p;
        struct record_run run;
        enum content_type type;
        struct span got;
        peer_init(&p, suite_at(i), engine_find("auto"));
        for (size_t len = RECORD_HEADER_LEN; len < 60; len++) {
            size_t n = peer_seal(&p, CONTENT_APPLICATION_DATA, plain, 40, rec);
            if (len >= n)
                break;
            rec[3] = 0;
            rec[4] = (uint8_t)(len - RECORD_HEADER_LEN);
            assert_int_equal(record_frame(p.suite, rec, len), len);
            assert_int_equal(record_run_begin(&run, &p.contexts, p.suite, &p.record_layer.in, false), 0);
            assert_int_equal(record_open(&run, rec, len, &type, &got), ERR_BAD_MAC);
        }
        peer_fini(&p);
    }
}

static void records_out_of_order_are_refused(void **state) {
    for (size_t i = 0; suite_at(i); i++) {
        struct record_peer p;
        enum content_type type;
        struct span got;
        peer_init(&p, suite_at(i), engine_find("auto"));
        p.out.seq++;
        size_t n = peer_seal(&p, CONTENT_APPLICATION_DATA, plain, 40, rec);
        assert_int_equal(open_copy(&p, n, &type, &got), ERR_BAD_MAC);
        peer_fini(&p);
    }
}

static int open_inner(struct record_peer *p, uint8_t outer, size_t inner_len, enum content_type *type, struct span *got) {
    struct record_run run;
    size_t n = peer_seal_inner(p, outer, plain, inner_len, rec);
    assert_int_equal(record_run_begin(&run, &p->contexts, p->suite, &p->record_layer.in, false), 0);
    return record_open(&run, rec, n, type, got);
}

static void padding_is_taken_off(void **state) {
    struct record_peer p;
    enum content_type type;
    struct span got;
    static uint8_t saved[sizeof plain];
    memcpy(saved, plain, sizeof plain);
    peer_init(&p, aes13, engine_find("auto"));
    static const size_t pads[] = {0, 1, 2, 15, 255, 1000, 16384 - 100};
    for (size_t i = 0; i < sizeof pads / sizeof pads[0]; i++) {
        plain[100] = CONTENT_APPLICATION_DATA;
        memset(plain + 101, 0, pads[i]);
        assert_int_equal(open_inner(&p, 23, 101 + pads[i], &type, &got), 0);
        assert_int_equal(type, CONTENT_APPLICATION_DATA);
        assert_int_equal(got.len, 100);
        assert_memory_equal(got.p, plain, 100);
    }
    /* Nothing but padding behind the type: an empty record, and zeroes before the type are data. */
    memset(plain, 0, 64);
    plain[0] = CONTENT_ALERT;
    assert_int_equal(open_inner(&p, 23, 64, &type, &got), 0);
    assert_int_equal(type, CONTENT_ALERT);
    assert_int_equal(got.len, 0);
    plain[0] = 0;
    plain[63] = CONTENT_HANDSHAKE;
    assert_int_equal(open_inner(&p, 23, 64, &type, &got), 0);
    assert_int_equal(type, CONTENT_HANDSHAKE);
    assert_int_equal(got.len, 63);
    memcpy(plain, saved, sizeof plain);
    peer_fini(&p);
}

static void an_inner_plaintext_without_type_is_refused(void **state) {
    static const size_t lens[] = {0, 1, 2, 100, 16385};
    static uint8_t saved[sizeof plain];
    memcpy(saved, plain, sizeof plain);
    memset(plain, 0, sizeof plain);
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        struct record_peer p;
        enum content_type type;
        struct span got;
        peer_init(&p, aes13, engine_find("auto"));
        assert_int_equal(open_inner(&p, 23, lens[i], &type, &got), ERR_RECORD_TYPE);
        peer_fini(&p);
    }
    memcpy(plain, saved, sizeof plain);
}

static void an_inner_plaintext_may_have_16385_bytes_and_no_more(void **state) {
    struct record_peer p;
    enum content_type type;
    struct span got;
    peer_init(&p, aes13, engine_find("auto"));
    uint8_t saved = plain[16384];
    plain[16384] = CONTENT_APPLICATION_DATA;
    assert_int_equal(open_inner(&p, 23, 16385, &type, &got), 0);
    assert_int_equal(got.len, 16384);
    plain[16384] = saved;
    assert_int_equal(open_inner(&p, 23, 16386, &type, &got), ERR_RECORD_OVERFLOW);
    assert_int_equal(open_inner(&p, 23, 16384 + 256 - 16, &type, &got), ERR_RECORD_OVERFLOW);
    peer_fini(&p);
}

static void tls12_plaintext_may_have_16384_bytes_and_no_more(void **state) {
    for (size_t i = 3; suite_at(i); i++) {
        struct record_peer p;
        struct record_run run;
        enum content_type type;
        struct span got;
        peer_init(&p, suite_at(i), engine_find("auto"));
        size_t n = record_prefix(p.suite) + 16385 + AEAD_TAG_LEN;
        memset(rec, 0, n);
        rec[0] = 23;
        assert_int_equal(record_run_begin(&run, &p.contexts, p.suite, &p.record_layer.in, false), 0);
        assert_int_equal(record_open(&run, rec, n, &type, &got), ERR_RECORD_OVERFLOW);
        peer_fini(&p);
    }
}

static void another_outer_type_is_refused(void **state) {
    static const uint8_t outers[] = {CONTENT_CHANGE_CIPHER_SPEC, CONTENT_ALERT, CONTENT_HANDSHAKE};
    for (size_t i = 0; i < sizeof outers; i++) {
        struct record_peer p;
        enum content_type type;
        struct span got;
        peer_init(&p, aes13, engine_find("auto"));
        uint8_t saved = plain[10];
        plain[10] = CONTENT_APPLICATION_DATA;
        assert_int_equal(open_inner(&p, outers[i], 11, &type, &got), ERR_RECORD_TYPE);
        plain[10] = saved;
        peer_fini(&p);
    }
}

static void frame_judges_the_header_alone(void **state) {
    uint8_t h[5] = {23, 3, 3, 0x41, 0x00};
    for (size_t n = 0; n < 5; n++)
        assert_int_equal(record_frame(aes13, h, n), 0);
    assert_int_equal(record_frame(aes13, h, 5), 5 + 16384 + 256);
    h[4] = 1;
    assert_int_equal(record_frame(aes13, h, 5), ERR_RECORD_OVERFLOW);
    h[3] = 0xff;
    assert_int_equal(record_frame(aes13, h, 5), ERR_RECORD_OVERFLOW);
    h[3] = h[4] = 0;
    assert_int_equal(record_frame(aes13, h, 5), 5);
    for (int type = 0; type < 256; type++) {
        h[0] = (uint8_t)type;
        assert_int_equal(record_frame(aes13, h, 5), type >= 20 && type <= 23 ? 5 : ERR_RECORD_TYPE);
    }
    h[0] = 23;
    h[1] = 2;
    assert_int_equal(record_frame(aes13, h, 5), ERR_RECORD_VERSION);
    h[1] = 4;
    assert_int_equal(record_frame(aes13, h, 5), ERR_RECORD_VERSION);
}

static void sealing_ends_at_the_keys_limit(void **state) {
    for (size_t i = 0; suite_at(i); i++) {
        struct record_peer p;
        struct record_run run;
        size_t n = 77;
        uint64_t limit = suite_seal_limit(suite_at(i));
        peer_init(&p, suite_at(i), engine_find("auto"));
        p.out.seq = limit - 1;
        assert_int_equal(record_seals_left(p.suite, &p.out), 1);
        assert_int_equal(record_run_begin(&run, &p.contexts, p.suite, &p.out, true), 0);
        assert_int_equal(record_seal(&run, CONTENT_APPLICATION_DATA, rec, 10, &n), 0);
        assert_int_equal(record_seals_left(p.suite, &p.out), 0);

        struct traffic_keys before = p.out;
        n = 77;
        memset(rec, 0x55, 64);
        memcpy(copy, rec, 64);
        assert_int_equal(record_seal(&run, CONTENT_APPLICATION_DATA, rec, 10, &n), ERR_KEY_LIMIT);
        assert_int_equal(n, 77);
        assert_memory_equal(rec, copy, 64);
        assert_memory_equal(&p.out, &before, sizeof before);
        p.out.seq = UINT64_MAX;
        assert_int_equal(record_seals_left(p.suite, &p.out), 0);
        assert_int_equal(record_seal(&run, CONTENT_APPLICATION_DATA, rec, 10, &n), ERR_KEY_LIMIT);
        peer_fini(&p);
    }
}

static void opening_never_wraps_the_number(void **state) {
    for (size_t i = 0; suite_at(i); i++) {
        struct record_peer p;
        struct record_run run;
        enum content_type type;
        struct span got;
        peer_init(&p, suite_at(i), engine_find("auto"));
        size_t n = peer_seal(&p, CONTENT_APPLICATION_DATA, plain, 10, rec);
        p.record_layer.in.seq = UINT64_MAX;
        assert_int_equal(record_run_begin(&run, &p.contexts, p.suite, &p.record_layer.in, false), 0);
        assert_int_equal(record_open(&run, rec, n, &type, &got), ERR_KEY_LIMIT);
        assert_true(p.record_layer.in.seq == UINT64_MAX);
        peer_fini(&p);
    }
}

static void explicit_nonces_count_up_and_are_on_the_wire(void **state) {
    for (size_t i = 3; suite_at(i); i++) {
        struct record_peer p;
        peer_init(&p, suite_at(i), engine_find("auto"));
        bool gcm = p.suite->aead != AEAD_CHACHA20_POLY1305;
        assert_int_equal(record_prefix(p.suite), gcm ? 13 : 5);
        p.out.explicit_nonce = UINT64_MAX; /* any start is fine: 2^64 records are out of reach */
        for (int r = 0; r < 3; r++) {
            uint64_t wire = 0, expected = p.out.explicit_nonce;
            (void)peer_seal(&p, CONTENT_APPLICATION_DATA, plain, 10, rec);
            for (int b = 0; b < 8; b++)
                wire = wire << 8 | rec[5 + b];
            if (gcm)
                assert_true(wire == expected && p.out.explicit_nonce == expected + 1);
        }
        peer_fini(&p);
    }
}

static void seal_too_long(void *unused) {
    struct record_peer p;
    struct record_run run;
    size_t n;
    peer_init(&p, aes13, &engine_libcrypto);
    if (record_run_begin(&run, &p.contexts, p.suite, &p.out, true) == 0 &&
        record_seal(&run, CONTENT_APPLICATION_DATA, rec, RECORD_PLAIN_MAX + 1, &n) == 0)
        return;
}

static void sealing_too_much_aborts(void **state) {
    assert_true(aborts(seal_too_long, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc8448_records_seal_and_open),
        cmocka_unit_test(every_length_comes_back_for_every_suite),
        cmocka_unit_test(many_records_share_one_run),
        cmocka_unit_test(a_flipped_bit_anywhere_is_refused),
        cmocka_unit_test(a_truncated_record_is_refused),
        cmocka_unit_test(records_out_of_order_are_refused),
        cmocka_unit_test(padding_is_taken_off),
        cmocka_unit_test(an_inner_plaintext_without_type_is_refused),
        cmocka_unit_test(an_inner_plaintext_may_have_16385_bytes_and_no_more),
        cmocka_unit_test(tls12_plaintext_may_have_16384_bytes_and_no_more),
        cmocka_unit_test(another_outer_type_is_refused),
        cmocka_unit_test(frame_judges_the_header_alone),
        cmocka_unit_test(sealing_ends_at_the_keys_limit),
        cmocka_unit_test(opening_never_wraps_the_number),
        cmocka_unit_test(explicit_nonces_count_up_and_are_on_the_wire),
        cmocka_unit_test(sealing_too_much_aborts),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
