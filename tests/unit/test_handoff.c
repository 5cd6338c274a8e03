#include "wire_samples.h"

#include "base/err.h"
#include "wire/handoff.h"

static uint8_t memory[HANDOFF_BODY_MAX + 64];
static uint8_t read_ahead[HANDOFF_READ_AHEAD_MAX + 1];

static void fill_half(struct handoff_keys *h, uint8_t from) {
    h->seq = UINT64_C(0x0102030405060708) + from;
    h->explicit_nonce = UINT64_MAX - from;
    memset(h->secret, from, sizeof(h->secret));
    memset(h->key, from + 1, sizeof(h->key));
    memset(h->iv, from + 2, sizeof(h->iv));
}

static struct handoff sample(void) {
    struct handoff h = {.conn_info = sample_conn_info(), .out_max = 16384, .read_ahead = span_str("early bytes")};
    fill_half(&h.in, 10);
    fill_half(&h.out, 20);
    return h;
}

static struct ipc_msg packed(const struct handoff *h, enum handoff_type type) {
    struct wr w = wr_of(memory, sizeof(memory));
    handoff_pack(&w, h, type);
    assert_true(wr_end(&w));
    return (struct ipc_msg){.type = (uint16_t)type, .nfds = 1, .fds = {-1}, .body = wr_written(&w)};
}

static const struct ipc_rule *rule_of(uint16_t type) {
    for (const struct ipc_rule *r = handoff_rules; r->type; r++)
        if (r->type == type)
            return r;
    return NULL;
}

static void a_session_survives(void **state) {
    struct handoff h = sample(), out;
    struct ipc_msg m = packed(&h, HANDOFF_SESSION);
    assert_int_equal(handoff_unpack(&m, &out), 0);
    assert_same_conn_info(&h.conn_info, &out.conn_info);
    assert_memory_equal(h.in.key, out.in.key, sizeof(h.in.key));
    assert_int_equal(h.in.seq, out.in.seq);
    assert_int_equal(h.out.seq, out.out.seq);
    assert_int_equal(h.out.explicit_nonce, out.out.explicit_nonce);
    assert_memory_equal(h.out.secret, out.out.secret, sizeof(h.out.secret));
    assert_memory_equal(h.out.key, out.out.key, sizeof(h.out.key));
    assert_memory_equal(h.out.iv, out.out.iv, sizeof(h.out.iv));
    assert_int_equal(out.out_max, 16384);
    assert_true(span_eq(out.read_ahead, h.read_ahead));
}

static void passthrough_carries_no_keys(void **state) {
    static const struct handoff_keys none;
    struct handoff h = sample(), out;
    h.conn_info.tls_version = 0;
    struct ipc_msg m = packed(&h, HANDOFF_PASSTHROUGH);
    for (size_t i = 0; i + 8 < m.body.len; i++)
        assert_memory_not_equal(m.body.p + i, h.in.key, 8);
    assert_int_equal(handoff_unpack(&m, &out), 0);
    assert_memory_equal(&out.in, &none, sizeof(none));
    assert_memory_equal(&out.out, &none, sizeof(none));
    assert_int_equal(out.out_max, 0);
    assert_true(span_eq(out.read_ahead, h.read_ahead));
}

static void most_read_ahead_fits(void **state) {
    uint8_t longest[255] = {0};
    struct handoff h = sample(), out;
    static const uint8_t cert[CONN_INFO_CERT_MAX];
    h.conn_info.sni = h.conn_info.alpn = span_of(longest, sizeof(longest));
    h.conn_info.id = sample_client();
    h.conn_info.id.name = span_of(cert, CONN_INFO_NAME_MAX);
    h.conn_info.id.cert = span_of(cert, sizeof(cert));
    h.read_ahead = span_of(read_ahead, HANDOFF_READ_AHEAD_MAX);
    struct ipc_msg m = packed(&h, HANDOFF_SESSION);
    assert_true(m.body.len <= HANDOFF_BODY_MAX);
    assert_true(m.body.len <= rule_of(HANDOFF_SESSION)->max_len);
    assert_true(m.body.len <= IPC_BODY_MAX);
    assert_int_equal(handoff_unpack(&m, &out), 0);
    assert_int_equal(out.read_ahead.len, HANDOFF_READ_AHEAD_MAX);
}

static void more_read_ahead_is_refused(void **state) {
    struct handoff h = sample();
    h.read_ahead = span_of(read_ahead, HANDOFF_READ_AHEAD_MAX + 1);
    struct wr w = wr_of(memory, sizeof(memory));
    handoff_pack(&w, &h, HANDOFF_SESSION);
    assert_false(wr_end(&w));
}

static void smallest_messages_keep_to_the_rules(void **state) {
    struct handoff h = {.out_max = 1}, out;
    struct ipc_msg m = packed(&h, HANDOFF_PASSTHROUGH);
    assert_int_equal(m.body.len, rule_of(HANDOFF_PASSTHROUGH)->min_len);
    assert_int_equal(handoff_unpack(&m, &out), 0);
    h.conn_info.tls_version = 0x0303;
    m = packed(&h, HANDOFF_SESSION);
    assert_int_equal(m.body.len, rule_of(HANDOFF_SESSION)->min_len);
    assert_int_equal(handoff_unpack(&m, &out), 0);
}

static void every_cut_and_every_tail_is_refused(void **state) {
    struct handoff h = sample(), out;
    struct ipc_msg m = packed(&h, HANDOFF_SESSION);
    size_t len = m.body.len;
    for (size_t n = 0; n < len; n++) {
        m.body.len = n;
        assert_int_equal(handoff_unpack(&m, &out), ERR_FORMAT);
    }
    m.body.len = len + 1;
    assert_int_equal(handoff_unpack(&m, &out), ERR_FORMAT);
}

static void another_version_is_refused(void **state) {
    struct handoff h = sample(), out;
    struct ipc_msg m = packed(&h, HANDOFF_SESSION);
    assert_int_equal(memory[0], 0);
    assert_int_equal(memory[1], 2);
    memory[1] = 3;
    assert_int_equal(handoff_unpack(&m, &out), ERR_FORMAT);
    memory[1] = 1;
    assert_int_equal(handoff_unpack(&m, &out), ERR_FORMAT);
}

static void type_and_tls_version_agree(void **state) {
    struct handoff h = sample(), out;
    struct ipc_msg m = packed(&h, HANDOFF_PASSTHROUGH);
    assert_int_equal(handoff_unpack(&m, &out), ERR_FORMAT);
    h.conn_info.tls_version = 0;
    m = packed(&h, HANDOFF_SESSION);
    assert_int_equal(handoff_unpack(&m, &out), ERR_FORMAT);
    m.type = 3;
    assert_int_equal(handoff_unpack(&m, &out), ERR_FORMAT);
}

static void record_size_is_in_range(void **state) {
    struct handoff h = sample(), out;
    h.out_max = 0;
    struct ipc_msg m = packed(&h, HANDOFF_SESSION);
    assert_int_equal(handoff_unpack(&m, &out), ERR_FORMAT);
    h.out_max = 16385;
    m = packed(&h, HANDOFF_SESSION);
    assert_int_equal(handoff_unpack(&m, &out), ERR_FORMAT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_survives),
        cmocka_unit_test(passthrough_carries_no_keys),
        cmocka_unit_test(most_read_ahead_fits),
        cmocka_unit_test(more_read_ahead_is_refused),
        cmocka_unit_test(smallest_messages_keep_to_the_rules),
        cmocka_unit_test(every_cut_and_every_tail_is_refused),
        cmocka_unit_test(another_version_is_refused),
        cmocka_unit_test(type_and_tls_version_agree),
        cmocka_unit_test(record_size_is_in_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
