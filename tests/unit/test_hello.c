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

/* ---- parsing: real clients ---- */

static struct hello parse_sample(struct span record) {
    struct span message;
    size_t wire_len;
    int err = 0;
    struct hello h;
    static uint8_t scratch[HELLO_MESSAGE_MAX];
    assert_int_equal(hello_find(&(struct hello_scan){0}, record, scratch, &message, &wire_len, &err), STEP_DONE);
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
        CASE(50, "\x00\x02\x04\x01", 0),
        CASE(50, "\x00\x04\x0a\x0a\x02\x01", 0),
        CASE(50, "\x00\x00", ERR_HELLO_MALFORMED),
        CASE(50, "\x00\x03\x04\x01\x04", ERR_HELLO_MALFORMED),
        CASE(50, "\x00\x02\x04\x01\x00", ERR_HELLO_MALFORMED),
        CASE(50, "\x00\x04\x04\x01", ERR_HELLO_MALFORMED),
        CASE(50, "", ERR_HELLO_MALFORMED),
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
    extend(d, 50, LITERAL("\x00\x02\x04\x01"));
    extend(d, 51, LITERAL("\x00\x05\x00\x1d\x00\x01x"));
    assert_int_equal(hello_parse(finish(d), &h), 0);
    assert_int_equal(h.max_fragment_length, 3);
    assert_int_equal(h.record_size_limit, 0x1234);
    assert_true(h.sigalgs_cert.len == 2 && hello_list_has(h.sigalgs_cert, 0x0401));
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

/* Long lists are searched in blocks. */
static void a_list_is_searched_to_its_end(void **state) {
    static uint8_t list[2 * 300];
    for (size_t n = 0; n <= 300; n++) {
        memset(list, 0x13, sizeof(list));
        assert_false(hello_list_has(span_of(list, 2 * n), 0x1302));
        for (size_t at = 0; at < n; at++) {
            list[2 * at + 1] = 0x02;
            assert_true(hello_list_has(span_of(list, 2 * n), 0x1302));
            assert_false(hello_list_has(span_of(list, 2 * at), 0x1302));
            assert_false(hello_list_has(span_of(list, 2 * at + 1), 0x1302));
            assert_false(hello_list_has(span_of(list, 2 * n), 0x0213));
            list[2 * at + 1] = 0x13;
        }
    }
}

/* RFC 8422 5.1.2. */
static void points_are_taken_as_they_are(void **state) {
    static const struct {
        struct span formats;
        int err;
    } cases[] = {
        {{(const uint8_t *)"\1\0", 2}, 0},
        {{(const uint8_t *)"\3\1\2\0", 4}, 0},
        {{(const uint8_t *)"\1\1", 2}, ERR_RECORD_ILLEGAL},
        {{(const uint8_t *)"\2\1\2", 3}, ERR_RECORD_ILLEGAL},
        {{(const uint8_t *)"\0", 1}, ERR_HELLO_MALFORMED},
        {{(const uint8_t *)"\2\0", 2}, ERR_HELLO_MALFORMED},
        {{(const uint8_t *)"\1\0\0", 3}, ERR_HELLO_MALFORMED},
    };
    struct hello h;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int with_groups = 0; with_groups < 2; with_groups++) {
            struct draft *d = fresh();
            if (with_groups)
                extend(d, 10, LITERAL("\x00\x02\x00\x1d"));
            extend(d, 11, cases[i].formats);
            assert_int_equal(hello_parse(finish(d), &h), 0);
            bool speaks_of_curves = with_groups || cases[i].err != ERR_RECORD_ILLEGAL;
            assert_int_equal(hello_judge_1_2(&h), speaks_of_curves ? cases[i].err : 0);
        }
    }
    assert_int_equal(hello_parse(finish(fresh()), &h), 0);
    assert_int_equal(hello_judge_1_2(&h), 0);
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
        cmocka_unit_test(a_list_is_searched_to_its_end),
        cmocka_unit_test(what_a_hello_of_1_3_must_have),
        cmocka_unit_test(points_are_taken_as_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
