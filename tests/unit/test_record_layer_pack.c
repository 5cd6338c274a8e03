/* A record layer's way to another process: what is packed is read, in every version; what makes no sense is refused. */
#include "export_samples.h"

#include "base/err.h"

#define TODAY 4 /* minor of the hand-over format */

static uint8_t room[RECORD_LAYER_PACKED_MAX + 16];
static struct record_layer layer, out;
static struct span bytes;

static int pack_sample(void **state) {
    layer = sample_record_layer();
    bytes = record_layer_pack(&layer, room);
    return 0;
}

static int unpacked(void) {
    return record_layer_unpack(bytes, TODAY, false, &out);
}

static void everything_survives(void **state) {
    assert_int_equal(unpacked(), 0);
    assert_same_record_layer(&out, &layer);
    for (unsigned flag = 0; flag < 16; flag++) {
        layer.key_update_owed = flag & 1;
        layer.no_renegotiation_owed = flag & 2;
        layer.close_seen = flag & 4;
        layer.close_sent = flag & 8;
        layer.post_len = (uint8_t)(flag % 5);
        memset(layer.post, 0, sizeof(layer.post));
        memset(layer.post, 7, layer.post_len);
        bytes = record_layer_pack(&layer, room);
        assert_int_equal(unpacked(), 0);
        assert_same_record_layer(&out, &layer);
    }
}

static void idle_records_survive_from_end_to_end(void **state) {
    for (int n = -RECORD_LAYER_SAVED_MAX; n <= RECORD_LAYER_IDLE_MAX; n++) {
        layer.idle_records = (int16_t)n;
        bytes = record_layer_pack(&layer, room);
        assert_int_equal(unpacked(), 0);
        assert_int_equal(out.idle_records, n);
    }
}

/* Before 3 the number ended the part; two counters were in front, the larger of which counts. */
static void older_minors_have_two_counters(void **state) {
    bytes.len -= 2;
    room[8] = 4; /* suite, record size, three bytes of a message behind their length */
    room[9] = 9;
    assert_int_equal(record_layer_unpack(bytes, 2, false, &out), 0);
    assert_int_equal(out.idle_records, 9);
    room[8] = 12;
    assert_int_equal(record_layer_unpack(bytes, 0, false, &out), 0);
    assert_int_equal(out.idle_records, 12);
    assert_int_equal(unpacked(), ERR_FORMAT);
}

static void every_cut_and_every_tail_is_refused(void **state) {
    size_t len = bytes.len;
    for (bytes.len = 0; bytes.len < len; bytes.len++)
        assert_int_equal(unpacked(), ERR_FORMAT);
    bytes.len = len + 1;
    assert_int_equal(unpacked(), ERR_FORMAT);
    assert_int_equal(record_layer_unpack(bytes, TODAY + 1, true, &out), 0); /* something that is newer */
    assert_same_record_layer(&out, &layer);
}

static void nothing_is_left_of_one_that_is_refused(void **state) {
    static const struct record_layer none;
    bytes.len++;
    assert_int_equal(unpacked(), ERR_FORMAT);
    assert_memory_equal(&out, &none, sizeof(none));
}

static void what_makes_no_sense_is_refused(void **state) {
    static const struct {
        size_t at; /* from the end when negative */
        uint8_t value;
    } spoilt[] = {
        {0, 0x99},          /* a suite that is none */
        {2, 0x41},          /* records of more than 2^14 */
        {4, 5},             /* more of a message than its header: all that follows moves */
        {12, 16},           /* an unknown flag */
        {21, 0x40},         /* a number near its end */
        {21 + 16, 47},      /* a secret, and a key, of another length */
        {21 + 16 + 49, 31}, /* */
    };
    for (size_t i = 0; i < ARRAY_LEN(spoilt); i++) {
        (void)pack_sample(state);
        assert_int_not_equal(room[spoilt[i].at], spoilt[i].value);
        room[spoilt[i].at] = spoilt[i].value;
        assert_int_equal(unpacked(), ERR_FORMAT);
    }
    layer.out_max = 0;
    bytes = record_layer_pack(&layer, room);
    assert_int_equal(unpacked(), ERR_FORMAT);
    (void)pack_sample(state);
    room[12] |= 16;
    assert_int_equal(record_layer_unpack(bytes, TODAY + 1, true, &out), 0); /* which a newer process may have */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(everything_survives, pack_sample),
        cmocka_unit_test_setup(idle_records_survive_from_end_to_end, pack_sample),
        cmocka_unit_test_setup(older_minors_have_two_counters, pack_sample),
        cmocka_unit_test_setup(every_cut_and_every_tail_is_refused, pack_sample),
        cmocka_unit_test_setup(nothing_is_left_of_one_that_is_refused, pack_sample),
        cmocka_unit_test_setup(what_makes_no_sense_is_refused, pack_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
