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
#include "tls/hello.h"
#include "tls/hello_find.h"

/* Parses a copy of exactly the right size, so that a sanitizer sees each byte too far. */
static int parse_exactly(struct span message, struct hello *ret, uint8_t **ret_copy) {
    uint8_t *copy = malloc(message.len ? message.len : 1);
    assert_non_null(copy);
    if (message.len)
        memcpy(copy, message.p, message.len);
    int err = hello_parse(span_of(copy, message.len), ret);
    if (ret_copy)
        *ret_copy = copy;
    else
        free(copy);
    return err;
}

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
    assert_int_equal(find_err(LITERAL("\x15\x03\x01\x00\x02\x02\x28")), ERR_HELLO_UNEXPECTED);
    assert_int_equal(find_err(LITERAL("\x17\x03\x03\x00\x02")), ERR_HELLO_UNEXPECTED);
    /* another type between the two halves of the message */
    assert_int_equal(find_err(LITERAL("\x16\x03\x01\x00\x02\x01\x00\x15\x03\x03\x00\x02\x01\x00")), ERR_HELLO_UNEXPECTED);
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

/* ---- parsing: real clients ---- */

static struct hello parse_sample(struct span record) {
    struct span message;
    size_t wire_len;
    int err = 0;
    struct hello h;
    assert_int_equal(find(record, &message, &wire_len, &err), STEP_DONE);
    assert_int_equal(hello_parse(message, &h), 0);
    return h;
}

static void reads_openssl_tls13(void **state) {
    struct hello h = parse_sample(SAMPLE(hello_openssl_s_client));
    assert_string_equal(h.sni, "www.example.org");
    assert_int_equal(h.legacy_version, 0x0303);
    assert_int_equal(h.random.len, 32);
    assert_int_equal(h.session_id.len, 32);
    assert_true(hello_list_has(h.versions, 0x0304) && hello_list_has(h.versions, 0x0303));
    assert_false(hello_list_has(h.versions, 0x0300));
    assert_true(hello_list_has(h.suites, 0x1301) && hello_list_has(h.suites, 0xc02b));
    assert_true(hello_list_has(h.groups, 0x001d) && hello_list_has(h.sigalgs, 0x0403));
    assert_true(h.has_key_share);
    assert_false(h.has_psk || h.has_early_data);
    assert_int_equal(h.alpn.len, 0);
    assert_string_equal(h.ja4, "t13d311000_e8f1e7e78f70_1f22a2ca17c4");
}

static void reads_openssl_tls12(void **state) {
    struct hello h = parse_sample(SAMPLE(hello_openssl_s_client_tls12_alpn));
    assert_string_equal(h.sni, "a.example.org");
    assert_int_equal(h.versions.len, 0);
    assert_false(h.has_key_share);
    assert_int_equal(h.max_fragment_length, 2);
    assert_string_equal(h.ja4, "t12d2809h2_d943125447b4_a0e0ad89ff24");
}

static void reads_gnutls(void **state) {
    struct hello h = parse_sample(SAMPLE(hello_gnutls_cli));
    assert_string_equal(h.sni, "www.example.org");
    assert_true(h.record_size_limit >= 64);
    assert_string_equal(h.ja4, "t13d2914h2_723694b0fccc_2cc26d266019");
}

static void reads_resumption(void **state) {
    struct hello h = parse_sample(SAMPLE(hello_openssl_s_client_psk_early));
    assert_true(h.has_psk && h.has_early_data);
    assert_string_equal(h.ja4, "t13d311200_e8f1e7e78f70_87f12a3f655c");
}

static void no_truncation_passes(void **state) {
    struct span whole = span_of(hello_gnutls_cli + 5, sizeof(hello_gnutls_cli) - 5);
    struct hello h;
    for (size_t n = 0; n < whole.len; n++)
        assert_int_equal(parse_exactly(span_of(whole.p, n), &h, NULL), ERR_HELLO_MALFORMED);
}

/* The message's own length is right, all inner ones are not. */
static void no_inner_truncation_passes(void **state) {
    uint8_t cut[sizeof(hello_gnutls_cli)];
    struct hello h;
    for (size_t n = 4; n < sizeof(hello_gnutls_cli) - 5; n++) {
        memcpy(cut, hello_gnutls_cli + 5, n);
        cut[1] = 0;
        cut[2] = (uint8_t)((n - 4) >> 8);
        cut[3] = (uint8_t)(n - 4);
        int err = parse_exactly(span_of(cut, n), &h, NULL);
        size_t before_block = 4 + 2 + 32 + 1 + cut[4 + 34];
        before_block += 2 + (size_t)(hello_gnutls_cli[5 + before_block] << 8 | hello_gnutls_cli[5 + before_block + 1]) + 2;
        assert_int_equal(err, n == before_block ? 0 : ERR_HELLO_MALFORMED);
    }
}

/* ---- parsing: the fixed part ---- */

static void hello_without_extensions_passes(void **state) {
    struct draft *d = fresh();
    struct hello h;
    d->no_block = true;
    uint8_t *copy;
    assert_int_equal(parse_exactly(finish(d), &h, &copy), 0);
    assert_string_equal(h.sni, "");
    assert_int_equal(h.groups.len + h.sigalgs.len + h.versions.len + h.alpn.len, 0);
    assert_false(hello_list_has(h.groups, 0));
    /* "1301,c02b" and no extensions at all */
    assert_string_equal(h.ja4, "t12i020000_777cda164f4b_000000000000");
    free(copy);

    d = fresh();
    assert_int_equal(parse_exactly(finish(d), &h, NULL), 0);
}

static void bad_fixed_parts_are_refused(void **state) {
    struct hello h;
    uint8_t long_id[33] = {0};
    struct draft *d = fresh();
    d->session_id = SAMPLE(long_id);
    assert_int_equal(hello_parse(finish(d), &h), ERR_HELLO_MALFORMED);
    d->session_id.len = 32;
    assert_int_equal(hello_parse(finish(d), &h), 0);
    d->suites.len = 0;
    assert_int_equal(hello_parse(finish(d), &h), ERR_HELLO_MALFORMED);
    d->suites.len = 3;
    assert_int_equal(hello_parse(finish(d), &h), ERR_HELLO_MALFORMED);
    d->suites.len = 2;
    d->compression = LITERAL("");
    assert_int_equal(hello_parse(finish(d), &h), ERR_HELLO_MALFORMED);
    d->compression = LITERAL("\x01"); /* RFC 5246 7.4.1.2: null is always there */
    assert_int_equal(hello_parse(finish(d), &h), ERR_RECORD_ILLEGAL);
    d->compression = LITERAL("\x01\x00"); /* fine before 1.3 */
    assert_int_equal(hello_parse(finish(d), &h), 0);
    extend(d, 43, LITERAL("\x02\x03\x04"));
    assert_int_equal(hello_parse(finish(d), &h), ERR_RECORD_ILLEGAL);
}

static void other_message_types_are_refused(void **state) {
    struct hello h;
    struct span m = finish(fresh());
    draft.bytes[0] = 2;
    assert_int_equal(hello_parse(m, &h), ERR_HELLO_MALFORMED);
    assert_int_equal(hello_parse(span_of(m.p, 0), &h), ERR_HELLO_MALFORMED);
    assert_int_equal(hello_parse(span_of(NULL, 0), &h), ERR_HELLO_MALFORMED);
}

static void bytes_behind_the_block_are_refused(void **state) {
    struct hello h;
    struct span m = finish(fresh());
    draft.bytes[m.len] = 0;
    draft.bytes[3]++;
    assert_int_equal(hello_parse(span_of(m.p, m.len + 1), &h), ERR_HELLO_MALFORMED);
}

static void nothing_is_written_on_failure(void **state) {
    struct hello h, before;
    memset(&h, 0x5a, sizeof(h));
    memcpy(&before, &h, sizeof(h));
    assert_int_equal(parse_with(10, LITERAL("\x00\x01\x1d"), &h), ERR_HELLO_MALFORMED);
    assert_memory_equal(&h, &before, sizeof(h));
}

/* ---- parsing: each extension ---- */

static void extension_edges(void **state) {
    static const struct {
        uint16_t type;
        const char *data;
        size_t len;
        int err;
    } cases[] = {
#define CASE(type, data, err) {type, data, sizeof(data) - 1, err}
        CASE(1, "\x01", 0),
        CASE(1, "\x04", 0),
        CASE(1, "\x00", ERR_RECORD_ILLEGAL),
        CASE(1, "\x05", ERR_RECORD_ILLEGAL),
        CASE(1, "", ERR_HELLO_MALFORMED),
        CASE(1, "\x01\x01", ERR_HELLO_MALFORMED),
        CASE(10, "\x00\x02\x00\x1d", 0),
        CASE(10, "\x00\x00", ERR_HELLO_MALFORMED),
        CASE(10, "\x00\x03\x00\x1d\x00", ERR_HELLO_MALFORMED),
        CASE(10, "\x00\x02\x00\x1d\x00", ERR_HELLO_MALFORMED),
        CASE(10, "\x00\x04\x00\x1d", ERR_HELLO_MALFORMED),
        CASE(10, "\x00", ERR_HELLO_MALFORMED),
        CASE(10, "", ERR_HELLO_MALFORMED),
        CASE(13, "\x00\x02\x04\x03", 0),
        CASE(13, "\x00\x00", ERR_HELLO_MALFORMED),
        CASE(13, "\x00\x01\x04", ERR_HELLO_MALFORMED),
        CASE(13, "\x00\x02\x04\x03\x04\x03", ERR_HELLO_MALFORMED),
        CASE(16, "\x00\x03\x02h2", 0),
        CASE(16, "\x00\x06\x02h2\x02h3", 0),
        CASE(16, "\x00\x00", ERR_HELLO_MALFORMED),
        CASE(16, "\x00\x01\x00", ERR_HELLO_MALFORMED),
        CASE(16, "\x00\x04\x02h2\x00", ERR_HELLO_MALFORMED),
        CASE(16, "\x00\x03\x03h2", ERR_HELLO_MALFORMED),
        CASE(16, "\x00\x04\x02h2", ERR_HELLO_MALFORMED),
        CASE(16, "\x00\x03\x02h2x", ERR_HELLO_MALFORMED),
        CASE(28, "\x00\x40", 0),
        CASE(28, "\x40\x01", 0),
        CASE(28, "\xff\xff", 0), /* above the protocol's maximum is allowed: RFC 8449 4 */
        CASE(28, "\x00\x3f", ERR_RECORD_ILLEGAL),
        CASE(28, "\x40", ERR_HELLO_MALFORMED),
        CASE(28, "\x40\x01\x00", ERR_HELLO_MALFORMED),
        CASE(42, "", 0),
        CASE(42, "\x00", ERR_HELLO_MALFORMED),
        CASE(43, "\x02\x03\x04", 0),
        CASE(43, "\x00", ERR_HELLO_MALFORMED),
        CASE(43, "\x03\x03\x04\x03", ERR_HELLO_MALFORMED),
        CASE(43, "\x02\x03\x04\x00", ERR_HELLO_MALFORMED),
        CASE(43, "\x04\x03\x04", ERR_HELLO_MALFORMED),
        CASE(51, "\x00\x00", 0), /* asks for a HelloRetryRequest */
        CASE(51, "\x00\x05\x00\x1d\x00\x01x", 0),
        CASE(51, "\x00\x0a\x00\x1d\x00\x01x\x00\x17\x00\x01y", 0),
        CASE(51, "\x00\x04\x00\x1d\x00\x00", ERR_HELLO_MALFORMED),
        CASE(51, "\x00\x05\x00\x1d\x00\x02x", ERR_HELLO_MALFORMED),
        CASE(51, "\x00\x06\x00\x1d\x00\x01xy", ERR_HELLO_MALFORMED),
        CASE(51, "\x00\x05\x00\x1d\x00\x01xy", ERR_HELLO_MALFORMED),
        CASE(51, "", ERR_HELLO_MALFORMED),
        CASE(0x1234, "", 0),
        CASE(0x1234, "anything", 0),
#undef CASE
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct hello h;
        int err = parse_with(cases[i].type, span_of(cases[i].data, cases[i].len), &h);
        if (err != cases[i].err)
            print_message("case %zu, extension %u: %s\n", i, cases[i].type, err_name(err));
        assert_int_equal(err, cases[i].err);
    }
}

static void values_come_through(void **state) {
    struct draft *d = fresh();
    struct hello h;
    extend(d, 1, LITERAL("\x03"));
    extend(d, 28, LITERAL("\x12\x34"));
    extend(d, 51, LITERAL("\x00\x05\x00\x1d\x00\x01x"));
    assert_int_equal(hello_parse(finish(d), &h), 0);
    assert_int_equal(h.max_fragment_length, 3);
    assert_int_equal(h.record_size_limit, 0x1234);
    assert_true(h.has_key_share);
    assert_true(span_eq(h.key_shares, LITERAL("\x00\x1d\x00\x01x")));
    assert_int_equal(h.random.p[31], 31);
}

/* One SNI extension with one host name. */
static int parse_name(struct span name, struct hello *h) {
    uint8_t data[1024];
    struct wr w = wr_of(data, sizeof(data));
    wr_u16(&w, (uint16_t)(name.len + 3));
    wr_u8(&w, 0);
    wr_vec16(&w, name);
    assert_true(wr_end(&w));
    return parse_with(0, wr_written(&w), h);
}

static void names_are_normalised(void **state) {
    static const char *const cases[][2] = {
        {"www.example.org", "www.example.org"},
        {"WWW.Example.ORG", "www.example.org"},
        {"www.example.org.", "www.example.org"},
        {"localhost", "localhost"},
        {"a_b.x-1.org", "a_b.x-1.org"},
        {"xn--bcher-kva.example", "xn--bcher-kva.example"},
        {"192.0.2", "192.0.2"},
        {"192.0.2.256", "192.0.2.256"},
    };
    struct hello h;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(parse_name(span_str(cases[i][0]), &h), 0);
        assert_string_equal(h.sni, cases[i][1]);
    }
}

static void what_is_no_name_counts_as_none(void **state) {
    static const char *const cases[] = {
        ".",        "..",    "a..b",        ".a",      "a..",        "a b",       "a/b",  "a\nb", "a\x80z",
        "*.a",      "[::1]", "a\xc3\xa4.b", "a%b",     "a:1",        "a\"b",      "a\\b", "a@b",  "a\x7f",
        "<script>", "::1",   "2001:db8::",  "1.2.3.4", "192.0.2.1.", "::1.2.3.4", " ",    "\xff"};
    struct hello h;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(parse_name(span_str(cases[i]), &h), 0);
        assert_string_equal(h.sni, "");
        assert_int_equal(h.sni_other.len, strlen(cases[i]));
    }
    assert_int_equal(parse_name(span_str("a"), &h), 0);
    assert_int_equal(h.sni_other.len, 0);
}

static void empty_names_and_zero_bytes_are_refused(void **state) {
    static const struct span cases[] = {{NULL, 0},
                                        {(const uint8_t *)"a\0b", 3},
                                        {(const uint8_t *)"a\0", 2},
                                        {(const uint8_t *)"\0", 1},
                                        {(const uint8_t *)"::\0", 3}};
    struct hello h;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(parse_name(cases[i], &h), ERR_HELLO_MALFORMED);
}

static void name_lengths(void **state) {
    char name[300];
    struct hello h;
    memset(name, 'a', sizeof(name));
    for (size_t i = 50; i < sizeof(name); i += 50)
        name[i] = '.';
    assert_int_equal(parse_name(span_of(name, 255), &h), 0);
    assert_int_equal(strlen(h.sni), 255);
    assert_int_equal(parse_name(span_of(name, 256), &h), 0);
    assert_string_equal(h.sni, "");
    assert_int_equal(h.sni_other.len, 256);
    name[255] = '.';
    assert_int_equal(parse_name(span_of(name, 256), &h), 0);
    assert_int_equal(strlen(h.sni), 255);
}

static void name_lists(void **state) {
    struct hello h;
    assert_int_equal(parse_with(0, LITERAL(""), &h), ERR_HELLO_MALFORMED);
    assert_int_equal(parse_with(0, LITERAL("\x00\x00"), &h), ERR_HELLO_MALFORMED);
    assert_int_equal(parse_with(0, LITERAL("\x00\x04\x00\x00\x01x"), &h), 0);
    assert_int_equal(parse_with(0, LITERAL("\x00\x04\x00\x00\x02x"), &h), ERR_HELLO_MALFORMED);
    assert_int_equal(parse_with(0, LITERAL("\x00\x05\x00\x00\x01x"), &h), ERR_HELLO_MALFORMED);
    assert_int_equal(parse_with(0, LITERAL("\x00\x04\x00\x00\x01xy"), &h), ERR_HELLO_MALFORMED);
    /* two host names, of either kind */
    assert_int_equal(parse_with(0, LITERAL("\x00\x08\x00\x00\x01x\x00\x00\x01y"), &h), ERR_RECORD_ILLEGAL);
    assert_int_equal(parse_with(0, LITERAL("\x00\x08\x00\x00\x01:\x00\x00\x01y"), &h), ERR_RECORD_ILLEGAL);
    assert_int_equal(parse_with(0, LITERAL("\x00\x08\x00\x00\x01x\x00\x00\x01x"), &h), ERR_RECORD_ILLEGAL);
    /* a type nobody knows beside it */
    assert_int_equal(parse_with(0, LITERAL("\x00\x08\x07\x00\x01?\x00\x00\x01y"), &h), 0);
    assert_string_equal(h.sni, "y");
}

/* ---- parsing: the block ---- */

static void duplicates_are_refused(void **state) {
    struct hello h;
    struct draft *d = fresh();
    extend(d, 0x7777, LITERAL(""));
    extend(d, 42, LITERAL(""));
    assert_int_equal(hello_parse(finish(d), &h), 0);
    extend(d, 0x7777, LITERAL("x"));
    assert_int_equal(hello_parse(finish(d), &h), ERR_RECORD_ILLEGAL);
}

/* RFC 8446 4.2: unknown ones are ignored, however many they are. */
static void the_block_alone_bounds_extensions(void **state) {
    struct hello h;
    struct draft *d = fresh();
    for (unsigned i = 0; i < UINT16_MAX / 4 - 3; i++)
        extend(d, (uint16_t)(100 + i), LITERAL(""));
    extend(d, 16, LITERAL("\x00\x03\x02h2"));
    assert_int_equal(hello_parse(finish(d), &h), 0);
    assert_memory_equal(h.ja4 + 6, "99", 2);
    extend(d, 100 + 9999, LITERAL(""));
    assert_int_equal(hello_parse(finish(d), &h), ERR_RECORD_ILLEGAL);
}

static void a_long_extension_passes(void **state) {
    static const uint8_t bytes[65000];
    struct hello h;
    assert_int_equal(parse_with(0x1234, SAMPLE(bytes), &h), 0);
}

/* RFC 8446 4.2.8. */
static void shares_are_of_groups_that_are_listed_and_once(void **state) {
    static const struct {
        const char *groups, *shares;
        size_t groups_len, shares_len;
        int err;
    } cases[] = {
#define CASE(groups, shares, err) {groups, shares, sizeof(groups) - 1, sizeof(shares) - 1, err}
        CASE("\x00\x04\x00\x1d\x00\x17", "\x00\x05\x00\x17\x00\x01x", 0),
        CASE("\x00\x04\x00\x1d\x00\x17", "\x00\x0a\x00\x1d\x00\x01x\x00\x17\x00\x01y", 0),
        CASE("\x00\x04\x00\x1d\x00\x17", "\x00\x00", 0),
        CASE("\x00\x04\x00\x1d\x00\x17", "\x00\x05\x00\x18\x00\x01x", ERR_RECORD_ILLEGAL),
        CASE("\x00\x04\x00\x1d\x00\x17", "\x00\x0a\x00\x17\x00\x01x\x00\x17\x00\x01y", ERR_RECORD_ILLEGAL),
        CASE("\x00\x04\x0a\x0a\x00\x1d", "\x00\x0a\x0a\x0a\x00\x01x\x00\x1d\x00\x01y", 0), /* GREASE */
        CASE("\x00\x04\x0a\x0a\x00\x1d", "\x00\x0f\x0a\x0a\x00\x01x\x00\x1d\x00\x01y\x0a\x0a\x00\x01z", ERR_RECORD_ILLEGAL),
#undef CASE
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int is_1_3 = 0; is_1_3 < 2; is_1_3++) {
            struct hello h;
            struct draft *d = fresh();
            extend(d, 51, span_of(cases[i].shares, cases[i].shares_len));
            extend(d, 10, span_of(cases[i].groups, cases[i].groups_len));
            if (is_1_3)
                extend(d, 43, LITERAL("\x02\x03\x04"));
            assert_int_equal(hello_parse(finish(d), &h), is_1_3 ? cases[i].err : 0);
        }
    }
}

#define BINDER                                                                                                                 \
    "\x20"                                                                                                                     \
    "0123456789abcdef0123456789abcdef"

static void pre_shared_key_is_last_and_whole(void **state) {
    static const struct span good = {(const uint8_t *)"\x00\x07\x00\x01i\x00\x00\x00\x00\x00\x21" BINDER, 11 + 33};
    struct hello h;
    struct draft *d = fresh();
    extend(d, 41, good);
    assert_int_equal(hello_parse(finish(d), &h), 0);
    assert_true(h.has_psk);
    extend(d, 42, LITERAL(""));
    assert_int_equal(hello_parse(finish(d), &h), ERR_RECORD_ILLEGAL);

    assert_int_equal(parse_with(41, LITERAL(""), &h), ERR_HELLO_MALFORMED);
    assert_int_equal(parse_with(41, LITERAL("\x00\x00\x00\x00"), &h), ERR_HELLO_MALFORMED);
    assert_int_equal(parse_with(41, LITERAL("\x00\x07\x00\x01i\x00\x00\x00\x00\x00\x00"), &h), ERR_HELLO_MALFORMED);
    assert_int_equal(parse_with(41, LITERAL("\x00\x06\x00\x00\x00\x00\x00\x00\x00\x21" BINDER), &h), ERR_HELLO_MALFORMED);
    assert_int_equal(parse_with(41, LITERAL("\x00\x07\x00\x01i\x00\x00\x00\x00\x00\x42" BINDER BINDER), &h),
                     ERR_HELLO_MALFORMED);
    assert_int_equal(parse_with(41, LITERAL("\x00\x07\x00\x01i\x00\x00\x00\x00\x00\x02\x01x"), &h), ERR_HELLO_MALFORMED);
    for (size_t n = 0; n < good.len; n++)
        assert_int_equal(parse_with(41, span_of(good.p, n), &h), ERR_HELLO_MALFORMED);
}

/* RFC 8446 9.2, 4.2.9: each set of the extensions in question. */
static void what_a_hello_of_1_3_must_have(void **state) {
    enum { GROUPS = 1, SIGALGS = 2, SHARES = 4, MODES = 8, PSK = 16 };
    for (unsigned set = 0; set < 32; set++) {
        struct hello h;
        struct draft *d = fresh();
        extend(d, 43, LITERAL("\x02\x03\x04"));
        if (set & GROUPS)
            extend(d, 10, LITERAL("\x00\x02\x00\x1d"));
        if (set & SIGALGS)
            extend(d, 13, LITERAL("\x00\x02\x04\x03"));
        if (set & SHARES)
            extend(d, 51, LITERAL("\x00\x05\x00\x1d\x00\x01x"));
        if (set & MODES)
            extend(d, 45, LITERAL("\x01\x01"));
        if (set & PSK)
            extend(d, 41, LITERAL("\x00\x07\x00\x01i\x00\x00\x00\x00\x00\x21" BINDER));
        assert_int_equal(hello_parse(finish(d), &h), 0);
        static const unsigned good[] = {GROUPS | SIGALGS | SHARES, MODES | PSK, MODES | PSK | GROUPS | SHARES};
        bool is_good = false;
        for (size_t i = 0; i < ARRAY_LEN(good); i++)
            is_good |= (set & ~(unsigned)(set & PSK ? SIGALGS : MODES)) == good[i];
        assert_int_equal(hello_judge_1_3(&h), is_good ? 0 : ERR_HELLO_LACKS);
    }
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
        cmocka_unit_test(every_minor_version_of_a_record_passes),
        cmocka_unit_test(later_record_versions_do_not_matter),
        cmocka_unit_test(other_messages_are_unexpected),
        cmocka_unit_test(other_protocols_are_named),
        cmocka_unit_test(reads_openssl_tls13),
        cmocka_unit_test(reads_openssl_tls12),
        cmocka_unit_test(reads_gnutls),
        cmocka_unit_test(reads_resumption),
        cmocka_unit_test(no_truncation_passes),
        cmocka_unit_test(no_inner_truncation_passes),
        cmocka_unit_test(hello_without_extensions_passes),
        cmocka_unit_test(bad_fixed_parts_are_refused),
        cmocka_unit_test(other_message_types_are_refused),
        cmocka_unit_test(bytes_behind_the_block_are_refused),
        cmocka_unit_test(nothing_is_written_on_failure),
        cmocka_unit_test(extension_edges),
        cmocka_unit_test(values_come_through),
        cmocka_unit_test(names_are_normalised),
        cmocka_unit_test(what_is_no_name_counts_as_none),
        cmocka_unit_test(empty_names_and_zero_bytes_are_refused),
        cmocka_unit_test(name_lengths),
        cmocka_unit_test(name_lists),
        cmocka_unit_test(duplicates_are_refused),
        cmocka_unit_test(the_block_alone_bounds_extensions),
        cmocka_unit_test(a_long_extension_passes),
        cmocka_unit_test(shares_are_of_groups_that_are_listed_and_once),
        cmocka_unit_test(pre_shared_key_is_last_and_whole),
        cmocka_unit_test(what_a_hello_of_1_3_must_have),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
