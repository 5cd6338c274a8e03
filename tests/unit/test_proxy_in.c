#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/err.h"
#include "base/wr.h"
#include "handshaker/proxy_in.h"
#include "relay/proxy_header.h"
#include "tls/suite.h"

#define SIG "\r\n\r\n\0\r\nQUIT\n"
#define V4  "\x01\x02\x03\x04\x05\x06\x07\x08\x01\x02\x01\xbb"
#define V6                                                                                                                     \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"                                                                               \
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"                                                                                       \
    "\x01\x02\x01\xbb"

/* The bytes of a string literal, zeros within it included. */
#define LIT(s) span_of("" s "", sizeof(s) - 1)

/* Reads from memory that ends where IN ends, so that the sanitizer reports a read past it. */
static enum step read_exact(struct span in, struct proxy_in *ret, int *ret_err) {
    uint8_t *copy = malloc(in.len + 1);
    assert_non_null(copy);
    if (in.len)
        memcpy(copy + 1, in.p, in.len);
    enum step step = proxy_in_read(span_of(copy + 1, in.len), ret, ret_err);
    free(copy);
    return step;
}

static void expect_header(struct span in, const char *client, const char *service) {
    struct proxy_in got;
    int err = 0;
    char text[ADDR_TEXT_MAX];
    assert_int_equal(read_exact(in, &got, &err), STEP_DONE);
    assert_int_equal(got.len, in.len);
    assert_int_equal(got.local, client == NULL);
    assert_string_equal(addr_text(&got.client, text), client ? client : "-");
    assert_string_equal(addr_text(&got.service, text), service ? service : "-");
}

static void expect_local(struct span in) {
    expect_header(in, NULL, NULL);
}

static void expect_failed(struct span in, int want) {
    struct proxy_in got;
    int err = 0;
    assert_int_equal(read_exact(in, &got, &err), STEP_FAILED);
    assert_int_equal(err, want);
}

/* Every beginning wants more; what follows the header is not looked at. */
static void expect_steady(struct span in) {
    struct proxy_in got;
    int err = 0;
    uint8_t more[PROXY_IN_MAX + 64];
    for (size_t n = 0; n < in.len; n++)
        assert_int_equal(read_exact(span_of(in.p, n), &got, &err), STEP_WANT_READ);
    memcpy(more, in.p, in.len);
    memset(more + in.len, 0x16, 64);
    assert_int_equal(proxy_in_read(span_of(more, in.len + 64), &got, &err), STEP_DONE);
    assert_int_equal(got.len, in.len);
}

static void v1_addresses(void **state) {
    expect_header(LIT("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"), "192.168.0.1:56324", "192.168.0.11:443");
    expect_header(LIT("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n"), "0.0.0.0:0", "255.255.255.255:65535");
    expect_header(LIT("PROXY TCP6 2001:db8::1 ::1 1 2\r\n"), "[2001:db8::1]:1", "[::1]:2");
    expect_header(LIT("PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n"), "1.2.3.4:1", "[::1]:2");
    expect_header(
        LIT("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
}

/* nginx' stream module names the protocol by the client alone, which it may have learned from another header. */
static void v1_families_may_be_mixed(void **state) {
    expect_header(LIT("PROXY TCP6 2001:db8::1 192.0.2.1 5 443\r\n"), "[2001:db8::1]:5", "192.0.2.1:443");
    expect_header(LIT("PROXY TCP4 192.0.2.1 2001:db8::1 5 443\r\n"), "192.0.2.1:5", "[2001:db8::1]:443");
    expect_header(LIT("PROXY TCP6 192.0.2.1 2001:db8::1 5 443\r\n"), "192.0.2.1:5", "[2001:db8::1]:443");
    expect_header(LIT("PROXY TCP4 2001:db8::1 192.0.2.1 5 443\r\n"), "[2001:db8::1]:5", "192.0.2.1:443");
    expect_header(LIT("PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 5 443\r\n"), "[2001:db8::1]:5", "192.0.2.1:443");
    expect_header(LIT("PROXY TCP6 ::ffff:192.0.2.9 192.0.2.1 5 443\r\n"), "192.0.2.9:5", "192.0.2.1:443");
    expect_header(LIT("PROXY TCP4 ::ffff:192.0.2.9 192.0.2.1 5 443\r\n"), "192.0.2.9:5", "192.0.2.1:443");
    expect_header(LIT("PROXY TCP4 ::ffff:192.0.2.9 ::ffff:192.0.2.1 5 443\r\n"), "192.0.2.9:5", "192.0.2.1:443");
    expect_steady(LIT("PROXY TCP6 2001:db8::1 192.0.2.1 5 443\r\n"));
}

static void v1_unknown_is_local(void **state) {
    expect_local(LIT("PROXY UNKNOWN\r\n"));
    expect_local(LIT("PROXY UNKNOWN what ever ends in a line\r\n"));
    expect_local(LIT("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"));
}

static void v1_takes_107_bytes_and_no_more(void **state) {
    char line[109];
    memset(line, 'x', sizeof(line));
    memcpy(line, "PROXY UNKNOWN ", 14);
    memcpy(line + 105, "\r\n", 2);
    expect_local(span_of(line, 107));
    memcpy(line + 105, "x\r\n", 3);
    expect_failed(span_of(line, 108), ERR_PROXY_MALFORMED);
    expect_failed(span_of(line, 107), ERR_PROXY_MALFORMED); /* it need not come to an end to be too long */
    struct proxy_in got;
    int err = 0;
    assert_int_equal(read_exact(span_of(line, 106), &got, &err), STEP_WANT_READ);
}

static void v1_malformed(void **state) {
    static const char *const bad[] = {
        "PROXY \r\n",
        "PROXY \n",
        "PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 \r\n",
        "PROXY TCP4 1.2.3.4\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 \r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 00 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 0x1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 99999999999999999999 2\r\n",
        "PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.04 5.6.7.8 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP6 ::1%lo ::1 1 2\r\n",
        "PROXY TCP6 2001:db8::1 fe80::1%eth0 1 2\r\n",
        "PROXY TCP6 2001:db8::1 192.0.2.01 1 2\r\n",
        "PROXY TCP6 2001:db8::1 192.0.2.1:443 1 2\r\n",
        "PROXY TCP6 2001:db8::1 192.0.2.1 1 65536\r\n",
        "PROXY TCP6 2001:db8::1 192.0.2.1 1 02\r\n",
        "PROXY TCP6 2001:db8::1 192.0.2.1\r\n",
        "PROXY TCP6 02001:db8::1 ::1 1 2\r\n",
        "PROXY TCP6 [::1] ::1 1 2\r\n",
        "PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY UNKNOW\r\n",
        "PROXY TCP4 localhost 5.6.7.8 1 2\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect_failed(span_str(bad[i]), ERR_PROXY_MALFORMED);
    expect_failed(LIT("PROXY TCP4 1.2.3.4\0 5.6.7.8 1 2\r\n"), ERR_PROXY_MALFORMED);
}

static void v2_addresses(void **state) {
    expect_header(LIT(SIG "\x21\x11\x00\x0c" V4), "1.2.3.4:258", "5.6.7.8:443");
    expect_header(LIT(SIG "\x21\x21\x00\x24" V6), "[2001:db8::1]:258", "[::1]:443");
    expect_header(LIT(SIG "\x21\x21\x00\x24"
                          "\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x02\x03\x04"
                          "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
                          "\0\x01\0\x02"),
                  "1.2.3.4:1", "[::1]:2");
    expect_header(LIT(SIG "\x21\x21\x00\x24"
                          "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
                          "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01"
                          "\0\x01\0\x02"),
                  "[2001:db8::1]:1", "192.0.2.1:2");
}

static void v2_other_families_are_local(void **state) {
    uint8_t un[16 + 216 + 3] = SIG "\x21\x31\x00\xdb";
    memset(un + 16, 'u', 216);
    memcpy(un + 16 + 216, "\x04\x00\x00", 3);
    expect_local(span_of(un, sizeof(un)));
    un[13] = 0x32;
    expect_local(span_of(un, sizeof(un)));
    expect_local(LIT(SIG "\x21\x12\x00\x0c" V4)); /* datagrams */
    expect_local(LIT(SIG "\x21\x22\x00\x24" V6));
    expect_local(LIT(SIG "\x21\x00\x00\x00"));
    expect_local(LIT(SIG "\x21\x00\x00\x03xyz"));
    expect_local(LIT(SIG "\x21\x10\x00\x01x"));
    expect_local(LIT(SIG "\x21\x01\x00\x01x"));
}

static void v2_local_discards_the_block(void **state) {
    expect_local(LIT(SIG "\x20\x00\x00\x00"));
    expect_local(LIT(SIG "\x20\x11\x00\x0c" V4));
    expect_local(LIT(SIG "\x20\x11\x00\x01x"));
    expect_local(LIT(SIG "\x20\xff\x00\x02xy")); /* the family included */
}

static void v2_malformed(void **state) {
    const struct span bad[] = {
        LIT(SIG "\x11\x11\x00\x0c" V4),                    /* version 1 */
        LIT(SIG "\x31\x11\x00\x0c" V4),                    /* version 3 */
        LIT(SIG "\x22\x11\x00\x0c" V4),                    /* an unknown command */
        LIT(SIG "\x2f\x11\x00\x0c" V4),                    /* another */
        LIT(SIG "\x21\x41\x00\x0c" V4),                    /* an unknown family */
        LIT(SIG "\x21\x13\x00\x0c" V4),                    /* an unknown transport */
        LIT(SIG "\x21\x11\x00\x0b\1\2\3\4\5\6\7\1\2\3\4"), /* too short for its family */
        LIT(SIG "\x21\x21\x00\x0c" V4),                    /* the same */
        LIT(SIG "\x21\x31\x00\x0c" V4),                    /* the same */
        LIT(SIG "\x21\x11\x00\x00"),                       /* no addresses at all */
        LIT(SIG "\x21\x11\x00\x0d" V4 "\x04"),             /* a TLV without a length */
        LIT(SIG "\x21\x11\x00\x0e" V4 "\x04\x00"),         /* half a length */
        LIT(SIG "\x21\x11\x00\x10" V4 "\x04\x00\x02x"),    /* less than its length */
        LIT(SIG "\x21\x11\x00\x12" V4 "\x03\x00\x03"
                "abc"),                                /* a checksum of three bytes */
        LIT(SIG "\x21\x11\x00\x0f" V4 "\x03\x00\x00"), /* and of none */
        LIT(SIG "\x21\x11\x08\x01"),                   /* over the bound, refused before it has arrived */
        LIT(SIG "\x21\x11\xff\xff"),
        LIT(SIG "\x20\x00\xff\xff"),
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect_failed(bad[i], ERR_PROXY_MALFORMED);
}

static void v2_takes_2048_bytes_behind_its_head(void **state) {
    uint8_t h[PROXY_IN_MAX] = SIG "\x21\x11\x08\x00" V4;
    struct wr w = wr_of(h + 28, 3);
    wr_u8(&w, 0x04);
    wr_u16(&w, 2048 - 12 - 3);
    expect_header(span_of(h, sizeof(h)), "1.2.3.4:258", "5.6.7.8:443");
    expect_steady(span_of(h, sizeof(h)));
}

/* An IPv4 header of NOOP, checksum, NOOP; the checksum is right. */
static size_t with_crc(uint8_t to[static 64]) {
    static const uint8_t blank[] = SIG "\x21\x11\x00\x1e" V4 "\x04\x00\x02zz"
                                       "\x03\x00\x04\0\0\0\0"
                                       "\x04\x00\x03zzz";
    size_t n = sizeof(blank) - 1;
    memcpy(to, blank, n);
    struct wr w = wr_of(to + 36, 4);
    wr_u32(&w, crc32c(blank, n));
    return n;
}

/* Its value computed elsewhere, bit by bit from the polynomial. */
static void a_right_checksum_is_taken(void **state) {
    expect_header(LIT(SIG "\x21\x11\x00\x13" V4 "\x03\x00\x04"
                          "\xe8\x8f\x56\x3d"),
                  "1.2.3.4:258", "5.6.7.8:443");
    expect_failed(LIT(SIG "\x21\x11\x00\x13" V4 "\x03\x00\x04"
                          "\0\0\0\0"),
                  ERR_PROXY_MALFORMED);
}

static void a_flipped_bit_anywhere_is_refused(void **state) {
    uint8_t h[64];
    size_t n = with_crc(h);
    expect_header(span_of(h, n), "1.2.3.4:258", "5.6.7.8:443");
    for (size_t bit = 16 * 8; bit < n * 8; bit++) {
        struct proxy_in got;
        int err = 0;
        bool in_type = bit / 8 == 33; /* the checksum's own type: without it there is no checksum */
        h[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (!in_type) {
            assert_int_equal(read_exact(span_of(h, n), &got, &err), STEP_FAILED);
            assert_int_equal(err, ERR_PROXY_MALFORMED);
        }
        h[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void two_checksums_are_refused(void **state) {
    uint8_t h[] = SIG "\x21\x11\x00\x1a" V4 "\x03\x00\x04\0\0\0\0"
                      "\x03\x00\x04\0\0\0\0";
    size_t n = sizeof(h) - 1;
    struct wr w = wr_of(h + 31, 4);
    wr_u32(&w, crc32c(h, n));
    expect_failed(span_of(h, n), ERR_PROXY_MALFORMED);
}

static void other_protocols_are_missing_a_header(void **state) {
    const struct span other[] = {
        LIT("\x16\x03\x01"),
        LIT("G"),
        LIT("GET / HTTP/1.1\r\n"),
        LIT("POST / HTTP/1.1\r\n"),
        LIT("PROXYX"),
        LIT("PROXY\r\n"),
        LIT("proxy "),
        LIT("SSH-2.0-x\r\n"),
        LIT("\r\nX"),
        LIT("\r\n\r\n\0\r\nQUIT\r"),
        LIT("\0"),
        LIT("\n"),
    };
    for (size_t i = 0; i < ARRAY_LEN(other); i++)
        expect_failed(other[i], ERR_PROXY_MISSING);
}

static void every_beginning_wants_more(void **state) {
    uint8_t h[64];
    size_t n = with_crc(h);
    expect_steady(LIT("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"));
    expect_steady(LIT("PROXY TCP6 2001:db8::1 ::1 1 2\r\n"));
    expect_steady(LIT("PROXY UNKNOWN\r\n"));
    expect_steady(LIT(SIG "\x20\x00\x00\x00"));
    expect_steady(LIT(SIG "\x21\x11\x00\x0c" V4));
    expect_steady(LIT(SIG "\x21\x21\x00\x24" V6));
    expect_steady(span_of(h, n));
}

static void an_answer_is_written_only_on_success(void **state) {
    struct proxy_in got = {.len = 4711};
    int err = 0;
    (void)proxy_in_read(LIT("PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n"), &got, &err);
    (void)proxy_in_read(LIT(SIG "\x21\x11\x00\x0d" V4 "\x04"), &got, &err);
    (void)proxy_in_read(LIT("PROXY TCP4 1.2.3.4 "), &got, &err);
    assert_int_equal(got.len, 4711);
    assert_int_equal(got.client.family, AF_UNSPEC);
}

/* What the relay writes, the handshaker of the next tls-off reads. */
static void our_own_headers_come_back(void **state) {
    static const char *const ends[][2] = {
        {"1.2.3.4:5", "6.7.8.9:10"}, {"[2001:db8::1]:5", "[::1]:443"}, {"[2001:db8::1]:5", "6.7.8.9:443"}};
    static const enum proxy_send sends[] = {PROXY_SEND_V1, PROXY_SEND_V2};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        for (size_t k = 0; k < ARRAY_LEN(sends); k++) {
            uint8_t mem[PROXY_HEADER_MAX];
            struct wr w = wr_of(mem, sizeof(mem));
            const struct conf_service s = {.proxy_send = sends[k], .proxy_tlvs = ~0u};
            struct conn_info f = {
                .tls_version = TLS_1_3, .suite = 0x1301, .sni = span_str("a.example"), .alpn = span_str("h2")};
            assert_int_equal(addr_parse(ends[i][0], &f.client), 0);
            assert_int_equal(addr_parse(ends[i][1], &f.local), 0);
            proxy_header_write(&w, &s, &f);
            assert_true(wr_end(&w));
            expect_header(wr_written(&w), ends[i][0], ends[i][1]);
            expect_steady(wr_written(&w));
            f.client = (struct addr){0};
            w = wr_of(mem, sizeof(mem));
            proxy_header_write(&w, &s, &f);
            expect_local(wr_written(&w));
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(v1_addresses),
        cmocka_unit_test(v1_families_may_be_mixed),
        cmocka_unit_test(v1_unknown_is_local),
        cmocka_unit_test(v1_takes_107_bytes_and_no_more),
        cmocka_unit_test(v1_malformed),
        cmocka_unit_test(v2_addresses),
        cmocka_unit_test(v2_other_families_are_local),
        cmocka_unit_test(v2_local_discards_the_block),
        cmocka_unit_test(v2_malformed),
        cmocka_unit_test(v2_takes_2048_bytes_behind_its_head),
        cmocka_unit_test(a_right_checksum_is_taken),
        cmocka_unit_test(a_flipped_bit_anywhere_is_refused),
        cmocka_unit_test(two_checksums_are_refused),
        cmocka_unit_test(other_protocols_are_missing_a_header),
        cmocka_unit_test(every_beginning_wants_more),
        cmocka_unit_test(an_answer_is_written_only_on_success),
        cmocka_unit_test(our_own_headers_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
