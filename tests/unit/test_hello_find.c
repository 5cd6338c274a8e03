#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "hello_draft.h"
#include "hello_samples.h"
#include "tls/hello_find.h"

static enum step find(struct span in, struct span *ret_message, size_t *ret_wire_len, int *ret_err) {
    static uint8_t scratch[HELLO_MESSAGE_MAX];
    struct hello_scan scan = {0};
    return hello_find(&scan, in, scratch, ret_message, ret_wire_len, ret_err);
}

static int find_err(struct span in) {
    struct span message;
    size_t wire_len;
    int err = 0;
    assert_int_equal(find(in, &message, &wire_len, &err), STEP_FAILED);
    return err;
}

/* ---- sniffing ---- */

static void sniffs_protocols(void **state) {
    static const struct {
        struct span bytes;
        enum sniff want;
    } cases[] = {
        {{(const uint8_t *)"\x16\x03\x01", 3}, SNIFF_TLS},
        {{(const uint8_t *)"\x15\x03\x01", 3}, SNIFF_TLS},
        {{(const uint8_t *)"\x17\x03\x09", 3}, SNIFF_TLS},
        {{(const uint8_t *)"\x16\x02\x01", 3}, SNIFF_OTHER},
        {{(const uint8_t *)"\x18\x03\x01", 3}, SNIFF_OTHER},
        {{(const uint8_t *)"\x80\x2e\x01\x00\x02\x00", 6}, SNIFF_SSLV2},
        {{(const uint8_t *)"\x80\x2e\x01\x03\x01\x00", 6}, SNIFF_SSLV2},
        {{(const uint8_t *)"\x80\x2e\x02\x03\x01\x00", 6}, SNIFF_OTHER},
        {{(const uint8_t *)"GET / HTTP/1.1", 14}, SNIFF_HTTP},
        {{(const uint8_t *)"HEAD /", 6}, SNIFF_HTTP},
        {{(const uint8_t *)"OPTIONS * HTTP/1.1", 18}, SNIFF_HTTP},
        {{(const uint8_t *)"PRI * HTTP/2.0\r\n\r\nSM", 20}, SNIFF_HTTP},
        {{(const uint8_t *)"SSH-2.0-x", 9}, SNIFF_SSH},
        {{(const uint8_t *)"PROXY TCP4 ", 11}, SNIFF_PROXY},
        {{(const uint8_t *)"PROPFIND /", 10}, SNIFF_HTTP},
        {{(const uint8_t *)"\r\n\r\n\0\r\nQUIT\n\x21", 13}, SNIFF_PROXY},
        {{(const uint8_t *)"\r\n\r\n\0\r\nQUIX", 11}, SNIFF_OTHER},
        {{(const uint8_t *)"get / http/1.1", 14}, SNIFF_OTHER},
        {{(const uint8_t *)"\0", 1}, SNIFF_OTHER},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span bytes = cases[i].bytes;
        assert_int_equal(hello_sniff(bytes), cases[i].want);
        /* once it has an answer, more bytes do not change it */
        enum sniff read_ahead = SNIFF_MORE;
        for (size_t n = 0; n <= bytes.len; n++) {
            enum sniff s = hello_sniff(span_of(bytes.p, n));
            if (read_ahead != SNIFF_MORE)
                assert_int_equal(s, read_ahead);
            read_ahead = s;
        }
    }
}

static void sniffs_more_while_undecided(void **state) {
    static const char *const starts[] = {"",   "\x16", "P",      "PR",           "PRO",
                                         "\r", "S",    "OPTION", "\r\n\r\n",     "PRI * HTTP/2.0\r",
                                         "C",  "\x80", "PROXY",  "\x80\x2e\x01", "\x80\x2e\x01\x03"};
    for (size_t i = 0; i < ARRAY_LEN(starts); i++)
        assert_int_equal(hello_sniff(span_str(starts[i])), SNIFF_MORE);
}

static void never_looks_past_16_bytes(void **state) {
    /* an answer exists for every 16 bytes */
    uint8_t bytes[16];
    for (unsigned first = 0; first < 256; first++) {
        memset(bytes, (int)first, sizeof(bytes));
        assert_int_not_equal(hello_sniff(span_of(bytes, sizeof(bytes))), SNIFF_MORE);
    }
    assert_int_not_equal(hello_sniff(LITERAL("PRI * HTTP/2.0\r\n")), SNIFF_MORE);
}

/* ---- finding ---- */

static void finds_whole_message_in_one_record(void **state) {
    struct span in = SAMPLE(hello_openssl_s_client), message;
    size_t wire_len;
    int err = 0;
    assert_int_equal(find(in, &message, &wire_len, &err), STEP_DONE);
    assert_int_equal(wire_len, in.len);
    assert_ptr_equal(message.p, in.p + 5);
    assert_int_equal(message.len, in.len - 5);
}

static void every_prefix_wants_more(void **state) {
    struct span in = SAMPLE(hello_openssl_s_client), message;
    size_t wire_len;
    int err = 0;
    for (size_t n = 0; n < in.len; n++) {
        uint8_t *copy = malloc(n ? n : 1);
        assert_non_null(copy);
        memcpy(copy, in.p, n);
        assert_int_equal(find(span_of(copy, n), &message, &wire_len, &err), STEP_WANT_READ);
        free(copy);
    }
}

/* MESSAGE in records of PIECE bytes. */
static struct span split(struct span message, size_t piece, uint8_t *out, size_t cap) {
    struct wr w = wr_of(out, cap);
    for (size_t off = 0; off < message.len; off += piece) {
        wr_u8(&w, 22);
        wr_u16(&w, off ? 0x0303 : 0x0301);
        wr_vec16(&w, span_of(message.p + off, MIN(piece, message.len - off)));
    }
    assert_true(wr_end(&w));
    return wr_written(&w);
}

static void joins_records_of_every_size(void **state) {
    static uint8_t wire[HELLO_WIRE_MAX + 64];
    struct span whole = span_of(hello_openssl_s_client + 5, sizeof(hello_openssl_s_client) - 5), message;
    for (size_t piece = 1; piece <= whole.len; piece++) {
        struct span in = split(whole, piece, wire, sizeof(wire) - 3);
        memcpy(wire + in.len, "xyz", 3); /* what follows is not ours */
        size_t wire_len = 0;
        int err = 0;
        assert_int_equal(find(span_of(in.p, in.len - 1), &message, &wire_len, &err), STEP_WANT_READ);
        assert_int_equal(find(span_of(in.p, in.len + 3), &message, &wire_len, &err), STEP_DONE);
        assert_int_equal(wire_len, in.len);
        assert_true(span_eq(message, whole));
    }
}

static void leaves_early_data_alone(void **state) {
    uint8_t in[sizeof(hello_openssl_s_client) + 6];
    memcpy(in, hello_openssl_s_client, sizeof(hello_openssl_s_client));
    memcpy(in + sizeof(hello_openssl_s_client), "\x17\x03\x03\x00\x01x", 6);
    struct span message;
    size_t wire_len = 0;
    int err = 0;
    assert_int_equal(find(SAMPLE(in), &message, &wire_len, &err), STEP_DONE);
    assert_int_equal(wire_len, sizeof(hello_openssl_s_client));
}

/* What arrives in pieces is looked at once: the answers, and how far it has come, are those of one look at the whole. */
static void goes_on_where_it_stopped(void **state) {
    static uint8_t wire[HELLO_WIRE_MAX], scratch[HELLO_MESSAGE_MAX];
    struct span whole = span_of(hello_openssl_s_client + 5, sizeof(hello_openssl_s_client) - 5), message;
    for (size_t piece = 1; piece <= whole.len; piece += 7) {
        struct span in = split(whole, piece, wire, sizeof(wire));
        struct hello_scan scan = {0};
        size_t wire_len = 0;
        int err = 0;
        for (size_t n = 0; n < in.len; n++) {
            assert_int_equal(hello_find(&scan, span_of(in.p, n), scratch, &message, &wire_len, &err), STEP_WANT_READ);
            assert_true(scan.wire_len <= n && n < scan.wire_len + 5 + piece);
        }
        for (int again = 0; again < 2; again++) {
            assert_int_equal(hello_find(&scan, in, scratch, &message, &wire_len, &err), STEP_DONE);
            assert_true(span_eq(message, whole) && wire_len == in.len);
        }
    }
}

/* Records seen whole are not read again: their bytes may change, and nobody notices before the end. */
static void whole_records_are_not_looked_at_again(void **state) {
    static uint8_t wire[1024], scratch[HELLO_MESSAGE_MAX];
    struct span in = split(span_of(hello_openssl_s_client + 5, sizeof(hello_openssl_s_client) - 5), 50, wire, sizeof(wire));
    struct hello_scan scan = {0};
    struct span message;
    size_t wire_len;
    int err = 0;
    assert_int_equal(hello_find(&scan, span_of(in.p, 120), scratch, &message, &wire_len, &err), STEP_WANT_READ);
    assert_int_equal(scan.records, 2);
    wire[55] = 99;
    assert_int_equal(hello_find(&scan, in, scratch, &message, &wire_len, &err), STEP_DONE);
}

#define LONGEST_HEAD 1, (HELLO_MESSAGE_MAX - 4) >> 16, (HELLO_MESSAGE_MAX - 4) >> 8 & 0xff, (HELLO_MESSAGE_MAX - 4) & 0xff

static void longest_message_is_taken(void **state) {
    static uint8_t message[HELLO_MESSAGE_MAX] = {LONGEST_HEAD};
    static uint8_t wire[HELLO_WIRE_MAX];
    static const size_t pieces[] = {16384, 16383, 33, 1000};
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct span in = split(SAMPLE(message), pieces[i], wire, sizeof(wire)), found;
        size_t wire_len = 0;
        int err = 0;
        assert_int_equal(find(in, &found, &wire_len, &err), STEP_DONE);
        assert_true(span_eq(found, SAMPLE(message)));
        assert_int_equal(wire_len, in.len);
    }
}

static void never_asks_for_more_than_wire_max(void **state) {
    static uint8_t message[HELLO_MESSAGE_MAX] = {LONGEST_HEAD};
    static uint8_t wire[6 * HELLO_MESSAGE_MAX];
    struct span in = split(SAMPLE(message), 1, wire, sizeof(wire));
    assert_true(in.len > HELLO_WIRE_MAX);
    assert_int_equal(find_err(span_of(in.p, HELLO_WIRE_MAX)), ERR_HELLO_MALFORMED);
}

static void too_long_is_reported_at_the_length(void **state) {
    assert_int_equal(find_err(LITERAL("\x16\x03\x01\x40\x00\x01\x02\x01\x45")), ERR_HELLO_TOO_LONG);
    assert_int_equal(find_err(LITERAL("\x16\x03\x01\x40\x00\x01\xff\xff\xff")), ERR_HELLO_TOO_LONG);
    /* the length itself cut in two */
    assert_int_equal(find_err(LITERAL("\x16\x03\x01\x00\x02\x01\x02\x16\x03\x01\x40\x00\x10\x00")), ERR_HELLO_TOO_LONG);
    struct span message;
    size_t wire_len;
    int err = 0;
    assert_int_equal(find(LITERAL("\x16\x03\x01\x40\x00\x01\x02\x01\x44"), &message, &wire_len, &err), STEP_WANT_READ);
}

static void refuses_bad_records(void **state) {
    assert_int_equal(find_err(LITERAL("\x16\x03\x01\x40\x01")), ERR_RECORD_OVERFLOW);
    assert_int_equal(find_err(LITERAL("\x16\x03\x01\x00\x00")), ERR_HELLO_UNEXPECTED);
    assert_int_equal(find_err(LITERAL("\x16\x03\x01\x00\x02\x01\x00\x16\x03\x03\x00\x00")), ERR_HELLO_UNEXPECTED);
    assert_int_equal(find_err(LITERAL("\x16\x03\x01\x00\x02\x01\x00\x16\x04\x03\x00\x01")), ERR_RECORD_VERSION);
    assert_int_equal(find_err(LITERAL("\x15\x03\x01\x00\x00")), ERR_HELLO_UNEXPECTED);
    assert_int_equal(find_err(LITERAL("\x17\x03\x03\x00\x02")), ERR_HELLO_UNEXPECTED);
    /* another type between the two halves of the message */
    assert_int_equal(find_err(LITERAL("\x16\x03\x01\x00\x02\x01\x00\x17\x03\x03\x00\x02\x01\x00")), ERR_HELLO_UNEXPECTED);
}

/* RFC 8446 6: whatever its level; it is the client's reason, and is not answered. */
static void an_alert_ends_it(void **state) {
    static const struct {
        struct span in;
        int err;
        uint8_t alert;
    } cases[] = {
        {{(const uint8_t *)"\x15\x03\x01\x00\x02\x02\x28", 7}, ERR_PEER_ALERT, ALERT_HANDSHAKE_FAILURE},
        {{(const uint8_t *)"\x15\x03\x03\x00\x02\x01\x28", 7}, ERR_PEER_ALERT, ALERT_HANDSHAKE_FAILURE},
        {{(const uint8_t *)"\x16\x03\x01\x00\x02\x01\x00\x15\x03\x03\x00\x02\x02\x46", 14},
         ERR_PEER_ALERT,
         ALERT_PROTOCOL_VERSION},
        {{(const uint8_t *)"\x16\x03\x01\x00\x02\x01\x00\x15\x03\x03\x00\x02\x01\x00", 14}, ERR_HANDSHAKE_CLOSED, 0},
        {{(const uint8_t *)"\x15\x03\x01\x00\x02\x01\x5a", 7}, ERR_HANDSHAKE_CLOSED, ALERT_USER_CANCELED},
        {{(const uint8_t *)"\x16\x03\x01\x00\x02\x01\x00\x15\x03\x03\x00\x02\x01\x5a", 14},
         ERR_HELLO_UNEXPECTED,
         ALERT_USER_CANCELED},
        {{(const uint8_t *)"\x15\x03\x01\x00\x01\x02", 6}, ERR_RECORD_DECODE, 0},
        {{(const uint8_t *)"\x15\x03\x01\x00\x04\x02\x28\x02\x28", 9}, ERR_RECORD_DECODE, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct hello_scan scan = {0};
        int err = 0;
        assert_int_equal(hello_measure(&scan, cases[i].in, &err), STEP_FAILED);
        assert_int_equal(err, cases[i].err);
        assert_int_equal(scan.alert, cases[i].alert);
    }
    struct hello_scan scan = {0};
    int err = 0;
    assert_int_equal(hello_measure(&scan, LITERAL("\x15\x03\x01\x00\x02\x02"), &err), STEP_WANT_READ);
}

/* RFC 8446 5.1, RFC 5246 E.1. */
static void every_minor_version_of_a_record_passes(void **state) {
    uint8_t in[sizeof(hello_openssl_s_client)];
    memcpy(in, hello_openssl_s_client, sizeof(in));
    for (unsigned minor = 0; minor <= 255; minor++) {
        struct span message;
        size_t wire_len;
        int err = 0;
        in[2] = (uint8_t)minor;
        assert_int_equal(find(SAMPLE(in), &message, &wire_len, &err), STEP_DONE);
    }
}

static void later_record_versions_do_not_matter(void **state) {
    static uint8_t wire[1024];
    struct span in = split(span_of(hello_openssl_s_client + 5, sizeof(hello_openssl_s_client) - 5), 100, wire, sizeof(wire));
    struct span message;
    size_t wire_len;
    int err = 0;
    wire[105 + 2] = 0x09;
    assert_int_equal(find(in, &message, &wire_len, &err), STEP_DONE);
    wire[2] = 0x09;
    assert_int_equal(find(in, &message, &wire_len, &err), STEP_DONE);
    wire[1] = 0x02; /* the major version distinguishes TLS from something else */
    assert_int_equal(find_err(in), ERR_NOT_TLS);
}

static void other_messages_are_unexpected(void **state) {
    for (unsigned type = 0; type < 256; type++) {
        const uint8_t wire[] = {0x16, 3, 1, 0, 0x10, (uint8_t)type};
        struct span message;
        size_t wire_len;
        int err = 0;
        if (type == 1)
            assert_int_equal(find(SAMPLE(wire), &message, &wire_len, &err), STEP_WANT_READ);
        else
            assert_int_equal(find_err(SAMPLE(wire)), ERR_HELLO_UNEXPECTED);
    }
    /* a second message in the hello's own record, reported before its bytes are here */
    assert_int_equal(find_err(LITERAL("\x16\x03\x01\x00\x0a\x01\x00\x00\x05")), ERR_HELLO_UNEXPECTED);
}

static void other_protocols_are_named(void **state) {
    assert_int_equal(find_err(LITERAL("GET / HTTP/1.1\r\n")), ERR_PLAIN_HTTP);
    assert_int_equal(find_err(LITERAL("SSH-2.0-OpenSSH_9.2\r\n")), ERR_PLAIN_SSH);
    assert_int_equal(find_err(LITERAL("PROXY TCP4 1.2.3.4")), ERR_PROXY_UNEXPECTED);
    assert_int_equal(find_err(LITERAL("\r\n\r\n\0\r\nQUIT\n")), ERR_PROXY_UNEXPECTED);
    assert_int_equal(find_err(LITERAL("\x80\x2e\x01\x00\x02")), ERR_SSLV2);
    assert_int_equal(find_err(LITERAL("EHLO there")), ERR_NOT_TLS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sniffs_protocols),
        cmocka_unit_test(sniffs_more_while_undecided),
        cmocka_unit_test(never_looks_past_16_bytes),
        cmocka_unit_test(finds_whole_message_in_one_record),
        cmocka_unit_test(every_prefix_wants_more),
        cmocka_unit_test(joins_records_of_every_size),
        cmocka_unit_test(leaves_early_data_alone),
        cmocka_unit_test(goes_on_where_it_stopped),
        cmocka_unit_test(whole_records_are_not_looked_at_again),
        cmocka_unit_test(longest_message_is_taken),
        cmocka_unit_test(never_asks_for_more_than_wire_max),
        cmocka_unit_test(too_long_is_reported_at_the_length),
        cmocka_unit_test(refuses_bad_records),
        cmocka_unit_test(an_alert_ends_it),
        cmocka_unit_test(every_minor_version_of_a_record_passes),
        cmocka_unit_test(later_record_versions_do_not_matter),
        cmocka_unit_test(other_messages_are_unexpected),
        cmocka_unit_test(other_protocols_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
