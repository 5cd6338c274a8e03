/* Client certificates: what is asked for, what is taken, and the alert and reason of everything else (pitfalls C4 to C9). */
#include "tls/hs13.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hs13_cases.h"
#include "tls/sig_scheme.h"

static EVP_PKEY *client_key;
static X509 *client_cert;

static void end_well(void) {
    raw_finish(&rc);
    exchange_flights();
    expect_done();
}

static void send_raw(uint8_t type, struct span body) {
    static uint8_t message[70000];
    struct wr w = wr_of(message, sizeof(message));
    wr_u8(&w, type);
    wr_u24(&w, (uint32_t)body.len);
    wr_span(&w, body);
    hs13_keys_add(&rc.keys, wr_written(&w));
    for (size_t off = 0; off < w.len; off += 16000)
        raw_send(&rc, CONTENT_HANDSHAKE, span_of(message + off, MIN(w.len - off, (size_t)16000)));
}

/* C8 */
static void the_request_names_schemes_and_authorities(void **state) {
    (void)state;
    greet_us(strict, false);
    struct rd r = rd_of(span_of(rc.flight, rc.flight_len));
    (void)rd_u8(&r);
    (void)rd_vec24(&r); /* EncryptedExtensions */
    assert_int_equal(rd_u8(&r), MSG_CERTIFICATE_REQUEST);
    struct rd body = rd_of(rd_vec24(&r));
    assert_int_equal(rd_vec8(&body).len, 0);
    struct rd exts = rd_of(rd_vec16(&body));
    assert_true(rd_end(&body));
    assert_int_equal(rd_u16(&exts), EXT_SIGALGS);
    struct rd e = rd_of(rd_vec16(&exts)), list = rd_of(rd_vec16(&e));
    assert_true(rd_end(&e));
    for (size_t i = 0; sig_scheme_at(i); i++)
        assert_int_equal(rd_u16(&list), sig_scheme_at(i));
    assert_true(rd_end(&list));
    assert_int_equal(rd_u16(&exts), 47);
    e = rd_of(rd_vec16(&exts));
    list = rd_of(rd_vec16(&e));
    assert_true(rd_end(&e) && rd_end(&exts)); /* no compress_certificate: nothing of a client's is decompressed */
    struct span name = rd_vec16(&list);
    uint8_t *der = NULL;
    int len = i2d_X509_NAME(X509_get_subject_name(ca), &der);
    assert_true(rd_end(&list) && span_eq(name, span_of(der, (size_t)len)));
    OPENSSL_free(der);
}

static void a_certificate_and_its_proof_let_in(void **state) {
    (void)state;
    struct tls_server *both[] = {strict, lax};
    for (size_t i = 0; i < 2; i++) {
        struct handshake_result r;
        greet_us(both[i], false);
        show_certificate(client_cert);
        prove(client_key);
        raw_finish(&rc);
        exchange_flights();
        assert_int_equal(last, HS13_DONE);
        assert_int_equal(hs13_finish(conn.h, &r), 0);
        assert_true(r.client && r.client->verified);
        assert_int_equal(r.client->cn_len, 5);
        assert_memory_equal(r.client->cn, "robot", 5);
        assert_int_equal(r.client_cert.len, both[i] == strict ? (size_t)i2d_X509(client_cert, NULL) : 0);
    }
    greet_us(lax, false);
    show_certificate(NULL);
    end_well();
    greet_us(strict, false);
    show_certificate(NULL);
    exchange_flights();
    expect_refusal(ERR_CLIENT_CERT_MISSING, ALERT_CERTIFICATE_REQUIRED, RAW_SESSION);
}

/* C4: the scheme is one that was asked for, and this key's. */
static void a_proof_by_another_scheme_is_an_illegal_parameter(void **state) {
    (void)state;
    static const uint16_t schemes[] = {0x0401, 0x0501, 0x0203, 0x0201, 0x0503, 0x0603,
                                       0x0804, 0x0809, 0x0807, 0x0808, 0,      0x0a0a};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        uint8_t message[1024];
        greet_us(strict, false);
        show_certificate(client_cert);
        size_t len = make_proof(client_key, schemes[i], "SHA256", false, false, message);
        raw_send(&rc, CONTENT_HANDSHAKE, span_of(message, len));
        exchange_flights();
        expect_refusal(ERR_RECORD_ILLEGAL, ALERT_ILLEGAL_PARAMETER, RAW_SESSION);
    }
}

/* Every kind of key, by all schemes that are its, and by none else. */
static void each_key_proves_by_its_schemes(void **state) {
    (void)state;
    static const struct {
        const char *type;
        uint16_t scheme;
        const char *digest;
        bool pss;
    } rows[] = {
        {"EC:P-256", 0x0403, "SHA256", false},    {"EC:P-384", 0x0503, "SHA384", false},
        {"EC:P-521", 0x0603, "SHA512", false},    {"ED25519", 0x0807, NULL, false},
        {"RSA:2048", 0x0804, "SHA256", true},     {"RSA:2048", 0x0805, "SHA384", true},
        {"RSA:2048", 0x0806, "SHA512", true},     {"RSA-PSS:2048", 0x0809, "SHA256", true},
        {"RSA-PSS:2048", 0x080a, "SHA384", true}, {"RSA-PSS:2048", 0x080b, "SHA512", true},
    };
    EVP_PKEY *keys[ARRAY_LEN(rows)];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        keys[i] = i && strcmp(rows[i].type, rows[i - 1].type) == 0 ? keys[i - 1] : make_key(rows[i].type);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t j = 0; j < ARRAY_LEN(rows); j++) {
            uint8_t message[1024];
            X509 *cert = issue(keys[i], "robot");
            greet_us(strict, false);
            show_certificate(cert);
            size_t len = make_proof(keys[i], rows[j].scheme, rows[i].digest, rows[i].pss, false, message);
            raw_message(&rc, span_of(message, len));
            bool own_scheme = i == j;
            for (size_t k = 0; k < ARRAY_LEN(rows); k++) /* RSA keys have three each */
                own_scheme |= k == j && strcmp(rows[k].type, rows[i].type) == 0;
            exchange_flights();
            if (i == j)
                end_well();
            else if (own_scheme) /* but it was signed with another hash */
                expect_refusal(ERR_CLIENT_CERT_PROOF, ALERT_DECRYPT_ERROR, RAW_SESSION);
            else
                expect_refusal(ERR_RECORD_ILLEGAL, ALERT_ILLEGAL_PARAMETER, RAW_SESSION);
            X509_free(cert);
        }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (!i || keys[i] != keys[i - 1])
            EVP_PKEY_free(keys[i]);
}

/* C4: of another context, another transcript, another key, or with a bit changed. */
static void a_wrong_proof_is_a_decrypt_error(void **state) {
    (void)state;
    EVP_PKEY *other = make_key("EC:P-256");
    for (int what = 0; what < 5; what++) {
        uint8_t message[1024];
        size_t len;
        greet_us(strict, false);
        struct hs13_keys short_by_one = rc.keys;
        show_certificate(client_cert);
        struct hs13_keys now = rc.keys;
        if (what == 1)
            rc.keys = short_by_one;
        len = make_proof(what == 2 ? other : client_key, 0x0403, "SHA256", false, what == 0, message);
        rc.keys = now;
        if (what == 3)
            message[len - 1] ^= 1;
        if (what == 4) {
            len = 8; /* no signature at all */
            message[3] = 4;
            message[6] = message[7] = 0;
        }
        raw_send(&rc, CONTENT_HANDSHAKE, span_of(message, len));
        exchange_flights();
        expect_refusal(ERR_CLIENT_CERT_PROOF, ALERT_DECRYPT_ERROR, RAW_SESSION);
    }
    EVP_PKEY_free(other);
}

/* C5 */
static void a_malformed_certificate_message_is_distinguished(void **state) {
    (void)state;
    static const struct {
        struct span body;
        int err, alert;
    } rows[] = {
        {{(const uint8_t *)"\1x\0\0\0", 5}, ERR_RECORD_DECODE, ALERT_DECODE_ERROR},                 /* a context */
        {{(const uint8_t *)"\0\0\0\0x", 5}, ERR_RECORD_DECODE, ALERT_DECODE_ERROR},                 /* a tail */
        {{(const uint8_t *)"\0\0\0\5\0\0\0\0\0", 9}, ERR_RECORD_DECODE, ALERT_DECODE_ERROR},        /* an empty entry */
        {{(const uint8_t *)"\0\0\0\4\0\0\1x", 8}, ERR_RECORD_DECODE, ALERT_DECODE_ERROR},           /* without its extensions */
        {{(const uint8_t *)"\0\0\0\6\0\0\1x\0\0", 10}, ERR_CLIENT_CERT_BAD, ALERT_BAD_CERTIFICATE}, /* no DER */
        {{(const uint8_t *)"\0", 1}, ERR_RECORD_DECODE, ALERT_DECODE_ERROR},
        {{NULL, 0}, ERR_RECORD_DECODE, ALERT_DECODE_ERROR},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        greet_us(strict, false);
        send_raw(MSG_CERTIFICATE, rows[i].body);
        exchange_flights();
        expect_refusal(rows[i].err, rows[i].alert, RAW_SESSION);
    }
}

/* What DER says is behind its length, and a certificate one byte short or long. */
static void a_certificate_is_read_to_its_end(void **state) {
    (void)state;
    uint8_t *der = NULL, longer[4096], message[8192];
    int len = i2d_X509(client_cert, &der);
    for (int change = -1; change <= 1; change += 2) {
        memcpy(longer, der, (size_t)len);
        longer[len] = 0;
        struct span s = span_of(longer, (size_t)(len + change));
        greet_us(strict, false);
        raw_message(&rc, span_of(message, write_chain(message, sizeof(message), &s, 1, span_of(NULL, 0))));
        exchange_flights();
        expect_refusal(ERR_CLIENT_CERT_BAD, ALERT_BAD_CERTIFICATE, RAW_SESSION);
    }
    struct span s = span_of(der, (size_t)len);
    greet_us(strict, false); /* an extension that we have not asked for: a staple */
    raw_message(&rc, span_of(message, write_chain(message, sizeof(message), &s, 1, RAW_LIT("\0\5\0\0"))));
    exchange_flights();
    expect_refusal(ERR_CLIENT_CERT_EXTENSION, ALERT_UNSUPPORTED_EXTENSION, RAW_SESSION);
    OPENSSL_free(der);
}

/* C5, C7: bytes and count are bounded before anything is decoded. */
static void a_chain_is_bounded(void **state) {
    (void)state;
    static uint8_t message[64 * 1024];
    uint8_t *der = NULL;
    int len = i2d_X509(client_cert, &der), ca_len;
    uint8_t *ca_der = NULL;
    ca_len = i2d_X509(ca, &ca_der);
    enum { MOST = CASE_DEPTH + CLIENT_CHAIN_SPARE };
    for (size_t n = MOST; n <= MOST + 1; n++) {
        struct span ders[MOST + 1];
        ders[0] = span_of(der, (size_t)len);
        for (size_t i = 1; i < n; i++)
            ders[i] = span_of(ca_der, (size_t)ca_len);
        greet_us(strict, false);
        raw_message(&rc, span_of(message, write_chain(message, sizeof(message), ders, n, span_of(NULL, 0))));
        exchange_flights();
        if (n > MOST) {
            expect_refusal(ERR_CLIENT_CERT_DEPTH, ALERT_BAD_CERTIFICATE, RAW_SESSION);
            assert_string_equal(hs13_detail(conn.h), "found 13 certificates, expected at most 12");
            continue;
        }
        assert_int_equal(last, HS13_WANT_READ);
        prove(client_key);
        end_well();
    }
    const uint8_t head[] = {MSG_CERTIFICATE, 0, (CLIENT_CHAIN_MAX + 1) >> 8 & 0xff, (CLIENT_CHAIN_MAX + 1) & 0xff};
    greet_us(strict, false);
    raw_send(&rc, CONTENT_HANDSHAKE, span_of(head, 3));
    assert_int_equal(exchange_flights(), HS13_WANT_READ);
    assert_in_range(hs13_held(conn.h), 3, 1024);            /* by what came, not by what is announced (E15) */
    raw_send(&rc, CONTENT_HANDSHAKE, span_of(head + 3, 1)); /* its header is enough */
    exchange_flights();
    expect_refusal(ERR_CLIENT_CERT_LARGE, ALERT_BAD_CERTIFICATE, RAW_SESSION);
    OPENSSL_free(der);
    OPENSSL_free(ca_der);
}

/* P11: as much as is taken; the ticket behind it is small. */
static void a_chain_of_30_KB_is_read(void **state) {
    (void)state;
    static uint8_t message[64 * 1024];
    char san[14000] = "DNS:robot.example.org";
    size_t at = strlen(san);
    for (int i = 0; i < 200; i++)
        at += (size_t)snprintf(san + at, sizeof(san) - at, ",DNS:a-name-that-takes-its-time-%d.example.org", i);
    EVP_PKEY *other = make_key("EC:P-256");
    X509 *large = make_cert(client_key, &(struct make_spec){.cn = "robot", .san = san, .issuer = ca, .issuer_key = ca_key});
    X509 *beside = make_cert(other, &(struct make_spec){.cn = "nobody", .san = san});
    uint8_t *der = NULL, *beside_der = NULL;
    int len = i2d_X509(large, &der), beside_len = i2d_X509(beside, &beside_der);
    struct span ders[] = {span_of(der, (size_t)len), span_of(beside_der, (size_t)beside_len),
                          span_of(beside_der, (size_t)beside_len)};
    greet_us(lax, false);
    size_t whole = write_chain(message, sizeof(message), ders, 3, span_of(NULL, 0));
    assert_in_range(whole, 25000, CLIENT_CHAIN_MAX);
    hs13_keys_add(&rc.keys, span_of(message, whole));
    for (size_t off = 0; off < whole; off += 10000)
        raw_send(&rc, CONTENT_HANDSHAKE, span_of(message + off, MIN(whole - off, (size_t)10000)));
    assert_int_equal(exchange_flights(), HS13_WANT_READ);
    size_t held = CLIENT_CERT_EXPANSION * (size_t)len + 2 * (size_t)beside_len; /* what came with the leaf, as it came */
    assert_in_range(hs13_held(conn.h), held, held + (size_t)len + 1024);
    prove(client_key);
    end_well();
    assert_int_equal(rc.tickets, 1);
    assert_in_range(rc.ticket_len, 100, 1200);
    OPENSSL_free(der);
    OPENSSL_free(beside_der);
    X509_free(large);
    X509_free(beside);
    EVP_PKEY_free(other);
}

/* R3 */
static void a_certificate_may_come_in_records_of_one_byte(void **state) {
    (void)state;
    uint8_t message[4096], *der = NULL;
    int len = i2d_X509(client_cert, &der);
    struct span s = span_of(der, (size_t)len);
    size_t whole = write_chain(message, sizeof(message), &s, 1, span_of(NULL, 0));
    greet_us(strict, false);
    hs13_keys_add(&rc.keys, span_of(message, whole));
    for (size_t off = 0; off < whole; off++)
        raw_send(&rc, CONTENT_HANDSHAKE, span_of(message + off, 1));
    prove(client_key);
    end_well();
    OPENSSL_free(der);
}

static void but_not_in_endless_ones(void **state) {
    (void)state;
    static const uint8_t head[] = {MSG_CERTIFICATE, 0, 0x7f, 0xff};
    greet_us(strict, false);
    for (size_t i = 0; i <= HANDSHAKE_FRAGMENTS_MAX + 1 && last == HS13_WANT_READ; i++) {
        raw_send(&rc, CONTENT_HANDSHAKE, i < 4 ? span_of(head + i, 1) : RAW_LIT("\0"));
        if (i % 1000 == 0 || i > HANDSHAKE_FRAGMENTS_MAX)
            exchange_flights();
    }
    expect_refusal(ERR_RECORD_FLOOD, ALERT_UNEXPECTED_MESSAGE, RAW_SESSION);
}

/* C6: "optional" is about absence alone. */
static void a_bad_certificate_is_refused_where_none_is_needed(void **state) {
    (void)state;
    EVP_PKEY *key = make_key("EC:P-256"), *stranger = make_key("EC:P-256");
    const long hour = 3600;
    static const struct {
        int err, alert;
    } wants[] = {{ERR_CLIENT_CERT_EXPIRED, ALERT_CERTIFICATE_EXPIRED},
                 {ERR_CLIENT_CERT_EARLY, ALERT_CERTIFICATE_EXPIRED},
                 {ERR_CLIENT_CERT_UNKNOWN_CA, ALERT_UNKNOWN_CA}};
    for (size_t i = 0; i < ARRAY_LEN(wants); i++) {
        struct make_spec spec = {.cn = "robot", .issuer = ca, .issuer_key = ca_key, .begins_s = -2 * hour, .ends_s = -hour};
        if (i == 1)
            spec = (struct make_spec){.cn = "robot", .issuer = ca, .issuer_key = ca_key, .begins_s = hour, .ends_s = 2 * hour};
        if (i == 2)
            spec = (struct make_spec){.cn = "robot"};
        X509 *cert = make_cert(key, &spec);
        struct tls_server *both[] = {strict, lax};
        for (size_t s = 0; s < 2; s++) {
            greet_us(both[s], false);
            show_certificate(cert);
            prove(key);
            exchange_flights();
            expect_refusal(wants[i].err, wants[i].alert, RAW_SESSION);
        }
        X509_free(cert);
    }
    EVP_PKEY_free(key);
    EVP_PKEY_free(stranger);
}

/* Rules that come into use while the handshake is under way: nobody gets in whom they keep out. */
static void rules_that_change_meanwhile_judge_the_client(void **state) {
    (void)state;
    EVP_PKEY *other_key = make_key("EC:P-256"), *ca_before_key = ca_key;
    X509 *other = make_cert(other_key, &(struct make_spec){.cn = "another authority", .ca = true}), *ca_before = ca;
    for (int shown = 0; shown < 2; shown++)
        for (int keeps_out = 0; keeps_out < 2; keeps_out++) {
            struct tls_policy p = case_policy("web");
            p.clients = case_rules(false);
            struct tls_server *s = service_new(&p, shop.certs, tickets);
            greet_us(s, false);
            show_certificate(shown ? client_cert : NULL);
            if (shown)
                prove(client_key);
            assert_int_equal(exchange_flights(), HS13_WANT_READ);
            if (shown && keeps_out) {
                ca = other;
                ca_key = other_key;
            }
            assert_int_equal(tls_server_use_clients(s, case_rules(keeps_out)), 0);
            ca = ca_before;
            ca_key = ca_before_key;
            raw_finish(&rc);
            exchange_flights();
            if (!keeps_out)
                expect_done();
            else if (shown)
                expect_refusal(ERR_CLIENT_CERT_UNKNOWN_CA, ALERT_UNKNOWN_CA, RAW_SESSION);
            else
                expect_refusal(ERR_CLIENT_CERT_MISSING, ALERT_CERTIFICATE_REQUIRED, RAW_SESSION);
            end_case(NULL);
            tls_server_free(s);
        }
    X509_free(other);
    EVP_PKEY_free(other_key);
}

/* The reason comes with a line for the log. */
static void a_refusal_says_of_whom(void **state) {
    (void)state;
    EVP_PKEY *key = make_key("EC:P-256");
    X509 *cert = make_cert(key, &(struct make_spec){.cn = "stranger"});
    greet_us(lax, false);
    show_certificate(cert);
    exchange_flights();
    expect_refusal(ERR_CLIENT_CERT_UNKNOWN_CA, ALERT_UNKNOWN_CA, RAW_SESSION);
    assert_non_null(strstr(hs13_detail(conn.h), "stranger"));
    X509_free(cert);
    EVP_PKEY_free(key);
}

static int client_setup(void **state) {
    cases_setup(state);
    client_key = make_key("EC:P-256");
    client_cert = issue(client_key, "robot");
    return 0;
}

static int client_teardown(void **state) {
    X509_free(client_cert);
    EVP_PKEY_free(client_key);
    return cases_teardown(state);
}

int main(void) {
#define CASE(name) cmocka_unit_test_teardown(name, end_case)
    const struct CMUnitTest tests[] = {
        CASE(the_request_names_schemes_and_authorities),
        CASE(a_certificate_and_its_proof_let_in),
        CASE(a_proof_by_another_scheme_is_an_illegal_parameter),
        CASE(each_key_proves_by_its_schemes),
        CASE(a_wrong_proof_is_a_decrypt_error),
        CASE(a_malformed_certificate_message_is_distinguished),
        CASE(a_certificate_is_read_to_its_end),
        CASE(a_chain_is_bounded),
        CASE(a_chain_of_30_KB_is_read),
        CASE(a_certificate_may_come_in_records_of_one_byte),
        CASE(but_not_in_endless_ones),
        CASE(a_bad_certificate_is_refused_where_none_is_needed),
        CASE(rules_that_change_meanwhile_judge_the_client),
        CASE(a_refusal_says_of_whom),
    };
    return cmocka_run_group_tests(tests, client_setup, client_teardown);
}
