/* What the handshake's BIO counts must not depend on how libssl cuts what it writes, nor on how it asks for what it reads. */
#include "tls/hs_bio.h"

#include <openssl/bio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "death.h"

static struct buf sink;
static struct hs_bio h;
static BIO *bio;

/* A flight with all that may happen: before and after a ChangeCipherSpec, an empty record, one shorter than a nonce. */
static const uint8_t flight[] = {
    22, 3, 3, 0, 10, 2,    0,    0,    6,    1,    2,    3,    4,    5,  6, /* ServerHello, say */
    20, 3, 3, 0, 1,  1,                                                     /* ChangeCipherSpec */
    22, 3, 3, 0, 9,  0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 22,    /* explicit nonce, then content */
    23, 3, 3, 0, 0,                                                         /* nothing */
    23, 3, 3, 1, 3,                                                         /* 259 bytes follow */
};
#define LAST_BODY  259
#define FLIGHT_LEN (sizeof(flight) + LAST_BODY)

static uint8_t stream[FLIGHT_LEN];

static int setup(void **state) {
    memset(&h, 0, sizeof(h));
    buf_init(&sink, 64 * 1024);
    h.out = &sink;
    bio = hs_bio_new(&h);
    assert_non_null(bio);
    memcpy(stream, flight, sizeof(flight));
    for (size_t i = 0; i < LAST_BODY; i++)
        stream[sizeof(flight) + i] = (uint8_t)(0xb0 + i);
    return 0;
}

static int teardown(void **state) {
    BIO_free(bio);
    buf_fini(&sink);
    return 0;
}

static void restart(void) {
    buf_fini(&sink);
    memset(&h, 0, sizeof(h));
    h.out = &sink;
}

static void put(const uint8_t *p, size_t n) {
    size_t done = 0;
    if (n == 0)
        return;
    assert_int_equal(BIO_write_ex(bio, p, n, &done), 1);
    assert_int_equal(done, n);
}

static void expect_flight_counted(void) {
    assert_int_equal(h.out_since_feed, 5);
    assert_int_equal(h.out_protected, 3);
    assert_true(h.out_ccs);
    assert_false(h.in_ccs);
    assert_int_equal(h.out_first8, UINT64_C(0xb0b1b2b3b4b5b6b7));
    assert_int_equal(h.header_len, 0);
    assert_int_equal(h.body_left, 0);
    assert_int_equal(buf_len(&sink), FLIGHT_LEN);
    assert_memory_equal(buf_span(&sink).p, stream, FLIGHT_LEN);
}

static void records_are_counted_in_one_write(void **state) {
    put(stream, FLIGHT_LEN);
    expect_flight_counted();
}

static void records_are_counted_byte_by_byte(void **state) {
    for (size_t i = 0; i < FLIGHT_LEN; i++)
        put(stream + i, 1);
    expect_flight_counted();
}

static void records_are_counted_with_any_two_cuts(void **state) {
    size_t last = sizeof(flight) + 20; /* further cuts fall into the same body */
    for (size_t a = 0; a < last; a++)
        for (size_t b = a; b < last; b++) {
            restart();
            put(stream, a);
            put(stream + a, b - a);
            put(stream + b, FLIGHT_LEN - b);
            expect_flight_counted();
        }
}

/* The header's last byte is what makes a record: until then it is none. */
static void a_record_counts_from_its_whole_header_on(void **state) {
    put(stream, 4);
    assert_int_equal(h.out_since_feed, 0);
    put(stream + 4, 1);
    assert_int_equal(h.out_since_feed, 1);
    assert_int_equal(h.body_left, 10);
}

static void the_change_cipher_spec_itself_is_not_protected(void **state) {
    put(stream, 15 + 6);
    assert_true(h.out_ccs);
    assert_int_equal(h.out_protected, 0);
    put(stream + 21, 5);
    assert_int_equal(h.out_protected, 1);
}

static void the_first_eight_bytes_are_those_of_the_last_record(void **state) {
    put(stream, 15 + 6 + 5 + 8);
    assert_int_equal(h.out_first8, UINT64_C(0xa0a1a2a3a4a5a6a7));
    put(stream + 15 + 6 + 5 + 8, 1);
    assert_int_equal(h.out_first8, UINT64_C(0xa0a1a2a3a4a5a6a7));
    put(stream + 15 + 6 + 5 + 9, 5); /* an empty record has none */
    assert_int_equal(h.out_first8, 0);
}

static void what_does_not_fit_is_refused_whole(void **state) {
    size_t done = 0;
    buf_init(&sink, 20);
    put(stream, 15);
    assert_int_equal(BIO_write_ex(bio, stream + 15, 6, &done), 0);
    assert_true(h.overflow);
    assert_int_equal(h.out_since_feed, 1);
    assert_false(h.out_ccs);
    assert_int_equal(buf_len(&sink), 15);
}

static void without_a_record_reading_is_to_be_tried_again(void **state) {
    uint8_t to[8];
    assert_true(BIO_read(bio, to, sizeof(to)) <= 0);
    assert_true(BIO_should_retry(bio));
    assert_true(BIO_should_read(bio));
}

static void a_record_is_read_in_pieces_and_no_further(void **state) {
    uint8_t to[64];
    hs_bio_feed(&h, span_of(stream, 15));
    assert_int_equal(BIO_read(bio, to, 5), 5);
    assert_false(BIO_should_retry(bio));
    assert_int_equal(BIO_read(bio, to + 5, 1), 1);
    assert_int_equal(BIO_read(bio, to + 6, sizeof(to) - 6), 9);
    assert_memory_equal(to, stream, 15);
    assert_true(BIO_read(bio, to, sizeof(to)) <= 0);
    assert_true(BIO_should_retry(bio));
}

static void feed(const uint8_t *record, size_t len) {
    uint8_t to[64];
    hs_bio_feed(&h, span_of(record, len));
    assert_int_equal(BIO_read(bio, to, sizeof(to)), len);
}

static void records_fed_after_the_change_cipher_spec_are_counted(void **state) {
    feed(stream, 15);
    assert_false(h.in_ccs);
    feed(stream + 15, 6);
    assert_true(h.in_ccs);
    assert_int_equal(h.in_protected, 0);
    feed(stream + 21, 14);
    feed(stream + 35, 5);
    assert_int_equal(h.in_protected, 2);
    assert_int_equal(h.out_protected, 0);
}

static void feeding_begins_the_count_again(void **state) {
    put(stream, FLIGHT_LEN);
    feed(stream, 15);
    assert_int_equal(h.out_since_feed, 0);
    assert_int_equal(h.out_protected, 3);
    put(stream, 15);
    assert_int_equal(h.out_since_feed, 1);
    assert_int_equal(h.out_protected, 4);
}

static void flushing_succeeds_and_nothing_else_is_known(void **state) {
    assert_int_equal(BIO_flush(bio), 1);
    assert_int_equal(BIO_reset(bio), 0);
    assert_int_equal(BIO_pending(bio), 0);
}

static void feed_twice(void *ctx) {
    hs_bio_feed(&h, span_of(stream, 15));
    hs_bio_feed(&h, span_of(stream, 15));
}

static void feed_runt(void *ctx) {
    hs_bio_feed(&h, span_of(stream, 4));
}

static void misuse_is_stopped(void **state) {
    assert_true(aborts(feed_twice, NULL));
    assert_true(aborts(feed_runt, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(records_are_counted_in_one_write, setup, teardown),
        cmocka_unit_test_setup_teardown(records_are_counted_byte_by_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(records_are_counted_with_any_two_cuts, setup, teardown),
        cmocka_unit_test_setup_teardown(a_record_counts_from_its_whole_header_on, setup, teardown),
        cmocka_unit_test_setup_teardown(the_change_cipher_spec_itself_is_not_protected, setup, teardown),
        cmocka_unit_test_setup_teardown(the_first_eight_bytes_are_those_of_the_last_record, setup, teardown),
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_refused_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_record_reading_is_to_be_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_record_is_read_in_pieces_and_no_further, setup, teardown),
        cmocka_unit_test_setup_teardown(records_fed_after_the_change_cipher_spec_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(feeding_begins_the_count_again, setup, teardown),
        cmocka_unit_test_setup_teardown(flushing_succeeds_and_nothing_else_is_known, setup, teardown),
        cmocka_unit_test_setup_teardown(misuse_is_stopped, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
