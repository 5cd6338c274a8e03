/* Questions for live sessions and their pages: round trips, every cut, and pages that lie about what they hold. */
#include "wire/listing.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "wire_samples.h"

static uint8_t scratch[IPC_BODY_MAX + 2];
static struct listing_page page;

static struct ipc_msg receive(int fd, const struct ipc_rule *rules) {
    struct ipc_msg m;
    int err = 0;
    assert_int_equal(ipc_recv(fd, scratch, sizeof(scratch), rules, &m, &err), STEP_DONE);
    return m;
}

static struct listing_row sample_row(uint8_t *memory, size_t cap) {
    struct conn_info f = sample_conn_info();
    struct wr w = wr_of(memory, cap);
    conn_info_pack(&w, &f);
    assert_true(wr_end(&w));
    return (struct listing_row){
        .state = LISTING_OPEN,
        .service = span_str("web"),
        .backend = span_str("unix:/run/app.sock"),
        .bytes_in = 1,
        .bytes_out = UINT64_MAX,
        .waiting_in = 2,
        .waiting_out = 3,
        .idle_ms = 4,
        .connect_us = 5,
        .retries = 6,
        .conn_info = wr_written(&w),
    };
}

static void test_a_question(void **state) {
    struct listing_ask a = {.id = 7, .from = 8, .max = 9, .by_client = true, .client = {1, 2, 3}}, b;
    int pair[2];
    (void)state;
    a.name = span_str("cn:robot");
    a.service = span_str("web");
    assert_int_equal(ipc_pair(0, pair), 0);
    assert_int_equal(listing_ask_send(pair[0], &a), 0);
    struct ipc_msg m = receive(pair[1], listing_to_relay);
    assert_int_equal(listing_ask_read(&m, &b), 0);
    assert_int_equal(b.id, 7);
    assert_int_equal(b.from, 8);
    assert_int_equal(b.max, 9);
    assert_true(b.by_client);
    assert_memory_equal(a.client, b.client, sizeof(a.client));
    assert_true(span_eq(b.name, span_str("cn:robot")) && span_eq(b.service, span_str("web")));
    for (size_t n = 0; n < m.body.len; n++) {
        struct ipc_msg cut = {.type = LISTING_ASK, .body = span_of(m.body.p, n)};
        assert_int_equal(listing_ask_read(&cut, &b), ERR_FORMAT);
    }
    close(pair[0]);
    close(pair[1]);
}

/* Sends a page of N rows; the message stays in the scratch memory. */
static struct ipc_msg make_page(unsigned n, uint32_t next) {
    uint8_t memory[CONN_INFO_PACKED_MAX];
    struct listing_row row = sample_row(memory, sizeof(memory));
    int pair[2];
    listing_page_begin(&page, 17);
    for (unsigned i = 0; i < n; i++)
        assert_true(listing_page_add(&page, &row));
    assert_int_equal(ipc_pair(1 << 20, pair), 0);
    assert_int_equal(listing_page_send(pair[0], &page, next), 0);
    struct ipc_msg m = receive(pair[1], listing_to_observer);
    close(pair[0]);
    close(pair[1]);
    return m;
}

static void test_a_page(void **state) {
    struct listing_reader l;
    struct listing_row row;
    struct conn_info f, wanted = sample_conn_info();
    (void)state;
    for (unsigned n = 0; n <= LISTING_ROWS_MAX; n += 32) {
        struct ipc_msg m = make_page(n, 99);
        assert_int_equal(listing_read(&m, &l), 0);
        assert_int_equal(l.id, 17);
        assert_int_equal(l.next, 99);
        assert_int_equal(l.rows, n);
        for (unsigned i = 0; i < n; i++) {
            assert_int_equal(listing_read_row(&l, &row, &f), 0);
            assert_true(span_eq(row.backend, span_str("unix:/run/app.sock")) && span_eq(row.service, span_str("web")));
            assert_true(row.bytes_in == 1 && row.bytes_out == UINT64_MAX && row.waiting_in == 2 && row.waiting_out == 3);
            assert_true(row.idle_ms == 4 && row.connect_us == 5 && row.retries == 6 && row.state == LISTING_OPEN);
            assert_memory_equal(f.unique_id, wanted.unique_id, sizeof(f.unique_id));
        }
        assert_int_equal(listing_read_row(&l, &row, &f), ERR_FORMAT);
    }
}

static void test_cut_pages_and_bits_that_flip(void **state) {
    struct ipc_msg m = make_page(2, LISTING_END);
    uint8_t *bytes = malloc(m.body.len);
    size_t len = m.body.len, whole = 0;
    (void)state;
    assert_non_null(bytes);
    memcpy(bytes, m.body.p, len);
    for (size_t i = 0; i < len * 8 + len; i++) {
        bool cut = i >= len * 8;
        struct listing_reader l;
        struct listing_row row;
        struct conn_info f;
        unsigned rows = 0;
        if (!cut)
            bytes[i / 8] ^= (uint8_t)(1u << i % 8);
        m.body = span_of(bytes, cut ? i - len * 8 : len);
        int err = listing_read(&m, &l);
        while (err == 0 && l.rows > 0 && (err = listing_read_row(&l, &row, &f)) == 0)
            rows++;
        if (cut)
            assert_int_equal(err, ERR_FORMAT);
        whole += err == 0 && rows == 2;
        if (!cut)
            bytes[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    assert_in_range(whole, 1, len * 8 - 1);
    free(bytes);
}

static void test_a_full_page_leaves_the_row_out_whole(void **state) {
    static char long_name[60000];
    uint8_t memory[CONN_INFO_PACKED_MAX];
    struct listing_row row = sample_row(memory, sizeof(memory));
    (void)state;
    listing_page_begin(&page, 1);
    memset(long_name, 'x', sizeof(long_name));
    row.backend = span_of(long_name, 40000);
    assert_true(listing_page_add(&page, &row));
    size_t before = page.w.len;
    assert_false(listing_page_add(&page, &row));
    assert_int_equal(page.w.len, before);
    assert_int_equal(page.rows, 1);
    row.backend = span_str("b");
    assert_true(listing_page_add(&page, &row));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_question),
        cmocka_unit_test(test_a_page),
        cmocka_unit_test(test_cut_pages_and_bits_that_flip),
        cmocka_unit_test(test_a_full_page_leaves_the_row_out_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
