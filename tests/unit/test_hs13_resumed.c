/* What a resumed handshake settles again: nothing of the session before stands but who the client is (E9 to E11, C8, H4). */
#include "tls/hs13.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hs13_cases.h"

static struct {
    uint8_t bytes[HS13_TICKET_MAX], psk[HASH_LEN_MAX];
    size_t len;
} ticket;

static void keep_ticket(void) {
    raw_finish(&rc);
    exchange_flights();
    assert_int_equal(rc.tickets, 1);
    memcpy(ticket.bytes, rc.ticket, ticket.len = rc.ticket_len);
    memcpy(ticket.psk, rc.ticket_psk, sizeof(ticket.psk));
}

static void offer(void) {
    raw_offer_ticket(&rc, &hello, span_of(ticket.bytes, ticket.len), ticket.psk, HASH_SHA256);
}

/* Ends at our flight. */
static void resume(void) {
    offer();
    assert_int_equal(say_hello(), HS13_WANT_READ);
    assert_true(rc.resumed);
}

/* The types of our flight's messages, and the extensions of EncryptedExtensions in their order. */
static void read_flight(char types[static 8], uint16_t exts[static 8], size_t *ret_n) {
    struct rd r = rd_of(span_of(rc.flight, rc.flight_len));
    size_t n = 0;
    *ret_n = 0;
    while (rd_left(&r)) {
        types[n] = (char)rd_u8(&r);
        struct rd body = rd_of(rd_vec24(&r));
        if (types[n++] != MSG_ENCRYPTED_EXTENSIONS)
            continue;
        struct rd list = rd_of(rd_vec16(&body));
        while (rd_left(&list)) {
            exts[(*ret_n)++] = rd_u16(&list);
            (void)rd_vec16(&list);
        }
    }
    types[n] = 0;
}

/* What the hello asks for now is answered, not what it asked for before. */
static void extensions_are_answered_to_this_hello(void **state) {
    (void)state;
    static const char *const names[] = {"h2", "http/1.1"};
    struct tls_policy p = case_policy("web");
    p.alpn = names;
    p.nalpn = 2;
    struct tls_server *s = service_new(&p, shop.certs, tickets);
    char types[8];
    uint16_t exts[8];
    size_t n;
    struct handshake_result result;
    begin_case(s);
    raw_set(&hello, EXT_PROTOCOLS, RAW_LIT("\0\x0c\x08http/1.1\2h2"));
    raw_set(&hello, EXT_RSL, RAW_LIT("\2\0"));
    assert_int_equal(say_hello(), HS13_WANT_READ);
    keep_ticket();
    assert_int_equal(hs13_finish(conn.h, &result), 0);
    assert_memory_equal(result.alpn.p, "h2", 2);
    assert_int_equal(result.record_layer.out_max, 511);

    begin_case(s); /* nothing asked for: the name alone is used */
    resume();
    read_flight(types, exts, &n);
    assert_string_equal(types, "\x08\x14"); /* C8, E13: no request, no certificate, no staple */
    assert_int_equal(n, 1);
    assert_int_equal(exts[0], EXT_NAME);
    keep_ticket();
    assert_int_equal(hs13_finish(conn.h, &result), 0);
    assert_int_equal(result.alpn.len, 0);
    assert_int_equal(result.record_layer.out_max, RECORD_PLAIN_MAX);

    begin_case(s); /* another protocol, another limit, a staple, compression */
    raw_set(&hello, EXT_PROTOCOLS, RAW_LIT("\0\x09\x08http/1.1"));
    raw_set(&hello, EXT_RSL, RAW_LIT("\0\x40"));
    raw_set(&hello, EXT_STATUS, RAW_LIT("\1\0\0\0\0"));
    raw_set(&hello, EXT_COMPRESS, RAW_LIT("\2\0\1"));
    resume();
    read_flight(types, exts, &n);
    assert_string_equal(types, "\x08\x14");
    assert_true(rc.longest <= 63);
    keep_ticket();
    assert_true(rc.longest <= 63);
    assert_int_equal(hs13_finish(conn.h, &result), 0);
    assert_int_equal(result.alpn.len, 8);
    assert_int_equal(result.record_layer.out_max, 63);

    begin_case(s); /* none in common is none, resumed or not */
    raw_set(&hello, EXT_PROTOCOLS, RAW_LIT("\0\3\2h3"));
    offer();
    say_hello();
    expect_refusal(ERR_NO_ALPN, ALERT_NO_APPLICATION_PROTOCOL, RAW_PLAIN);
    end_case(NULL);
    tls_server_free(s);
}

/* Another suite of the same hash, another group. */
static void suite_and_group_are_chosen_again(void **state) {
    (void)state;
    struct handshake_result result;
    begin_case(server);
    assert_int_equal(say_hello(), HS13_WANT_READ);
    keep_ticket();
    begin_case(server);
    hello.suites = RAW_LIT("\x13\x03");
    raw_share(&rc, &hello, 0x0018);
    resume();
    keep_ticket();
    assert_int_equal(hs13_finish(conn.h, &result), 0);
    assert_int_equal(result.suite, 0x1303);
    assert_int_equal(result.group, 0x0018);
}

/* H4: clients may drop a ticket whose hash does not fit the suite of our HelloRetryRequest (RFC 8446 4.1.4). */
static void a_ticket_may_be_dropped_between_two_hellos(void **state) {
    (void)state;
    begin_case(server);
    assert_int_equal(say_hello(), HS13_WANT_READ);
    keep_ticket();
    begin_case(server);
    raw_set(&hello, EXT_SHARE, RAW_LIT("\0\0"));
    offer();
    assert_int_equal(say_hello(), HS13_WANT_READ);
    assert_true(rc.retry);
    raw_drop(&hello, EXT_PSK);
    raw_share(&rc, &hello, rc.retry_group);
    assert_int_equal(say_hello(), HS13_WANT_READ);
    assert_false(rc.resumed);
    raw_finish(&rc);
    exchange_flights();
    expect_done();
}

/* And one that the first hello did not have is taken up: its binder is over both. */
static void a_ticket_may_come_with_the_second_hello(void **state) {
    (void)state;
    begin_case(server);
    assert_int_equal(say_hello(), HS13_WANT_READ);
    keep_ticket();
    begin_case(server);
    raw_set(&hello, EXT_SHARE, RAW_LIT("\0\0"));
    assert_int_equal(say_hello(), HS13_WANT_READ);
    raw_share(&rc, &hello, rc.retry_group);
    resume();
    keep_ticket();
}

/* E4: without groups a ticket would have to do without an exchange, which is not taken up. */
static void a_ticket_needs_an_exchange(void **state) {
    (void)state;
    begin_case(server);
    assert_int_equal(say_hello(), HS13_WANT_READ);
    keep_ticket();
    begin_case(server);
    raw_drop(&hello, EXT_GROUPS);
    raw_drop(&hello, EXT_SHARE);
    offer();
    say_hello();
    expect_refusal(ERR_HELLO_LACKS, ALERT_MISSING_EXTENSION, RAW_PLAIN);
    begin_case(server); /* it needs no schemes, though: nothing is signed */
    raw_drop(&hello, EXT_SIGALGS);
    resume();
    keep_ticket();
}

/* E11: what a limit of 64 bytes makes of a Certificate message of 4 KB. */
static void a_small_limit_holds_for_a_large_certificate(void **state) {
    (void)state;
    char san[5000] = "DNS:" SERVICE_NAME;
    size_t at = strlen(san);
    for (int i = 0; i < 100; i++)
        at += (size_t)snprintf(san + at, sizeof(san) - at, ",DNS:a-long-name-among-many-%03d." SERVICE_NAME, i);
    char *dir = make_dir(), sentence[512];
    struct text why = text_of(sentence, sizeof(sentence));
    struct shop *large = shop_new();
    EVP_PKEY *key = make_key("EC:P-256");
    X509 *cert = make_cert(key, &(struct make_spec){.cn = SERVICE_NAME, .san = san});
    const char *path = make_path(dir, "pair.pem");
    make_pem(path, cert, NULL, NULL, key);
    assert_int_equal(shop_add_files(large, path, path, &why), 0);
    assert_true(i2d_X509(cert, NULL) > 4000);
    struct hs13_shop usual = shop;
    shop = (struct hs13_shop){shop_leave(large), NULL};
    struct tls_policy p = case_policy("web");
    struct tls_server *s = service_new(&p, shop.certs, tickets);
    begin_case(s);
    raw_set(&hello, EXT_RSL, RAW_LIT("\0\x40"));
    assert_int_equal(say_hello(), HS13_WANT_READ);
    assert_int_equal(rc.longest, 63);
    assert_true(rc.records > 4000 / 63);
    raw_finish(&rc);
    exchange_flights();
    expect_done();
    end_case(NULL);
    tls_server_free(s);
    certs_free(shop.certs);
    shop = usual;
    X509_free(cert);
    EVP_PKEY_free(key);
    make_dir_remove(dir);
}

int main(void) {
#define CASE(name) cmocka_unit_test_teardown(name, end_case)
    const struct CMUnitTest tests[] = {
        CASE(extensions_are_answered_to_this_hello),
        CASE(suite_and_group_are_chosen_again),
        CASE(a_ticket_may_be_dropped_between_two_hellos),
        CASE(a_ticket_may_come_with_the_second_hello),
        CASE(a_ticket_needs_an_exchange),
        CASE(a_small_limit_holds_for_a_large_certificate),
    };
    return cmocka_run_group_tests(tests, cases_setup, cases_teardown);
}
