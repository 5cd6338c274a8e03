/* What a service says to a hello before libssl sees it: every reason to refuse. */
#include "tls/handshake.h"

#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/err.h"
#include "hs_service.h"

static struct certs *both, *rsa, *ec;
static struct tickets *tickets;
static struct tls_server *server;
static struct hello hello;

static int setup(void **state) {
    static const char *const rsa_only[] = {"RSA:2048"}, *const ec_only[] = {"EC:P-256"};
    both = service_certs_both();
    rsa = service_certs(rsa_only, 1);
    ec = service_certs(ec_only, 1);
    tickets = service_tickets(1);
    return 0;
}

static int teardown(void **state) {
    tickets_free(tickets);
    certs_free(both);
    certs_free(rsa);
    certs_free(ec);
    return 0;
}

#define LIST(bytes) span_of(bytes, sizeof(bytes) - 1)

/* A hello that every service serves, in 1.3 or 1.2. */
static int usual(void **state) {
    memset(&hello, 0, sizeof(hello));
    hello.legacy_version = 0x0303;
    hello.versions = LIST("\x7a\x7a\x03\x04\x03\x03");
    hello.suites = LIST("\x13\x01\xc0\x2b\xc0\x2f");
    hello.groups = LIST("\x00\x1d\x00\x17");
    hello.sigalgs = LIST("\x04\x03\x08\x04");
    hello.has_key_share = true;
    return 0;
}

static int gone(void **state) {
    tls_server_free(server);
    server = NULL;
    return 0;
}

static void serve(const struct tls_policy *p, struct certs *certs) {
    tls_server_free(server);
    server = service_new(p, certs, tickets);
}

static void serve_all(void) {
    struct tls_policy p = service_policy("web");
    serve(&p, both);
}

static void expect(int err) {
    assert_int_equal(tls_server_check(server, &hello), err);
}

static void a_usual_hello_is_served(void **state) {
    serve_all();
    expect(0);
    hello.versions = LIST("\x03\x03");
    expect(0);
    hello.versions = LIST("\x03\x04");
    expect(0);
}

static void versions_must_be_shared(void **state) {
    struct tls_policy p = service_policy("web");
    serve_all();
    hello.versions = LIST("\x03\x02\x03\x01");
    expect(ERR_NO_VERSION);
    hello.versions = LIST("\x7f\x1c\x7f\x17"); /* drafts */
    expect(ERR_NO_VERSION);
    hello.versions = span_of(NULL, 0); /* no extension: the old field counts */
    expect(0);
    hello.legacy_version = 0x0302;
    expect(ERR_NO_VERSION);
    hello.legacy_version = 0x0304; /* RFC 8446 4.2.1: 1.3 is never spoken without the extension */
    expect(0);

    p.min_version = TLS_1_3;
    serve(&p, both);
    expect(ERR_NO_VERSION);
    hello.versions = LIST("\x03\x03");
    expect(ERR_NO_VERSION);
    hello.versions = LIST("\x03\x03\x03\x04");
    expect(0);
}

static void a_version_without_suites_is_not_spoken(void **state) {
    static const uint16_t only_13[] = {0x1301}, only_12[] = {0xc02b};
    struct tls_policy p = service_policy("web");
    p.nsuites = 1;
    p.suites = only_13;
    serve(&p, both);
    expect(0);
    hello.versions = LIST("\x03\x03");
    expect(ERR_NO_VERSION);
    p.suites = only_12;
    serve(&p, both);
    expect(0);
    hello.versions = LIST("\x03\x04");
    expect(ERR_NO_VERSION);
    hello.versions = LIST("\x03\x04\x03\x03");
    expect(0);
}

static void suites_must_be_shared_in_the_version_spoken(void **state) {
    serve_all();
    hello.suites = LIST("\x13\x04\x00\x2f\xc0\x13"); /* CCM, static RSA, CBC */
    expect(ERR_NO_SUITE);
    hello.suites = span_of(NULL, 0);
    expect(ERR_NO_SUITE);
    hello.suites = LIST("\xc0\x2b"); /* one of 1.2, but 1.3 would be spoken */
    expect(ERR_NO_SUITE);
    hello.versions = LIST("\x03\x03");
    expect(0);
    hello.suites = LIST("\x13\x01");
    expect(ERR_NO_SUITE);
}

static void groups_must_be_shared(void **state) {
    serve_all();
    hello.groups = LIST("\x00\x19\x01\x00");
    expect(ERR_NO_GROUP);
    hello.versions = LIST("\x03\x03");
    expect(ERR_NO_GROUP);
    hello.groups = span_of(NULL, 0); /* RFC 8422 4: any */
    expect(0);
    hello.versions = LIST("\x03\x04");
    expect(ERR_HELLO_LACKS);
    hello.has_psk = true;
    expect(ERR_HELLO_LACKS);
    hello.has_psk_modes = true;
    hello.has_key_share = false;
    expect(0);
}

/* RFC 8446 9.2 */
static void a_tls13_hello_has_all_it_needs(void **state) {
    serve_all();
    hello.has_key_share = false;
    expect(ERR_HELLO_LACKS);
    hello.versions = LIST("\x03\x03"); /* 1.2 needs none of it */
    expect(0);
    usual(NULL);
    hello.sigalgs = span_of(NULL, 0);
    expect(ERR_HELLO_LACKS);
    hello.has_psk = true;
    expect(ERR_HELLO_LACKS);
    hello.has_psk_modes = true;
    expect(0); /* it may resume */
}

static void the_client_must_be_able_to_verify_a_certificate(void **state) {
    struct tls_policy p = service_policy("web");
    serve(&p, rsa);
    hello.sigalgs = LIST("\x04\x03");
    expect(ERR_NO_SIGALG);
    hello.sigalgs = LIST("\x08\x04");
    expect(0);
    hello.sigalgs = LIST("\x04\x01"); /* PKCS #1: 1.2 only */
    expect(ERR_NO_SIGALG);
    hello.versions = LIST("\x03\x03");
    expect(0);
    serve(&p, ec);
    expect(ERR_NO_SIGALG);
    hello.sigalgs = LIST("\x04\x03");
    expect(0);
    hello.sigalgs = span_of(NULL, 0);
    expect(ERR_NO_SIGALG);
}

static void a_strict_service_wants_its_own_names(void **state) {
    struct tls_policy p = service_policy("web");
    p.strict_sni = true;
    serve(&p, both);
    expect(ERR_UNKNOWN_NAME); /* none asked for */
    memcpy(hello.sni, "www.example.com", 16);
    expect(ERR_UNKNOWN_NAME);
    memcpy(hello.sni, SERVICE_NAME, sizeof(SERVICE_NAME));
    expect(0);
    memcpy(hello.sni, "a." SERVICE_NAME, sizeof("a." SERVICE_NAME));
    expect(0);
    memcpy(hello.sni, "a.b." SERVICE_NAME, sizeof("a.b." SERVICE_NAME));
    expect(ERR_UNKNOWN_NAME);
    serve_all();
    expect(0);
}

static const char *const our_alpn[] = {"h2", "http/1.1"};

static void a_protocol_must_be_shared_when_both_name_some(void **state) {
    struct tls_policy p = service_policy("web");
    p.alpn = our_alpn;
    p.nalpn = 2;
    serve(&p, both);
    expect(0);
    hello.alpn = LIST("\x08http/1.1");
    expect(0);
    hello.alpn = LIST("\x08http/1.0\x01h");
    expect(ERR_NO_ALPN);
    serve_all();
    expect(0);
}

/* Settings come from a checked configuration; what libssl still refuses is reported to the operator. */
static void what_libssl_refuses_is_reported(void **state) {
    char sentence[256];
    struct text why = text_of(sentence, sizeof(sentence));
    struct tls_policy p = service_policy("web");
    static const uint16_t nonsense[] = {0xfafa};
    p.groups = nonsense;
    p.ngroups = 1;
    assert_null(tls_server_new(&p, both, tickets, &why));
    assert_non_null(strstr(sentence, "service web:"));
    assert_null(strstr(sentence, "(null)"));
    assert_int_equal(ERR_peek_error(), 0);
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, usual, gone)
    const struct CMUnitTest tests[] = {
        CASE(a_usual_hello_is_served),
        CASE(versions_must_be_shared),
        CASE(a_version_without_suites_is_not_spoken),
        CASE(suites_must_be_shared_in_the_version_spoken),
        CASE(groups_must_be_shared),
        CASE(a_tls13_hello_has_all_it_needs),
        CASE(the_client_must_be_able_to_verify_a_certificate),
        CASE(a_strict_service_wants_its_own_names),
        CASE(a_protocol_must_be_shared_when_both_name_some),
        CASE(what_libssl_refuses_is_reported),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
