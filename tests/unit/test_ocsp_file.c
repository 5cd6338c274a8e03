#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/err.h"
#include "cert_shop.h"
#include "make_ocsp.h"
#include "ocsp/ocsp.h"
#include "tls/ocsp_file.h"

static struct {
    EVP_PKEY *ca_key, *leaf_key, *other_key;
    X509 *ca, *leaf, *other_leaf, *other_ca, *delegate, *helper;
    char *dir;
    struct cert_chain chain;
    struct ocsp_file got;
    char sentence[1024];
    struct text why;
} m;

static int setup_all(void **state) {
    m.ca_key = make_key("EC:P-256");
    m.leaf_key = make_key("EC:P-256");
    m.other_key = make_key("EC:P-256");
    m.ca = make_cert(m.ca_key, &(struct make_spec){.cn = "Test CA", .ca = true});
    m.other_ca = make_cert(m.other_key, &(struct make_spec){.cn = "Other CA", .ca = true});
    const struct make_spec leaf = {.cn = "a", .san = "DNS:a.example.org", .issuer = m.ca, .issuer_key = m.ca_key};
    m.leaf = make_cert(m.leaf_key, &leaf);
    m.other_leaf = make_cert(m.leaf_key, &leaf); /* another serial */
    m.helper = make_cert(m.other_key, &(struct make_spec){.cn = "Helper", .issuer = m.ca, .issuer_key = m.ca_key});
    m.delegate = make_cert(m.other_key, &(struct make_spec){.cn = "Responder", .issuer = m.ca, .issuer_key = m.ca_key});
    make_extension(m.delegate, NID_ext_key_usage, "OCSPSigning");
    make_must(X509_sign(m.delegate, m.ca_key, EVP_sha256()) > 0, "delegate");
    return 0;
}

static int teardown_all(void **state) {
    X509 *certs[] = {m.ca, m.leaf, m.other_leaf, m.other_ca, m.delegate, m.helper};
    EVP_PKEY *keys[] = {m.ca_key, m.leaf_key, m.other_key};
    for (size_t i = 0; i < ARRAY_LEN(certs); i++)
        X509_free(certs[i]);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        EVP_PKEY_free(keys[i]);
    return 0;
}

static int setup(void **state) {
    static char file[PATH_MAX];
    m.dir = make_dir();
    snprintf(file, sizeof(file), "%s/a.pem", m.dir);
    m.chain = (struct cert_chain){.file = file, .leaf = m.leaf, .others = sk_X509_new_null()};
    return sk_X509_push(m.chain.others, m.ca) == 1 ? 0 : -1;
}

static int teardown(void **state) {
    ocsp_file_fini(&m.got);
    sk_X509_free(m.chain.others);
    make_dir_remove(m.dir);
    return 0;
}

static int load(void) {
    m.why = text_of(m.sentence, sizeof(m.sentence));
    ocsp_file_fini(&m.got);
    return ocsp_file_load(&m.chain, (int64_t)time(NULL), &m.got, &m.why);
}

static struct make_ocsp good(void) {
    return (struct make_ocsp){
        .cert = m.leaf, .issuer = m.ca, .signer = m.ca, .signer_key = m.ca_key, .begins_s = -3600, .ends_s = 3600};
}

static void write_response(const struct make_ocsp *o) {
    make_ocsp_file(make_path(m.dir, "a.ocsp"), o);
}

static void assert_refused(const char *phrase) {
    assert_int_equal(load(), ERR_FORMAT);
    if (!strstr(m.sentence, phrase))
        print_message("%s\n", m.sentence);
    assert_non_null(strstr(m.sentence, phrase));
    assert_non_null(strstr(m.sentence, "a.ocsp: "));
    assert_null(m.got.bytes.p);
}

static void no_file_is_no_response(void **state) {
    assert_int_equal(load(), 0);
    assert_null(m.got.bytes.p);
    assert_string_equal(m.sentence, "");
}

static void a_good_one_is_taken(void **state) {
    struct make_ocsp o = good();
    write_response(&o);
    assert_int_equal(load(), 0);
    assert_non_null(m.got.bytes.p);
    assert_in_range((uintmax_t)m.got.from, (uintmax_t)time(NULL) - 3700, (uintmax_t)time(NULL) - 3500);
    assert_in_range((uintmax_t)m.got.until, (uintmax_t)time(NULL) + 3500, (uintmax_t)time(NULL) + 3700);
    o.without_end = true;
    write_response(&o);
    assert_int_equal(load(), 0);
    assert_true(m.got.until == CREDS_NEVER);
    o.id_digest = EVP_sha256();
    write_response(&o);
    assert_int_equal(load(), 0);
    assert_non_null(m.got.bytes.p);
}

static void both_names_are_looked_for(void **state) {
    struct make_ocsp o = good();
    make_ocsp_file(make_path(m.dir, "a.pem.ocsp"), &o);
    assert_int_equal(load(), 0);
    assert_non_null(m.got.bytes.p);
    make_file(make_path(m.dir, "a.ocsp"), "no", 2); /* comes first */
    assert_refused("found no OCSP response, expected one in DER");
}

static void junk_is_reported(void **state) {
    struct make_ocsp o = good();
    make_file(make_path(m.dir, "a.ocsp"), "", 0);
    assert_refused("the file is empty, expected an OCSP response");
    write_response(&o);
    FILE *f = fopen(make_path(m.dir, "a.ocsp"), "a");
    fputs("more", f);
    fclose(f);
    assert_refused("found no OCSP response");
    static const char pem[] = "-----BEGIN OCSP RESPONSE-----\nAAEC\n-----END OCSP RESPONSE-----\n";
    make_file(make_path(m.dir, "a.ocsp"), pem, sizeof(pem) - 1);
    assert_refused("expected one in DER; block 1 (line 1) is \"OCSP RESPONSE\" in PEM");
    o.response_status = OCSP_RESPONSE_STATUS_TRYLATER;
    write_response(&o);
    assert_refused("the responder answered \"trylater\"");
}

static void of_another_certificate_is_reported(void **state) {
    struct make_ocsp o = good();
    o.cert = m.other_leaf;
    write_response(&o);
    assert_refused("is not about the certificate in ");
}

static void status_must_be_good(void **state) {
    struct make_ocsp o = good();
    o.status = V_OCSP_CERTSTATUS_REVOKED;
    write_response(&o);
    assert_refused("found status \"revoked\", expected \"good\"");
    o.status = V_OCSP_CERTSTATUS_UNKNOWN;
    write_response(&o);
    assert_refused("found status \"unknown\"");
}

static void one_that_is_over_is_reported(void **state) {
    struct make_ocsp o = good();
    o.ends_s = -1;
    write_response(&o);
    assert_refused("the response ended on 2");
}

static void only_the_issuer_or_its_delegate_may_sign(void **state) {
    struct make_ocsp o = good();
    o.signer = m.other_ca;
    o.signer_key = m.other_key;
    write_response(&o);
    assert_refused("is not signed by the certificate's issuer");
    o.signer = m.helper; /* of the issuer, but not for this */
    write_response(&o);
    assert_refused("is not signed by the certificate's issuer");
    o.signer = m.delegate;
    write_response(&o);
    assert_int_equal(load(), 0);
    assert_non_null(m.got.bytes.p);
}

static void without_the_issuer_nothing_can_be_said(void **state) {
    struct make_ocsp o = good();
    write_response(&o);
    (void)sk_X509_pop(m.chain.others);
    assert_refused("cannot be checked: expected the issuer's certificate behind the first one in ");
}

/* ---- from the file to the client ---- */

static struct span stapled(SSL *client) {
    const unsigned char *p = NULL;
    long n = SSL_get_tlsext_status_ocsp_resp(client, &p);
    return span_of(p, n > 0 ? (size_t)n : 0);
}

/* Length of the response that a client got; 0 = none. */
static size_t ask(struct shop *shop, int version, bool asks) {
    SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method()), *server_ctx = SSL_CTX_new(TLS_server_method());
    hs_libssl_staple(server_ctx);
    SSL *client = SSL_new(client_ctx), *server = SSL_new(server_ctx);
    BIO *a = NULL, *b = NULL;
    assert_true(client && server && BIO_new_bio_pair(&a, 0, &b, 0) == 1);
    SSL_set_bio(client, a, a);
    SSL_set_bio(server, b, b);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    SSL_set_max_proto_version(client, version);
    if (asks)
        SSL_set_tlsext_status_type(client, TLSEXT_STATUSTYPE_ocsp);
    assert_int_equal(shop_use(shop, "a.example.org", server), 0);
    for (int i = 0; i < 10 && !(SSL_is_init_finished(client) && SSL_is_init_finished(server)); i++) {
        (void)SSL_do_handshake(client); /* "want read" at each turn; the loop's condition decides */
        (void)SSL_do_handshake(server);
    }
    assert_true(SSL_is_init_finished(client) && SSL_is_init_finished(server));
    size_t len = stapled(client).len;
    SSL_free(client);
    SSL_free(server);
    SSL_CTX_free(client_ctx);
    SSL_CTX_free(server_ctx);
    return len;
}

static void it_reaches_clients_that_ask(void **state) {
    struct make_ocsp o = good();
    struct stat st;
    struct shop *shop = shop_new();
    m.why = text_of(m.sentence, sizeof(m.sentence));
    make_pem(make_path(m.dir, "a.pem"), m.leaf, m.ca, NULL, m.leaf_key);
    write_response(&o);
    assert_int_equal(stat(make_path(m.dir, "a.ocsp"), &st), 0);
    assert_int_equal(shop_add_dir(shop, m.dir, &m.why), 0);
    assert_string_equal(shop->warned, "");
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        assert_int_equal(ask(shop, version, true), st.st_size);
        assert_int_equal(ask(shop, version, false), 0);
    }
    shop_free(shop);
}

static void one_not_begun_is_held_back(void **state) {
    struct make_ocsp o = good();
    struct shop *shop = shop_new();
    m.why = text_of(m.sentence, sizeof(m.sentence));
    o.begins_s = 1000;
    make_pem(make_path(m.dir, "a.pem"), m.leaf, m.ca, NULL, m.leaf_key);
    write_response(&o);
    assert_int_equal(shop_add_dir(shop, m.dir, &m.why), 0);
    assert_int_equal(ask(shop, TLS1_3_VERSION, true), 0);
    shop_free(shop);
}

static void a_wrong_one_does_not_refuse_the_certificate(void **state) {
    struct make_ocsp o = good();
    struct shop *shop = shop_new();
    m.why = text_of(m.sentence, sizeof(m.sentence));
    o.status = V_OCSP_CERTSTATUS_REVOKED;
    make_pem(make_path(m.dir, "a.pem"), m.leaf, m.ca, NULL, m.leaf_key);
    write_response(&o);
    assert_int_equal(shop_add_dir(shop, m.dir, &m.why), 0);
    assert_non_null(strstr(shop->warned, "expected \"good\"; it is not stapled"));
    assert_int_equal(ask(shop, TLS1_3_VERSION, true), 0);
    shop_free(shop);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* ---- those that the acme role has fetched ---- */

static int load_fetched(const struct make_ocsp *o, const char *dir) {
    uint8_t *der = NULL;
    char name[OCSP_FILE_NAME_MAX];
    int len = i2d_X509(m.leaf, &der);
    struct span leaf = span_of(der, (size_t)len);
    m.why = text_of(m.sentence, sizeof(m.sentence));
    ocsp_file_fini(&m.got);
    assert_int_equal(ocsp_file_name(leaf, name), 0);
    if (o)
        make_ocsp_file(make_path(m.dir, name), o);
    int err = ocsp_file_load_fetched(&m.chain, leaf, dir, (int64_t)time(NULL), &m.got, &m.why);
    OPENSSL_free(der);
    return err;
}

static void fetched_ones_are_judged_like_others(void **state) {
    struct make_ocsp o = good();
    assert_int_equal(load_fetched(NULL, m.dir), 0);
    assert_null(m.got.bytes.p);
    assert_int_equal(load_fetched(&o, m.dir), 0);
    assert_non_null(m.got.bytes.p);
    assert_int_equal(load_fetched(&o, "/nonexistent"), 0);
    assert_null(m.got.bytes.p);
    o.status = V_OCSP_CERTSTATUS_REVOKED;
    assert_int_equal(load_fetched(&o, m.dir), ERR_FORMAT);
    assert_non_null(strstr(m.sentence, "found status \"revoked\", expected \"good\""));
    o = good();
    o.cert = m.other_leaf; /* under the name of ours */
    assert_int_equal(load_fetched(&o, m.dir), ERR_FORMAT);
    o = good();
    o.signer = m.other_ca;
    o.signer_key = m.other_key;
    assert_int_equal(load_fetched(&o, m.dir), ERR_FORMAT);
    o = good();
    o.ends_s = -10;
    assert_int_equal(load_fetched(&o, m.dir), ERR_FORMAT);
}

static void a_fetched_one_without_an_end_lasts_a_day(void **state) {
    struct make_ocsp o = good();
    o.without_end = true;
    assert_int_equal(load_fetched(&o, m.dir), 0);
    assert_int_equal(m.got.until, m.got.from + 86400);
    o.begins_s = -86400 - 10;
    assert_int_equal(load_fetched(&o, m.dir), ERR_FORMAT);
    assert_non_null(strstr(m.sentence, "the response ended on "));
}

static void a_giant_fetched_one_is_not_used(void **state) {
    char name[OCSP_FILE_NAME_MAX];
    static char bytes[OCSP_RESPONSE_MAX + 1];
    uint8_t *der = NULL;
    int len = i2d_X509(m.leaf, &der);
    assert_int_equal(ocsp_file_name(span_of(der, (size_t)len), name), 0);
    OPENSSL_free(der);
    make_file(make_path(m.dir, name), bytes, sizeof(bytes));
    assert_int_equal(load_fetched(NULL, m.dir), ERR_FORMAT);
    assert_non_null(strstr(m.sentence, "longer than"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(no_file_is_no_response),
        CASE(a_good_one_is_taken),
        CASE(both_names_are_looked_for),
        CASE(junk_is_reported),
        CASE(of_another_certificate_is_reported),
        CASE(status_must_be_good),
        CASE(one_that_is_over_is_reported),
        CASE(only_the_issuer_or_its_delegate_may_sign),
        CASE(without_the_issuer_nothing_can_be_said),
        CASE(it_reaches_clients_that_ask),
        CASE(one_not_begun_is_held_back),
        CASE(a_wrong_one_does_not_refuse_the_certificate),
        CASE(fetched_ones_are_judged_like_others),
        CASE(a_fetched_one_without_an_end_lasts_a_day),
        CASE(a_giant_fetched_one_is_not_used),
    };
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
