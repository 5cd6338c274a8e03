/* Client chains that are hard to judge, or not meant for this: the right reason, on either kind of service (C6, C7). */
#include "tls/hs13.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hs13_cases.h"

#define CHAIN_MAX   12
#define NAMES       1000 /* more than are looked at for a rule; their constraints are judged before */
#define CONSTRAINTS 250

static EVP_PKEY *client_key;

/* KEY's certificate with one more extension, signed once more. */
static X509 *issue_with(int nid, const char *value, const struct make_spec *spec) {
    X509 *cert = make_cert(client_key, spec);
    make_extension(cert, nid, value);
    make_must(X509_sign(cert, spec->issuer_key, EVP_sha256()) > 0, "signature");
    return cert;
}

static void show_chain(X509 *const *certs, size_t n) {
    static uint8_t message[64 * 1024];
    struct span ders[CHAIN_MAX];
    uint8_t *der[CHAIN_MAX] = {NULL};
    for (size_t i = 0; i < n; i++) {
        int len = i2d_X509(certs[i], &der[i]);
        ders[i] = span_of(der[i], (size_t)len);
    }
    size_t len = write_chain(message, sizeof(message), ders, n, span_of(NULL, 0));
    hs13_keys_add(&rc.keys, span_of(message, len));
    for (size_t off = 0; off < len; off += 16000)
        raw_send(&rc, CONTENT_HANDSHAKE, span_of(message + off, MIN(len - off, (size_t)16000)));
    for (size_t i = 0; i < n; i++)
        OPENSSL_free(der[i]);
}

static void expect_in(const struct tls_server *with, X509 *const *certs, size_t n) {
    greet_us(with, false);
    show_chain(certs, n);
    prove(client_key);
    raw_finish(&rc);
    exchange_flights();
    if (last != HS13_DONE)
        fail_msg("%s: %s", err_name(hs13_conn_error(&conn)), hs13_detail(conn.h));
    expect_done();
}

static void expect_out(const struct tls_server *with, X509 *const *certs, size_t n, int err, int alert) {
    greet_us(with, false);
    show_chain(certs, n);
    exchange_flights();
    expect_refusal(err, alert, RAW_SESSION);
}

/* C6: "optional" lets in who shows none, not who shows what is meant for something else. */
static void a_certificate_is_meant_for_clients(void **state) {
    (void)state;
    static const struct {
        int nid;
        const char *value;
        bool good;
    } rows[] = {
        {NID_ext_key_usage, "serverAuth", false},       {NID_ext_key_usage, "clientAuth", true},
        {NID_ext_key_usage, "emailProtection", false},  {NID_ext_key_usage, "serverAuth,clientAuth", true},
        {NID_key_usage, "critical,keyCertSign", false}, {NID_key_usage, "critical,digitalSignature", true},
    };
    struct tls_server *const both[] = {strict, lax};
    const struct make_spec spec = {.cn = "robot", .issuer = ca, .issuer_key = ca_key};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        X509 *cert = issue_with(rows[i].nid, rows[i].value, &spec);
        for (size_t s = 0; s < 2; s++)
            if (rows[i].good)
                expect_in(both[s], &cert, 1);
            else
                expect_out(both[s], &cert, 1, ERR_CLIENT_CERT_USAGE, ALERT_UNSUPPORTED_CERTIFICATE);
        X509_free(cert);
    }
}

/* C7: by its name each could be the issuer. One is; libcrypto tries the first, and nobody gets in by another's key. */
static void many_issuers_of_one_name(void **state) {
    (void)state;
    enum { ISSUERS = CASE_DEPTH };
    EVP_PKEY *keys[ISSUERS];
    X509 *issuers[ISSUERS], *chain[ISSUERS + 1];
    const struct make_spec spec = {.cn = "one name for all", .ca = true, .issuer = ca, .issuer_key = ca_key};
    for (size_t i = 0; i < ISSUERS; i++)
        issuers[i] = make_cert(keys[i] = make_key("EC:P-256"), &spec);
    chain[0] = make_cert(client_key, &(struct make_spec){.cn = "robot", .issuer = issuers[0], .issuer_key = keys[0]});
    for (size_t at = 0; at < ISSUERS; at++) {
        for (size_t i = 0; i < ISSUERS; i++)
            chain[1 + i] = issuers[(i + ISSUERS - at) % ISSUERS]; /* the right one is at AT */
        if (at == 0) {
            expect_in(strict, chain, ISSUERS + 1);
            expect_out(strict, chain, 1, ERR_CLIENT_CERT_UNKNOWN_CA, ALERT_UNKNOWN_CA);
            continue;
        }
        greet_us(strict, false);
        show_chain(chain, ISSUERS + 1);
        exchange_flights();
        assert_true(last == HS13_WANT_READ || hs13_conn_error(&conn) == ERR_CLIENT_CERT_BAD);
        expect_out(strict, (X509 *[]){chain[0], chain[1]}, 2, ERR_CLIENT_CERT_BAD, ALERT_BAD_CERTIFICATE);
    }
    X509_free(chain[0]);
    for (size_t i = 0; i < ISSUERS; i++) {
        X509_free(issuers[i]);
        EVP_PKEY_free(keys[i]);
    }
}

/* N names, separated by commas. */
static void add_numbered(char *to, size_t cap, int n, const char *before, const char *after) {
    struct text t = text_of(to, cap);
    for (int i = 0; i < n; i++)
        text_addf(&t, "%s%s%03d%s", i ? "," : "", before, i, after);
    make_must(!t.cut, "names");
}

/* As many as the bounds on a chain's bytes leave room for, or nearly. The last of them all is excluded by the last, or none is.
 */
static void many_names_under_many_constraints(void **state) {
    (void)state;
    static char san[NAMES * 16], constraints[CONSTRAINTS * 32];
    EVP_PKEY *leaf_key = client_key, *issuer_key = make_key("EC:P-256");
    add_numbered(constraints, sizeof(constraints), CONSTRAINTS, "excluded;DNS:x", ".net");
    client_key = issuer_key;
    X509 *issuer =
        issue_with(NID_name_constraints, constraints,
                   &(struct make_spec){.cn = "constrained authority", .ca = true, .issuer = ca, .issuer_key = ca_key});
    client_key = leaf_key;
    X509 *chain[2] = {NULL, issuer};
    for (int excluded = 0; excluded < 2; excluded++) {
        add_numbered(san, sizeof(san), NAMES, "DNS:n", ".org");
        if (excluded)
            memcpy(san + strlen(san) - 8, "x249.net", 8);
        chain[0] =
            make_cert(client_key, &(struct make_spec){.cn = "robot", .san = san, .issuer = issuer, .issuer_key = issuer_key});
        if (excluded)
            expect_out(strict, chain, 2, ERR_CLIENT_CERT_BAD, ALERT_BAD_CERTIFICATE);
        else
            expect_out(strict, chain, 2, ERR_CLIENT_CERT_LARGE, ALERT_BAD_CERTIFICATE);
        X509_free(chain[0]);
    }
    add_numbered(san, sizeof(san), 100, "DNS:n", ".org");
    chain[0] =
        make_cert(client_key, &(struct make_spec){.cn = "robot", .san = san, .issuer = issuer, .issuer_key = issuer_key});
    expect_in(strict, chain, 2);
    X509_free(chain[0]);
    X509_free(issuer);
    EVP_PKEY_free(issuer_key);
}

static int chains_setup(void **state) {
    client_key = make_key("EC:P-256");
    return cases_setup(state);
}

static int chains_teardown(void **state) {
    EVP_PKEY_free(client_key);
    return cases_teardown(state);
}

int main(void) {
#define CASE(name) cmocka_unit_test_teardown(name, end_case)
    const struct CMUnitTest tests[] = {
        CASE(a_certificate_is_meant_for_clients),
        CASE(many_issuers_of_one_name),
        CASE(many_names_under_many_constraints),
    };
    return cmocka_run_group_tests(tests, chains_setup, chains_teardown);
}
