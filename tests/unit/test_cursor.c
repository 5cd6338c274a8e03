/* Spans, the reading and the writing cursor, and lists: all of base that lives in headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/codec.h"
#include "base/list.h"
#include "base/rd.h"
#include "base/span.h"
#include "base/wr.h"

static void spans_compare_by_content(void **state) {
    assert_true(span_eq(span_str("abc"), span_of("abc", 3)));
    assert_false(span_eq(span_str("abc"), span_str("abd")));
    assert_false(span_eq(span_str("abc"), span_str("ab")));
    assert_true(span_eq(span_of(NULL, 0), span_str("")));
    assert_int_equal(span_str(NULL).len, 0);
}

static void span_prefixes(void **state) {
    assert_true(span_has_prefix(span_str("GET /"), "GET "));
    assert_true(span_has_prefix(span_str("GET "), "GET "));
    assert_true(span_has_prefix(span_str("GET"), ""));
    assert_false(span_has_prefix(span_str("GE"), "GET"));
    assert_false(span_has_prefix(span_str("get"), "GET"));
}

static void reads_big_endian_fields(void **state) {
    static const uint8_t in[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18};
    struct rd r = rd_of(span_of(in, sizeof(in)));
    assert_int_equal(rd_u8(&r), 1);
    assert_int_equal(rd_u16(&r), 0x0203);
    assert_int_equal(rd_u24(&r), 0x040506);
    assert_int_equal(rd_u32(&r), 0x0708090a);
    assert_true(rd_u64(&r) == UINT64_C(0x0b0c0d0e0f101112));
    assert_true(rd_end(&r));
}

static void an_overrun_is_sticky_and_reads_zero(void **state) {
    static const uint8_t in[] = {1, 2, 3};
    struct rd r = rd_of(span_of(in, sizeof(in)));
    assert_int_equal(rd_u32(&r), 0);
    assert_true(r.bad);
    assert_int_equal(rd_left(&r), 0);
    assert_int_equal(rd_u8(&r), 0);
    struct span s = rd_bytes(&r, 0);
    assert_null(s.p);
    uint8_t to[2] = {9, 9};
    rd_copy(&r, to, sizeof(to));
    assert_int_equal(to[0] | to[1], 0);
    assert_false(rd_end(&r));
}

static void left_over_bytes_are_refused(void **state) {
    static const uint8_t in[] = {1, 2};
    struct rd r = rd_of(span_of(in, sizeof(in)));
    assert_int_equal(rd_u8(&r), 1);
    assert_int_equal(rd_left(&r), 1);
    assert_false(rd_end(&r));
}

static void an_empty_span_ends_at_once(void **state) {
    struct rd r = rd_of(span_of(NULL, 0));
    assert_true(rd_end(&r));
    assert_int_equal(rd_u8(&r), 0);
    assert_false(rd_end(&r));
}

static void vectors_are_bounded_by_the_input(void **state) {
    static const uint8_t in[] = {2, 'a', 'b', 0, 1, 'c', 0, 0, 1, 'd', 5, 'x'};
    struct rd r = rd_of(span_of(in, sizeof(in)));
    assert_true(span_eq(rd_vec8(&r), span_str("ab")));
    assert_true(span_eq(rd_vec16(&r), span_str("c")));
    assert_true(span_eq(rd_vec24(&r), span_str("d")));
    assert_false(r.bad);
    assert_int_equal(rd_vec8(&r).len, 0);
    assert_true(r.bad);
}

static void a_huge_length_does_not_wrap(void **state) {
    static const uint8_t in[4] = {0};
    struct rd r = rd_of(span_of(in, sizeof(in)));
    assert_null(rd_bytes(&r, SIZE_MAX).p);
    assert_true(r.bad);
}

static void writes_what_is_read_back(void **state) {
    uint8_t mem[64];
    struct wr w = wr_of(mem, sizeof(mem));
    wr_u8(&w, 0xfe);
    wr_u16(&w, 0xfedc);
    wr_u24(&w, 0xfedcba);
    wr_u32(&w, 0xfedcba98);
    wr_u64(&w, UINT64_C(0xfedcba9876543210));
    wr_vec8(&w, span_str("ab"));
    wr_vec16(&w, span_str(""));
    wr_span(&w, span_of(NULL, 0));
    assert_true(wr_end(&w));
    struct rd r = rd_of(wr_written(&w));
    assert_int_equal(rd_u8(&r), 0xfe);
    assert_int_equal(rd_u16(&r), 0xfedc);
    assert_int_equal(rd_u24(&r), 0xfedcba);
    assert_int_equal(rd_u32(&r), 0xfedcba98);
    assert_true(rd_u64(&r) == UINT64_C(0xfedcba9876543210));
    assert_true(span_eq(rd_vec8(&r), span_str("ab")));
    assert_int_equal(rd_vec16(&r).len, 0);
    assert_true(rd_end(&r));
}

static void nothing_is_written_past_the_capacity(void **state) {
    uint8_t mem[4] = {0, 0, 0, 0x77};
    struct wr w = wr_of(mem, 3);
    wr_u16(&w, 0x0102);
    wr_u16(&w, 0x0304);
    assert_false(wr_end(&w));
    wr_u8(&w, 5); /* would fit, but the error is sticky */
    assert_false(wr_end(&w));
    assert_int_equal(wr_written(&w).len, 2);
    assert_int_equal(mem[2], 0);
    assert_int_equal(mem[3], 0x77);
    assert_null(wr_room(&w, 0));
}

static void exactly_full_is_no_error(void **state) {
    uint8_t mem[2];
    struct wr w = wr_of(mem, sizeof(mem));
    wr_u16(&w, 1);
    assert_true(wr_end(&w));
    assert_non_null(wr_room(&w, 0));
    assert_null(wr_room(&w, 1));
}

static void a_span_longer_than_its_length_field_is_refused(void **state) {
    static const uint8_t zeros[0x10000];
    static uint8_t mem[0x20000];
    struct wr w = wr_of(mem, sizeof(mem));
    wr_vec8(&w, span_of(zeros, 0xff));
    assert_true(wr_end(&w));
    wr_vec8(&w, span_of(zeros, 0x100));
    assert_false(wr_end(&w));
    assert_int_equal(wr_written(&w).len, 0x100);
    w = wr_of(mem, sizeof(mem));
    wr_vec16(&w, span_of(zeros, 0xffff));
    assert_true(wr_end(&w));
    wr_vec16(&w, span_of(zeros, 0x10000));
    assert_false(wr_end(&w));
}

struct layout {
    uint8_t small;
    int32_t negative;
    uint64_t large;
    uint8_t raw[3];
    size_t n;
};

static void visit(struct codec *io, struct layout *l) {
    CODEC_VALUE(io, l->small);
    CODEC_VALUE(io, l->negative);
    CODEC_VALUE(io, l->large);
    codec_bytes(io, l->raw, sizeof(l->raw));
    l->n = codec_count(io, l->n, 3);
    for (size_t i = 0; i < l->n; i++)
        CODEC_VALUE(io, l->raw[i]);
}

static void a_codec_reads_what_it_wrote(void **state) {
    struct layout a = {7, -3, UINT64_MAX - 1, {1, 2, 3}, 2}, b = {.n = 99};
    uint8_t mem[64];
    struct wr w = wr_of(mem, sizeof(mem));
    visit(&(struct codec){.w = &w}, &a);
    assert_true(wr_end(&w));
    assert_int_equal(w.len, 1 + 4 + 8 + 3 + 4 + 2);
    struct rd r = rd_of(wr_written(&w));
    visit(&(struct codec){.r = &r}, &b);
    assert_true(rd_end(&r));
    assert_int_equal(b.small, 7);
    assert_int_equal(b.negative, -3);
    assert_true(b.large == UINT64_MAX - 1);
    assert_memory_equal(a.raw, b.raw, 3);
    assert_int_equal(b.n, 2);
}

static void a_codec_takes_no_count_beyond_its_bytes(void **state) {
    uint8_t mem[6] = {0, 0, 0, 3, 1, 1};
    struct rd r = rd_of(span_of(mem, sizeof(mem)));
    struct codec io = {.r = &r};
    assert_int_equal(codec_count(&io, 0, 3), 0); /* there are two */
    assert_true(codec_bad(&io, false));
    r = rd_of(span_of(mem, sizeof(mem)));
    mem[3] = 2;
    assert_int_equal(codec_count(&io, 0, 1), 0);
    assert_true(codec_bad(&io, false));
    r = rd_of(span_of(mem, sizeof(mem)));
    assert_int_equal(codec_count(&io, 0, 2), 2);
    assert_false(codec_bad(&io, false));
}

struct node {
    int number;
    struct list link;
};

static void lists_keep_their_order(void **state) {
    struct list head;
    struct node nodes[3];
    list_init(&head);
    assert_null(list_shift(&head));
    for (int i = 0; i < 3; i++) {
        nodes[i].number = i;
        list_push(&head, &nodes[i].link);
    }
    list_remove(&nodes[1].link);
    list_remove(&nodes[1].link); /* harmless */
    assert_int_equal(CONTAINER_OF(list_shift(&head), struct node, link)->number, 0);
    assert_int_equal(CONTAINER_OF(list_shift(&head), struct node, link)->number, 2);
    assert_true(list_empty(&head));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_compare_by_content),
        cmocka_unit_test(span_prefixes),
        cmocka_unit_test(reads_big_endian_fields),
        cmocka_unit_test(an_overrun_is_sticky_and_reads_zero),
        cmocka_unit_test(left_over_bytes_are_refused),
        cmocka_unit_test(an_empty_span_ends_at_once),
        cmocka_unit_test(vectors_are_bounded_by_the_input),
        cmocka_unit_test(a_huge_length_does_not_wrap),
        cmocka_unit_test(writes_what_is_read_back),
        cmocka_unit_test(nothing_is_written_past_the_capacity),
        cmocka_unit_test(exactly_full_is_no_error),
        cmocka_unit_test(a_span_longer_than_its_length_field_is_refused),
        cmocka_unit_test(lists_keep_their_order),
        cmocka_unit_test(a_codec_reads_what_it_wrote),
        cmocka_unit_test(a_codec_takes_no_count_beyond_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
