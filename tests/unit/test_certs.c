#include "certs_bench.h"

/* ---- names ---- */

static void nothing_serves_nobody(void **state) {
    struct shop *c = *state;
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    SSL *ssl = SSL_new(ctx);
    assert_int_equal(shop_count(c), 0);
    assert_int_equal(shop_lookup(c, ""), CREDS_NO_MATCH);
    assert_int_equal(shop_lookup(c, "www.example.org"), CREDS_NO_MATCH);
    assert_int_equal(shop_use(c, "www.example.org", ssl), ERR_CRYPTO);
    assert_false(shop_has_sigalg(c, "www.example.org", span_of("\x04\x03", 2), TLS_1_3));
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    shop_free(NULL);
}

static void exact_wildcard_default(void **state) {
    struct shop *c = *state;
    add(c, m.p256, "first", "DNS:first.example.net");
    add(c, m.p256, "wild", "DNS:*.example.org, DNS:example.com");
    add(c, m.p256, "exact", "DNS:WWW.Example.ORG");
    assert_int_equal(shop_count(c), 3);
    assert_int_equal(shop_lookup(c, "www.example.org"), CREDS_EXACT);
    assert_int_equal(shop_lookup(c, "mail.example.org"), CREDS_WILDCARD);
    assert_int_equal(shop_lookup(c, "example.com"), CREDS_EXACT);
    assert_int_equal(shop_lookup(c, "example.org"), CREDS_DEFAULT);
    assert_int_equal(shop_lookup(c, "a.b.example.org"), CREDS_DEFAULT);
    assert_int_equal(shop_lookup(c, ".example.org"), CREDS_DEFAULT);
    assert_int_equal(shop_lookup(c, "*.example.org"), CREDS_WILDCARD); /* no client can ask so: SNI takes no '*' */
    assert_int_equal(shop_lookup(c, ""), CREDS_DEFAULT);
    assert_string_equal(served(c, "www.example.org", NULL, TLS_1_3), "exact");
    assert_string_equal(served(c, "mail.example.org", NULL, TLS_1_3), "wild");
    assert_string_equal(served(c, "example.com", NULL, TLS_1_2), "wild");
    assert_string_equal(served(c, "other.example.com", NULL, TLS_1_3), "first");
    assert_string_equal(served(c, "", NULL, TLS_1_2), "first");
}

static void common_name_only_without_alternative_names(void **state) {
    struct shop *c = *state;
    add(c, m.p256, "fallback.example.org", "DNS:fallback.example.org");
    add(c, m.p256, "cn-only.example.org", NULL);
    add(c, m.p256, "cn-beside-dns.example.org", "DNS:san.example.org");
    add(c, m.p256, "cn-beside-ip.example.org", "IP:192.0.2.1");
    add(c, m.p256, "cn-beside-mail.example.org", "email:a@example.org");
    add(c, m.p256, "no host name at all", NULL);
    assert_int_equal(shop_lookup(c, "cn-only.example.org"), CREDS_EXACT);
    assert_int_equal(shop_lookup(c, "san.example.org"), CREDS_EXACT);
    assert_int_equal(shop_lookup(c, "cn-beside-dns.example.org"), CREDS_DEFAULT);
    assert_int_equal(shop_lookup(c, "cn-beside-ip.example.org"), CREDS_DEFAULT);
    assert_int_equal(shop_lookup(c, "192.0.2.1"), CREDS_DEFAULT);
    assert_int_equal(shop_lookup(c, "cn-beside-mail.example.org"), CREDS_EXACT);
    assert_int_equal(shop_count(c), 6);
}

static void odd_names_are_passed_over(void **state) {
    struct shop *c = *state;
    add(c, m.p256, "x", "DNS:f*.example.org, DNS:a b.example.org, DNS:*, DNS:a.*.org, DNS:good.example.org");
    assert_int_equal(shop_lookup(c, "good.example.org"), CREDS_EXACT);
    assert_int_equal(shop_lookup(c, "foo.example.org"), CREDS_DEFAULT);
    assert_int_equal(shop_lookup(c, "a.b.org"), CREDS_DEFAULT);
    assert_int_equal(shop_lookup(c, "localhost"), CREDS_DEFAULT);
}

static void names_beyond_all_length(void **state) {
    struct shop *c = *state;
    char name[600];
    memset(name, 'a', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    name[300] = '.';
    add(c, m.p256, "x", "DNS:*.example.org");
    assert_int_equal(shop_lookup(c, name), CREDS_DEFAULT);
    name[255] = '\0';
    name[0] = '.';
    assert_int_equal(shop_lookup(c, name), CREDS_DEFAULT);
}

static void many_names(void **state) {
    struct shop *c = *state;
    enum { NAMES = 5000 };
    char *san = malloc(NAMES * 24);
    assert_non_null(san);
    struct text t = text_of(san, NAMES * 24);
    for (int i = 0; i < NAMES; i++)
        text_addf(&t, "%sDNS:%sn%d.example.org", i ? "," : "", i % 2 ? "*." : "", i);
    assert_false(t.cut);
    add(c, m.p256, "many", san);
    free(san);
    for (int i = 0; i < NAMES; i++) {
        char name[32];
        snprintf(name, sizeof(name), "%sn%d.example.org", i % 2 ? "www." : "", i);
        assert_int_equal(shop_lookup(c, name), i % 2 ? CREDS_WILDCARD : CREDS_EXACT);
    }
    assert_int_equal(shop_lookup(c, "n5000.example.org"), CREDS_DEFAULT);
}

/* ---- key types ---- */

static void each_key_type_serves_its_clients(void **state) {
    struct shop *c = *state;
    add(c, m.p256, "ec", "DNS:www.example.org");
    add(c, m.rsa, "rsa", "DNS:www.example.org");
    add(c, m.ed25519, "ed", "DNS:www.example.org");
    assert_string_equal(served(c, "www.example.org", "rsa_pss_rsae_sha256", TLS_1_3), "rsa");
    assert_string_equal(served(c, "www.example.org", "ECDSA+SHA256", TLS_1_3), "ec");
    assert_string_equal(served(c, "www.example.org", "ed25519", TLS_1_3), "ed");
    assert_string_equal(served(c, "www.example.org", "RSA+SHA256", TLS_1_2), "rsa");
    /* the default has the same breadth, since all three share the first one's name */
    assert_string_equal(served(c, "", "rsa_pss_rsae_sha256", TLS_1_3), "rsa");
    assert_string_equal(served(c, "", "ed25519", TLS_1_3), "ed");
}

static void default_takes_no_strangers(void **state) {
    struct shop *c = *state;
    add(c, m.p256, "ec", "DNS:www.example.org");
    add(c, m.rsa, "rsa", "DNS:other.example.org");
    assert_string_equal(served(c, "", "rsa_pss_rsae_sha256", TLS_1_3), "");
    assert_string_equal(served(c, "", "ECDSA+SHA256", TLS_1_3), "ec");
}

static void exact_beats_wildcard_by_key_type(void **state) {
    struct shop *c = *state;
    add(c, m.rsa, "default", "DNS:default.example.org");
    add(c, m.p256, "wild-ec", "DNS:*.example.org");
    add(c, m.rsa, "wild-rsa", "DNS:*.example.org");
    add(c, m.p256, "exact-ec", "DNS:www.example.org");
    assert_int_equal(shop_lookup(c, "www.example.org"), CREDS_EXACT);
    assert_string_equal(served(c, "www.example.org", "ECDSA+SHA256", TLS_1_3), "exact-ec");
    assert_string_equal(served(c, "www.example.org", "rsa_pss_rsae_sha256", TLS_1_3), "wild-rsa");
    assert_string_equal(served(c, "mail.example.org", "ECDSA+SHA256", TLS_1_3), "wild-ec");
}

static void default_does_not_fill_gaps(void **state) {
    struct shop *c = *state;
    add(c, m.rsa, "default-rsa", "DNS:default.example.org");
    add(c, m.p256, "ec", "DNS:www.example.org");
    assert_string_equal(served(c, "www.example.org", "rsa_pss_rsae_sha256", TLS_1_3), "");
}

static void first_of_a_kind_keeps_the_name(void **state) {
    struct shop *c = *state;
    add(c, m.p256, "one", "DNS:www.example.org");
    add(c, m.p384, "two", "DNS:www.example.org, DNS:two.example.org");
    assert_string_equal(served(c, "www.example.org", NULL, TLS_1_3), "one");
    assert_string_equal(served(c, "two.example.org", NULL, TLS_1_3), "two");
}

static void sigalgs_of_each_key(void **state) {
    struct shop *c = *state;
    add(c, m.rsa, "r", "DNS:rsa.example.org");
    add(c, m.p256, "a", "DNS:p256.example.org");
    add(c, m.p384, "b", "DNS:p384.example.org");
    add(c, m.ed25519, "e", "DNS:ed.example.org");
    static const struct {
        const char *name;
        uint16_t sigalg;
        bool tls12, tls13;
    } cases[] = {
        {"rsa.example.org", 0x0804, true, true},
        {"rsa.example.org", 0x0805, true, true},
        {"rsa.example.org", 0x0806, true, true},
        {"rsa.example.org", 0x0401, true, false},
        {"rsa.example.org", 0x0501, true, false},
        {"rsa.example.org", 0x0601, true, false},
        {"rsa.example.org", 0x0201, false, false},
        {"rsa.example.org", 0x0809, false, false},
        {"rsa.example.org", 0x0403, false, false},
        {"p256.example.org", 0x0403, true, true},
        {"p256.example.org", 0x0503, true, false},
        {"p256.example.org", 0x0603, true, false},
        {"p256.example.org", 0x0203, false, false},
        {"p256.example.org", 0x0804, false, false},
        {"p384.example.org", 0x0503, true, true},
        {"p384.example.org", 0x0403, true, false},
        {"ed.example.org", 0x0807, true, true},
        {"ed.example.org", 0x0403, false, false},
        {"", 0x0804, true, true},
        {"", 0x0403, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const uint8_t list[] = {0x0a, 0x0a, (uint8_t)(cases[i].sigalg >> 8), (uint8_t)cases[i].sigalg};
        struct span span = span_of(list, sizeof(list));
        assert_int_equal(shop_has_sigalg(c, cases[i].name, span, TLS_1_2), cases[i].tls12);
        assert_int_equal(shop_has_sigalg(c, cases[i].name, span, TLS_1_3), cases[i].tls13);
    }
    assert_false(shop_has_sigalg(c, "rsa.example.org", span_of(NULL, 0), TLS_1_2));
    assert_false(shop_has_sigalg(c, "rsa.example.org", span_of("\x08", 1), TLS_1_2));
}

/* What shop_has_sigalg() says must be what libssl does. */
static void sigalgs_agree_with_libssl(void **state) {
    static const struct {
        const char *name;
        uint16_t sigalg;
    } algs[] = {
        {"rsa_pss_rsae_sha256", 0x0804}, {"rsa_pss_rsae_sha512", 0x0806}, {"RSA+SHA256", 0x0401},   {"RSA+SHA512", 0x0601},
        {"ECDSA+SHA256", 0x0403},        {"ECDSA+SHA384", 0x0503},        {"ECDSA+SHA512", 0x0603}, {"ed25519", 0x0807},
    };
    EVP_PKEY *keys[] = {m.rsa, m.p256, m.p384, m.ed25519};
    for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
        struct shop *c = shop_new();
        assert_non_null(c);
        add(c, keys[k], "x", "DNS:www.example.org");
        for (size_t i = 0; i < ARRAY_LEN(algs); i++)
            for (int version = TLS_1_2; version <= TLS_1_3; version++) {
                const uint8_t list[] = {(uint8_t)(algs[i].sigalg >> 8), (uint8_t)algs[i].sigalg};
                bool says = shop_has_sigalg(c, "www.example.org", span_of(list, 2), (uint16_t)version);
                bool does = served(c, "www.example.org", algs[i].name, version)[0] != '\0';
                if (says != does)
                    print_message("key %zu, %s, version %x\n", k, algs[i].name, (unsigned)version);
                assert_int_equal(says, does);
            }
        shop_free(c);
    }
}

/* ---- chains ---- */

static void chain_is_sent(void **state) {
    struct shop *c = *state;
    const struct make_spec ca_spec = {.cn = "ca", .ca = true};
    X509 *ca = make_cert(m.rsa, &ca_spec);
    const struct make_spec leaf_spec = {.cn = "leaf", .san = "DNS:www.example.org", .issuer = ca, .issuer_key = m.rsa};
    X509 *leaf = make_cert(m.p256, &leaf_spec);
    make_pem(in_dir("both.pem"), leaf, ca, NULL, m.p256); /* the key in the same file */
    assert_int_equal(shop_add_files(c, in_dir("both.pem"), in_dir("both.pem"), &why), 0);
    X509_free(leaf);
    X509_free(ca);

    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    SSL *ssl = SSL_new(ctx);
    STACK_OF(X509) *chain = NULL;
    assert_int_equal(shop_use(c, "www.example.org", ssl), 0);
    assert_int_equal(SSL_get0_chain_certs(ssl, &chain), 1);
    assert_int_equal(sk_X509_num(chain), 1);
    shop_free(c); /* libssl holds what it needs */
    *state = NULL;
    assert_non_null(SSL_get_certificate(ssl));
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

static void weak_chain_is_refused_at_once(void **state) {
    struct shop *c = *state;
    EVP_PKEY *weak = make_key("RSA:512");
    const struct make_spec ca_spec = {.cn = "ca", .ca = true};
    X509 *ca = make_cert(weak, &ca_spec);
    const struct make_spec leaf_spec = {.cn = "leaf", .san = "DNS:www.example.org", .issuer = ca, .issuer_key = weak};
    X509 *leaf = make_cert(m.p256, &leaf_spec);
    make_pem(in_dir("cert.pem"), leaf, ca, NULL, NULL);
    make_pem(in_dir("key.pem"), NULL, NULL, NULL, m.p256);
    assert_refused(c, add_pair(c), ERR_FORMAT, "libssl refuses the certificate: ca key too small");
    X509_free(leaf);
    X509_free(ca);
    EVP_PKEY_free(weak);
}

/* ---- many, and more ---- */

/* More than the cache holds, so that most are made, dropped and made again. */
static void more_certificates_than_the_cache_holds(void **state) {
    enum { MANY = CERTS_CACHE_ENTRIES + 100 };
    struct shop *c = *state;
    char cn[64], san[80];
    X509 *ca = make_cert(m.rsa2, &(struct make_spec){.cn = "ca", .ca = true});
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(cn, sizeof(cn), "h%u.example.org", i);
        snprintf(san, sizeof(san), "DNS:h%u.example.org", i);
        X509 *x = make_cert(m.p256, &(struct make_spec){.cn = cn, .san = san, .issuer = ca, .issuer_key = m.rsa2});
        make_pem(in_dir("cert.pem"), x, ca, NULL, NULL);
        make_pem(in_dir("key.pem"), NULL, NULL, NULL, m.p256);
        X509_free(x);
        assert_int_equal(add_pair(c), 0);
    }
    X509_free(ca);
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < MANY; i += 29) {
            snprintf(cn, sizeof(cn), "h%u.example.org", i);
            assert_string_equal(served(c, cn, NULL, TLS_1_3), cn);
            assert_string_equal(served(c, "h3.example.org", NULL, TLS_1_2), "h3.example.org");
        }
    assert_int_equal(creds_keys(certs_store(shop_certs(c))), 1); /* one file, one key */
}

/* Handshakes that have begun outlive the set they began with. */
static void a_handshake_outlives_its_certificates(void **state) {
    struct shop *c = *state;
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    SSL *ssl = SSL_new(ctx);
    char cn[32] = "";
    add(c, m.p256, "x", "DNS:www.example.org");
    assert_int_equal(shop_use(c, "www.example.org", ssl), 0);
    shop_free(c);
    *state = NULL;
    X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get_certificate(ssl)), NID_commonName, cn, sizeof(cn));
    assert_string_equal(cn, "x");
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

static void names_beyond_ascii_are_compared_as_a_labels(void **state) {
    struct shop *c = *state;
    add(c, m.p256, "first", "DNS:first.example.net");
    add(c, m.p256, "bücher.example", NULL);
    add(c, m.p256, "a-label", "DNS:xn--fa-hia.example");
    add(c, m.rsa, "*.bücher.example", NULL);
    assert_string_equal(served(c, "xn--bcher-kva.example", NULL, TLS_1_3), "bücher.example");
    assert_string_equal(served(c, "xn--fa-hia.example", NULL, TLS_1_3), "a-label");
    assert_int_equal(shop_lookup(c, "www.xn--bcher-kva.example"), CREDS_WILDCARD);
    assert_int_equal(shop_lookup(c, "bucher.example"), CREDS_DEFAULT);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(nothing_serves_nobody),
        CASE(exact_wildcard_default),
        CASE(common_name_only_without_alternative_names),
        CASE(odd_names_are_passed_over),
        CASE(names_beyond_all_length),
        CASE(many_names),
        CASE(each_key_type_serves_its_clients),
        CASE(default_takes_no_strangers),
        CASE(exact_beats_wildcard_by_key_type),
        CASE(default_does_not_fill_gaps),
        CASE(first_of_a_kind_keeps_the_name),
        CASE(sigalgs_of_each_key),
        CASE(sigalgs_agree_with_libssl),
        CASE(chain_is_sent),
        CASE(weak_chain_is_refused_at_once),
        CASE(more_certificates_than_the_cache_holds),
        CASE(a_handshake_outlives_its_certificates),
        CASE(names_beyond_ascii_are_compared_as_a_labels),
    };
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
