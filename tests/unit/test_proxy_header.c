/* Expected bytes are written out by hand from proxy-protocol.txt 2.1 and 2.2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "relay/proxy_header.h"
#include "tls/cert_alg.h"
#include "tls/hostname.h"
#include "tls/suite.h"

#define SIG "\r\n\r\n\0\r\nQUIT\n"

static uint8_t mem[PROXY_HEADER_MAX];

static struct addr addr_of(const char *text) {
    struct addr a;
    assert_int_equal(addr_parse(text, &a), 0);
    return a;
}

static struct conn_info conn_info_of(const char *client, const char *local) {
    struct conn_info f = {.tls_version = TLS_1_3, .suite = 0x1301};
    if (client)
        f.client = addr_of(client);
    if (local)
        f.local = addr_of(local);
    for (size_t i = 0; i < sizeof(f.unique_id); i++)
        f.unique_id[i] = (uint8_t)(0xa0 + i);
    f.sni = span_str("example.org");
    f.alpn = span_str("h2");
    return f;
}

static struct span header(enum proxy_send send, unsigned tlvs, const struct conn_info *f) {
    const struct conf_service s = {.proxy_send = send, .proxy_tlvs = tlvs};
    struct wr w = wr_of(mem, sizeof(mem));
    proxy_header_write(&w, &s, f);
    assert_true(wr_end(&w));
    return wr_written(&w);
}

#define assert_bytes(got, want)                                                                                                \
    do {                                                                                                                       \
        struct span got_ = (got);                                                                                              \
        assert_int_equal(got_.len, sizeof(want) - 1);                                                                          \
        assert_memory_equal(got_.p, want, sizeof(want) - 1);                                                                   \
    } while (0)

static void none_writes_nothing(void **state) {
    struct conn_info f = conn_info_of("1.2.3.4:5", "6.7.8.9:10");
    assert_int_equal(header(PROXY_SEND_NONE, ~0u, &f).len, 0);
}

static void v1_ipv4(void **state) {
    struct conn_info f = conn_info_of("192.168.0.1:56324", "192.168.0.11:443");
    assert_bytes(header(PROXY_SEND_V1, ~0u, &f), "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n");
}

/* Somebody is there, whose address is not one: all but addresses. */
static void a_process_has_no_address(void **state) {
    struct conn_info f = conn_info_of(NULL, NULL);
    f.client = addr_of_process(1000, 100, 4711);
    assert_bytes(header(PROXY_SEND_V1, ~0u, &f), "PROXY UNKNOWN\r\n");
    assert_bytes(header(PROXY_SEND_V2, TLV_ALPN, &f), SIG "\x21\x00\x00\x05\x01\x00\x02h2");
    assert_bytes(header(PROXY_SEND_V2, 0, &f), SIG "\x21\x00\x00\x00");
}

static void v1_ipv6(void **state) {
    struct conn_info f = conn_info_of("[2001:db8::1]:1", "[::1]:65535");
    assert_bytes(header(PROXY_SEND_V1, 0, &f), "PROXY TCP6 2001:db8::1 ::1 1 65535\r\n");
}

static void v1_longest_address_fits_107_bytes(void **state) {
    struct conn_info f =
        conn_info_of("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
    struct span h = header(PROXY_SEND_V1, 0, &f);
    assert_int_equal(h.len, 104);
    assert_memory_equal(h.p + h.len - 2, "\r\n", 2);
}

static void v1_mixed_families_go_as_ipv6(void **state) {
    struct conn_info f = conn_info_of("1.2.3.4:5", "[::1]:443");
    assert_bytes(header(PROXY_SEND_V1, 0, &f), "PROXY TCP6 ::ffff:1.2.3.4 ::1 5 443\r\n");
}

static void v1_unknown_client(void **state) {
    struct conn_info f = conn_info_of(NULL, "1.2.3.4:443");
    assert_bytes(header(PROXY_SEND_V1, 0, &f), "PROXY UNKNOWN\r\n");
}

static void v1_unknown_destination_is_the_unspecified_address(void **state) {
    struct conn_info f = conn_info_of("1.2.3.4:5", NULL);
    assert_bytes(header(PROXY_SEND_V1, 0, &f), "PROXY TCP4 1.2.3.4 0.0.0.0 5 0\r\n");
    f = conn_info_of("[::1]:5", NULL);
    assert_bytes(header(PROXY_SEND_V1, 0, &f), "PROXY TCP6 ::1 :: 5 0\r\n");
}

static void v2_ipv4_without_tlvs(void **state) {
    struct conn_info f = conn_info_of("1.2.3.4:258", "5.6.7.8:443");
    assert_bytes(header(PROXY_SEND_V2, 0, &f), SIG "\x21\x11\x00\x0c"
                                                   "\x01\x02\x03\x04\x05\x06\x07\x08\x01\x02\x01\xbb");
}

static void v2_ipv6_without_tlvs(void **state) {
    struct conn_info f = conn_info_of("[2001:db8::1]:258", "[::1]:443");
    assert_bytes(header(PROXY_SEND_V2, 0, &f), SIG "\x21\x21\x00\x24"
                                                   "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
                                                   "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
                                                   "\x01\x02\x01\xbb");
}

static void v2_mixed_families_go_as_ipv6(void **state) {
    struct conn_info f = conn_info_of("[2001:db8::1]:258", "1.2.3.4:443");
    assert_bytes(header(PROXY_SEND_V2, 0, &f), SIG "\x21\x21\x00\x24"
                                                   "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
                                                   "\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x02\x03\x04"
                                                   "\x01\x02\x01\xbb");
}

static void v2_unknown_client_is_local_and_bare(void **state) {
    struct conn_info f = conn_info_of(NULL, "1.2.3.4:443");
    assert_bytes(header(PROXY_SEND_V2, ~0u, &f), SIG "\x20\x00\x00\x00");
}

#define V4_HEAD(len) SIG "\x21\x11\x00" len "\x01\x02\x03\x04\x05\x06\x07\x08\x01\x02\x01\xbb"

static void v2_alpn_and_authority(void **state) {
    struct conn_info f = conn_info_of("1.2.3.4:258", "5.6.7.8:443");
    assert_bytes(header(PROXY_SEND_V2, TLV_ALPN | TLV_AUTHORITY, &f), V4_HEAD("\x1f") "\x01\x00\x02h2"
                                                                                      "\x02\x00\x0b"
                                                                                      "example.org");
}

/* The connection info has what the client has sent; what is no host name is none to the backend. */
static void v2_authority_is_a_host_name(void **state) {
    static const char *const other[] = {"::1", "192.0.2.1", "a b", "a\xc3\xa4.example", "*.example.org", "."};
    struct conn_info f = conn_info_of("1.2.3.4:258", "5.6.7.8:443");
    for (size_t i = 0; i < ARRAY_LEN(other); i++) {
        f.sni = span_str(other[i]);
        assert_bytes(header(PROXY_SEND_V2, TLV_AUTHORITY, &f), V4_HEAD("\x0c"));
    }
}

static void v2_what_is_not_known_is_omitted(void **state) {
    struct conn_info f = conn_info_of("1.2.3.4:258", "5.6.7.8:443");
    f.sni = f.alpn = (struct span){NULL, 0};
    f.tls_version = 0; /* passthrough */
    assert_bytes(header(PROXY_SEND_V2, TLV_ALPN | TLV_AUTHORITY | TLV_SSL, &f), V4_HEAD("\x0c"));
}

static void v2_unique_id_is_raw(void **state) {
    struct conn_info f = conn_info_of("1.2.3.4:258", "5.6.7.8:443");
    assert_bytes(header(PROXY_SEND_V2, TLV_UNIQUE_ID, &f),
                 V4_HEAD("\x1f") "\x05\x00\x10\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab\xac\xad\xae\xaf");
}

static void v2_ssl_of_tls_1_3(void **state) {
    struct conn_info f = conn_info_of("1.2.3.4:258", "5.6.7.8:443");
    assert_bytes(header(PROXY_SEND_V2, TLV_SSL, &f), V4_HEAD("\x37") "\x20\x00\x28\x01\x00\x00\x00\x01"
                                                                     "\x21\x00\x07TLSv1.3"
                                                                     "\x23\x00\x16TLS_AES_128_GCM_SHA256");
}

static void v2_ssl_of_tls_1_2(void **state) {
    struct conn_info f = conn_info_of("1.2.3.4:258", "5.6.7.8:443");
    f.tls_version = TLS_1_2;
    f.suite = 0xc02f;
    assert_bytes(header(PROXY_SEND_V2, TLV_SSL, &f), V4_HEAD("\x3c") "\x20\x00\x2d\x01\x00\x00\x00\x01"
                                                                     "\x21\x00\x07TLSv1.2"
                                                                     "\x23\x00\x1b"
                                                                     "ECDHE-RSA-AES128-GCM-SHA256");
}

/* A header's SSL block: its client bits and verify result, and what follows them. */
static struct span ssl_block(unsigned tlvs, const struct conn_info *f, uint8_t *ret_bits, uint32_t *ret_verify) {
    struct span h = header(PROXY_SEND_V2, tlvs, f);
    struct rd r = rd_of(span_of(h.p + 16 + 12, h.len - 16 - 12));
    assert_int_equal(rd_u8(&r), 0x20);
    struct rd in = rd_of(rd_vec16(&r));
    assert_true(rd_end(&r));
    *ret_bits = rd_u8(&in);
    *ret_verify = rd_u32(&in);
    return rd_bytes(&in, rd_left(&in));
}

static struct conn_info conn_info_with_client(void) {
    struct conn_info f = conn_info_of("1.2.3.4:258", "5.6.7.8:443");
    f.group = 0x0017;
    f.sig_scheme = 0x0403;
    f.cert_sig = CERT_SIG_ECDSA_SHA256;
    f.cert_key = CERT_KEY_EC;
    f.cert_key_bits = 256;
    f.id = (struct conn_info_client){
        .verified = true, .identity_source = IDENTITY_CN, .name = span_str("robot"), .cn = span_str("robot")};
    f.id.cert = span_str("DER");
    return f;
}

#define SERVER_SIDE                                                                                                            \
    "\x21\x00\x07TLSv1.3"                                                                                                      \
    "\x23\x00\x16TLS_AES_128_GCM_SHA256"                                                                                       \
    "\x24\x00\x11"                                                                                                             \
    "ecdsa-with-SHA256"                                                                                                        \
    "\x25\x00\x05"                                                                                                             \
    "EC256"                                                                                                                    \
    "\x26\x00\x09secp256r1"                                                                                                    \
    "\x27\x00\x16"                                                                                                             \
    "ecdsa_secp256r1_sha256"

static void v2_ssl_has_our_side(void **state) {
    uint8_t bits;
    uint32_t verify;
    struct conn_info f = conn_info_with_client();
    f.id = (struct conn_info_client){0};
    assert_bytes(ssl_block(TLV_SSL | TLV_CLIENT_CERT, &f, &bits, &verify), SERVER_SIDE);
    assert_int_equal(bits, 0x01);
    assert_int_not_equal(verify, 0);
}

static void v2_ssl_has_a_verified_client(void **state) {
    uint8_t bits;
    uint32_t verify;
    struct conn_info f = conn_info_with_client();
    assert_bytes(ssl_block(TLV_SSL, &f, &bits, &verify), SERVER_SIDE "\x22\x00\x05robot");
    assert_int_equal(bits, 0x07); /* TLS, a certificate in this connection and in this session */
    assert_int_equal(verify, 0);
    assert_bytes(ssl_block(TLV_SSL | TLV_CLIENT_CERT, &f, &bits, &verify), SERVER_SIDE "\x22\x00\x05robot\x28\x00\x03"
                                                                                       "DER");
    f.id.cn = span_of(NULL, 0);
    assert_bytes(ssl_block(TLV_SSL, &f, &bits, &verify), SERVER_SIDE);
    assert_int_equal(verify, 0);
}

static void v2_ssl_of_a_resumed_session_says_that_the_certificate_came_earlier(void **state) {
    uint8_t bits;
    uint32_t verify;
    struct conn_info f = conn_info_with_client();
    f.resumed = true;
    (void)ssl_block(TLV_SSL, &f, &bits, &verify);
    assert_int_equal(bits, 0x05);
    assert_int_equal(verify, 0);
}

static void the_longest_header_fits(void **state) {
    static uint8_t bytes[CONN_INFO_CERT_MAX];
    struct conn_info f = conn_info_with_client();
    f.client = addr_of("[2001:db8::1]:258");
    f.suite = 0xc02c;
    f.tls_version = TLS_1_2;
    f.group = 0x11ec;
    char name[HOSTNAME_MAX]; /* in labels of 15 */
    for (size_t i = 0; i < sizeof(name); i++)
        name[i] = i % 16 == 15 ? '.' : 'a';
    name[sizeof(name) - 1] = 'a';
    f.sni = span_of(name, sizeof(name));
    f.alpn = f.id.cn = span_of(bytes, 255);
    f.id.name = span_of(bytes, CONN_INFO_NAME_MAX);
    f.id.cert = span_of(bytes, sizeof(bytes));
    assert_true(header(PROXY_SEND_V2, ~0u, &f).len > CONN_INFO_CERT_MAX + CONN_INFO_NAME_MAX + 3 * 255);
}

static void v2_has_the_name_that_let_the_client_in(void **state) {
    struct conn_info f = conn_info_of("1.2.3.4:258", "5.6.7.8:443");
    f.id = (struct conn_info_client){
        .verified = true, .identity_source = IDENTITY_URI, .name = span_str("a:b"), .cn = span_str("robot")};
    assert_bytes(header(PROXY_SEND_V2, TLV_CLIENT_NAME, &f), V4_HEAD("\x16") "\xe0\x00\x07uri:a:b");
    f.id.identity_source = IDENTITY_NOTHING; /* let in for its CA alone */
    f.id.name = span_of(NULL, 0);
    assert_bytes(header(PROXY_SEND_V2, TLV_CLIENT_NAME, &f), V4_HEAD("\x0c"));
    f.id.verified = false;
    assert_bytes(header(PROXY_SEND_V2, TLV_CLIENT_NAME, &f), V4_HEAD("\x0c"));
}

static void every_suite_has_a_name_that_fits(void **state) {
    const struct suite *suite;
    for (size_t i = 0; (suite = suite_at(i)); i++) {
        struct conn_info f = conn_info_of("1.2.3.4:258", "5.6.7.8:443");
        f.tls_version = suite->version;
        f.suite = suite->id;
        struct span h = header(PROXY_SEND_V2, TLV_SSL, &f);
        size_t n = strlen(suite->openssl_name);
        assert_true(h.len > n);
        assert_memory_equal(h.p + h.len - n, suite->openssl_name, n);
    }
}

/* Computed elsewhere, bit by bit from the polynomial. */
static void v2_crc32c_of_a_known_header(void **state) {
    struct conn_info f = conn_info_of("1.2.3.4:258", "5.6.7.8:443");
    assert_bytes(header(PROXY_SEND_V2, TLV_CRC32C, &f), V4_HEAD("\x13") "\x03\x00\x04\xe8\x8f\x56\x3d");
}

static void v2_crc32c_is_over_the_whole_header(void **state) {
    struct conn_info f = conn_info_of("1.2.3.4:258", "5.6.7.8:443");
    struct span h = header(PROXY_SEND_V2, ~0u, &f);
    uint8_t copy[PROXY_HEADER_MAX];
    memcpy(copy, h.p, h.len);
    uint8_t *tlv = copy + h.len - 7;
    assert_memory_equal(tlv, "\x03\x00\x04", 3);
    uint32_t got = (uint32_t)tlv[3] << 24 | (uint32_t)tlv[4] << 16 | (uint32_t)tlv[5] << 8 | tlv[6];
    memset(tlv + 3, 0, 4);
    assert_int_equal(got, crc32c(copy, h.len));
    assert_int_equal(h.p[14] << 8 | h.p[15], h.len - 16);
}

static void it_may_stand_behind_other_bytes(void **state) {
    struct conn_info f = conn_info_of("1.2.3.4:258", "5.6.7.8:443");
    struct span alone = header(PROXY_SEND_V2, ~0u, &f);
    uint8_t copy[PROXY_HEADER_MAX];
    memcpy(copy, alone.p, alone.len);
    const struct conf_service s = {.proxy_send = PROXY_SEND_V2, .proxy_tlvs = ~0u};
    struct wr w = wr_of(mem, sizeof(mem));
    wr_u24(&w, 0x616263);
    proxy_header_write(&w, &s, &f);
    assert_true(wr_end(&w));
    assert_int_equal(w.len, alone.len + 3);
    assert_memory_equal(mem + 3, copy, alone.len);
}

static void what_does_not_fit_is_reported_and_not_written(void **state) {
    struct conn_info f = conn_info_of("[ffff::ffff]:65535", "[ffff::fffe]:65535");
    size_t whole = header(PROXY_SEND_V2, ~0u, &f).len;
    static const enum proxy_send sends[] = {PROXY_SEND_V1, PROXY_SEND_V2};
    for (size_t k = 0; k < ARRAY_LEN(sends); k++) {
        const struct conf_service s = {.proxy_send = sends[k], .proxy_tlvs = ~0u};
        for (size_t cap = 0; cap < (sends[k] == PROXY_SEND_V1 ? 40 : whole); cap++) {
            uint8_t *exact = malloc(cap + 1); /* the sanitizer watches its end */
            struct wr w = wr_of(exact, cap);
            proxy_header_write(&w, &s, &f);
            assert_false(wr_end(&w));
            free(exact);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_writes_nothing),
        cmocka_unit_test(v1_ipv4),
        cmocka_unit_test(a_process_has_no_address),
        cmocka_unit_test(v1_ipv6),
        cmocka_unit_test(v1_longest_address_fits_107_bytes),
        cmocka_unit_test(v1_mixed_families_go_as_ipv6),
        cmocka_unit_test(v1_unknown_client),
        cmocka_unit_test(v1_unknown_destination_is_the_unspecified_address),
        cmocka_unit_test(v2_ipv4_without_tlvs),
        cmocka_unit_test(v2_ipv6_without_tlvs),
        cmocka_unit_test(v2_mixed_families_go_as_ipv6),
        cmocka_unit_test(v2_unknown_client_is_local_and_bare),
        cmocka_unit_test(v2_alpn_and_authority),
        cmocka_unit_test(v2_authority_is_a_host_name),
        cmocka_unit_test(v2_what_is_not_known_is_omitted),
        cmocka_unit_test(v2_unique_id_is_raw),
        cmocka_unit_test(v2_ssl_of_tls_1_3),
        cmocka_unit_test(v2_ssl_of_tls_1_2),
        cmocka_unit_test(v2_ssl_has_our_side),
        cmocka_unit_test(v2_ssl_has_a_verified_client),
        cmocka_unit_test(v2_ssl_of_a_resumed_session_says_that_the_certificate_came_earlier),
        cmocka_unit_test(the_longest_header_fits),
        cmocka_unit_test(v2_has_the_name_that_let_the_client_in),
        cmocka_unit_test(every_suite_has_a_name_that_fits),
        cmocka_unit_test(v2_crc32c_of_a_known_header),
        cmocka_unit_test(v2_crc32c_is_over_the_whole_header),
        cmocka_unit_test(it_may_stand_behind_other_bytes),
        cmocka_unit_test(what_does_not_fit_is_reported_and_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
