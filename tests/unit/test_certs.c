#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "cert_shop.h"
#include "tls/suite.h"

/* Reads of files: what the n-th one does. */
static struct {
    int fail_at; /* counts down; at 1 it fails once with this errno */
    int fail_errno;
    size_t most; /* bytes a read gives at the most, 0 = as asked */
} reads;

ssize_t __real_read(int fd, void *to, size_t n);
ssize_t __wrap_read(int fd, void *to, size_t n);

ssize_t __wrap_read(int fd, void *to, size_t n) {
    if (reads.fail_at && --reads.fail_at == 0) {
        errno = reads.fail_errno;
        return -1;
    }
    return __real_read(fd, to, reads.most ? MIN(n, reads.most) : n);
}

/* Key generation is slow, so every test shares these. */
static struct {
    EVP_PKEY *rsa, *rsa2, *p256, *p256b, *p384, *ed25519;
    char *folder;
} m;

static char why_bytes[4096];
static struct text why;

static int setup_all(void **state) {
    m.rsa = make_key("RSA:2048");
    m.rsa2 = make_key("RSA:2048");
    m.p256 = make_key("EC:P-256");
    m.p256b = make_key("EC:P-256");
    m.p384 = make_key("EC:P-384");
    m.ed25519 = make_key("ED25519");
    return 0;
}

static int teardown_all(void **state) {
    EVP_PKEY *keys[] = {m.rsa, m.rsa2, m.p256, m.p256b, m.p384, m.ed25519};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        EVP_PKEY_free(keys[i]);
    return 0;
}

static int setup(void **state) {
    memset(&reads, 0, sizeof(reads));
    m.folder = make_folder();
    why = text_of(why_bytes, sizeof(why_bytes));
    *state = shop_new();
    return *state ? 0 : -1;
}

static int teardown(void **state) {
    shop_free(*state);
    make_folder_remove(m.folder);
    return 0;
}

static const char *in_folder(const char *name) {
    return make_path(m.folder, name);
}

/* Writes a pair of files and adds it. */
static int add_spec(struct shop *c, EVP_PKEY *key, const struct make_spec *spec) {
    X509 *x = make_cert(key, spec);
    make_pem(in_folder("cert.pem"), x, NULL, NULL, NULL);
    make_pem(in_folder("key.pem"), NULL, NULL, NULL, key);
    X509_free(x);
    return shop_add_files(c, in_folder("cert.pem"), in_folder("key.pem"), &why);
}

static void add(struct shop *c, EVP_PKEY *key, const char *cn, const char *san) {
    const struct make_spec spec = {.cn = cn, .san = san};
    int err = add_spec(c, key, &spec);
    if (err)
        print_message("%s\n", why.p);
    assert_int_equal(err, 0);
}

/* The last add must have failed with this in its message, and nothing else may have changed. */
static void assert_refused(struct shop *c, int err, int want, const char *phrase) {
    assert_int_equal(err, want);
    if (!strstr(why.p, phrase))
        print_message("message: %s\n", why.p);
    assert_non_null(strstr(why.p, phrase));
    assert_int_equal(shop_count(c), 0);
    assert_int_equal(shop_lookup(c, "www.example.org"), CREDS_NO_MATCH);
    why = text_of(why_bytes, sizeof(why_bytes));
}

static int add_pair(struct shop *c) {
    return shop_add_files(c, in_folder("cert.pem"), in_folder("key.pem"), &why);
}

/* ---- a handshake in memory ---- */

/* The common name of the certificate a client gets, "" when there is no handshake. Static storage. */
static const char *served(struct shop *c, const char *name, const char *client_sigalgs, int version) {
    static char cn[128];
    SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method()), *server_ctx = SSL_CTX_new(TLS_server_method());
    SSL *client = SSL_new(client_ctx), *server = SSL_new(server_ctx);
    BIO *a = NULL, *b = NULL;
    assert_true(client && server && BIO_new_bio_pair(&a, 0, &b, 0) == 1);
    SSL_set_bio(client, a, a);
    SSL_set_bio(server, b, b);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    SSL_set_max_proto_version(client, version);
    if (client_sigalgs) {
        char list[64]; /* the macro behind the call drops const */
        snprintf(list, sizeof(list), "%s", client_sigalgs);
        assert_int_equal(SSL_set1_sigalgs_list(client, list), 1);
    }
    cn[0] = '\0';
    assert_int_equal(shop_use(c, name, server), 0);
    for (int i = 0; i < 10 && !(SSL_is_init_finished(client) && SSL_is_init_finished(server)); i++) {
        (void)SSL_do_handshake(client); /* "want read" at each turn; the loop's condition tells */
        (void)SSL_do_handshake(server);
    }
    if (SSL_is_init_finished(client) && SSL_is_init_finished(server))
        X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(client)), NID_commonName, cn, sizeof(cn));
    SSL_free(client);
    SSL_free(server);
    SSL_CTX_free(client_ctx);
    SSL_CTX_free(server_ctx);
    return cn;
}

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
    make_pem(in_folder("both.pem"), leaf, ca, NULL, m.p256); /* the key in the same file */
    assert_int_equal(shop_add_files(c, in_folder("both.pem"), in_folder("both.pem"), &why), 0);
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
    make_pem(in_folder("cert.pem"), leaf, ca, NULL, NULL);
    make_pem(in_folder("key.pem"), NULL, NULL, NULL, m.p256);
    assert_refused(c, add_pair(c), ERR_FORMAT, "libssl refuses the certificate: ca key too small");
    X509_free(leaf);
    X509_free(ca);
    EVP_PKEY_free(weak);
}

/* ---- files that are wrong ---- */

/* A good pair on disk, for a test to spoil. */
static void write_good_pair(void) {
    const struct make_spec spec = {.cn = "x", .san = "DNS:www.example.org"};
    X509 *x = make_cert(m.p256, &spec);
    make_pem(in_folder("cert.pem"), x, NULL, NULL, NULL);
    make_pem(in_folder("key.pem"), NULL, NULL, NULL, m.p256);
    X509_free(x);
}

static void bad_files_are_told(void **state) {
    struct shop *c = *state;
    static const char *const files[] = {"cert.pem", "key.pem"};
    for (int i = 0; i < 2; i++) {
        write_good_pair();
        unlink(in_folder(files[i]));
        assert_refused(c, add_pair(c), ERR_SYSTEM, "cannot be opened: No such file or directory");
        mkdir(in_folder(files[i]), 0700);
        assert_refused(c, add_pair(c), ERR_FORMAT, "found a folder");
        rmdir(in_folder(files[i]));
        assert_int_equal(mkfifo(in_folder(files[i]), 0600), 0);
        assert_refused(c, add_pair(c), ERR_FORMAT, "no regular file");
        unlink(in_folder(files[i]));
        make_file(in_folder(files[i]), "", 0);
        assert_refused(c, add_pair(c), ERR_FORMAT, "empty");
        make_file(in_folder(files[i]), "hello\0there", 11);
        assert_refused(c, add_pair(c), ERR_FORMAT, i ? "found no private key" : "found no certificate");
        assert_int_equal(truncate(in_folder(files[i]), 1024 * 1024 + 1), 0);
        assert_refused(c, add_pair(c), ERR_FORMAT, "longer than 1 MiB");
        assert_int_equal(truncate(in_folder(files[i]), 1024 * 1024), 0);
        assert_refused(c, add_pair(c), ERR_FORMAT, i ? "found no private key" : "found no certificate");
    }
    write_good_pair();
    assert_int_equal(add_pair(c), 0);
}

static void reads_fail_and_come_in_pieces(void **state) {
    struct shop *c = *state;
    write_good_pair();
    reads.most = 7;
    reads.fail_errno = EINTR;
    for (int n = 1; n < 20; n++) {
        reads.fail_at = n;
        assert_int_equal(add_pair(c), 0);
    }
    shop_free(c);
    *state = c = shop_new();
    reads.most = 0;
    reads.fail_errno = EIO;
    for (int n = 1; n <= 4; n++) { /* two files, each read once for its bytes and once for its end */
        reads.fail_at = n;
        assert_refused(c, add_pair(c), ERR_SYSTEM, "cannot be read: Input/output error");
    }
}

static void swapped_files_are_told(void **state) {
    struct shop *c = *state;
    write_good_pair();
    assert_refused(c, shop_add_files(c, in_folder("key.pem"), in_folder("cert.pem"), &why), ERR_FORMAT, "found no certificate");
}

static void broken_certificates_are_told(void **state) {
    struct shop *c = *state;
    write_good_pair();
    static const char broken[] = "-----BEGIN CERTIFICATE-----\nMIIBAAAA\n-----END CERTIFICATE-----\n";
    make_file(in_folder("cert.pem"), broken, sizeof(broken) - 1);
    assert_refused(c, add_pair(c), ERR_FORMAT, "certificate 1 of the file cannot be read");

    write_good_pair();
    FILE *f = fopen(in_folder("cert.pem"), "a");
    assert_non_null(f);
    fputs(broken, f);
    fclose(f);
    assert_refused(c, add_pair(c), ERR_FORMAT, "certificate 2 of the file cannot be read");

    static const char cut[] = "-----BEGIN CERTIFICATE-----\nMIIBAAAA\n";
    make_file(in_folder("cert.pem"), cut, sizeof(cut) - 1);
    assert_refused(c, add_pair(c), ERR_FORMAT, "cannot be read");
    static const char bad_key[] = "-----BEGIN PRIVATE KEY-----\nMIIBAAAA\n-----END PRIVATE KEY-----\n";
    write_good_pair();
    make_file(in_folder("key.pem"), bad_key, sizeof(bad_key) - 1);
    assert_refused(c, add_pair(c), ERR_FORMAT, "the private key cannot be read");
}

static void broken_alternative_names_are_told(void **state) {
    struct shop *c = *state;
    const struct make_spec spec = {.cn = "www.example.org"};
    X509 *x = make_cert(m.p256, &spec);
    ASN1_OCTET_STRING *junk = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(junk, (const unsigned char *)"\x30\x05\x82\x7f", 4);
    X509_EXTENSION *e = X509_EXTENSION_create_by_NID(NULL, NID_subject_alt_name, 0, junk);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    assert_true(X509_sign(x, m.p256, EVP_sha256()) > 0);
    make_pem(in_folder("cert.pem"), x, NULL, NULL, NULL);
    make_pem(in_folder("key.pem"), NULL, NULL, NULL, m.p256);
    X509_EXTENSION_free(e);
    ASN1_OCTET_STRING_free(junk);
    X509_free(x);
    assert_refused(c, add_pair(c), ERR_FORMAT, "alternative names cannot be read");
}

static void encrypted_keys_are_told(void **state) {
    struct shop *c = *state;
    write_good_pair();
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, m.p256, EVP_aes_256_cbc(), "secret", 6, NULL, NULL), 1);
    make_bio_file(in_folder("key.pem"), bio);
    assert_refused(c, add_pair(c), ERR_FORMAT, "the key is encrypted, expected passphrase = ");

    bio = BIO_new(BIO_s_mem());
    assert_int_equal(
        PEM_write_bio_PrivateKey_traditional(bio, m.p256, EVP_aes_128_cbc(), (const unsigned char *)"secret", 6, NULL, NULL),
        1);
    make_bio_file(in_folder("key.pem"), bio);
    assert_refused(c, add_pair(c), ERR_FORMAT, "the key is encrypted, expected passphrase = ");
}

static void traditional_keys_are_taken(void **state) {
    struct shop *c = *state;
    EVP_PKEY *keys[] = {m.p256, m.rsa};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct make_spec spec = {.cn = "x", .san = "DNS:www.example.org"};
        X509 *x = make_cert(keys[i], &spec);
        make_pem(in_folder("cert.pem"), x, NULL, NULL, NULL);
        X509_free(x);
        BIO *bio = BIO_new(BIO_s_mem());
        if (i == 0) /* as `openssl ecparam -genkey` writes it: prime256v1 in a block of its own */
            BIO_puts(bio, "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n");
        assert_int_equal(PEM_write_bio_PrivateKey_traditional(bio, keys[i], NULL, NULL, 0, NULL, NULL), 1);
        make_bio_file(in_folder("key.pem"), bio);
        assert_int_equal(add_pair(c), 0);
    }
}

static void other_keys_are_told(void **state) {
    struct shop *c = *state;
    static const struct {
        const char *type, *phrase;
    } cases[] = {
        {"RSA:1024", "found an RSA key of 1024 bits, expected 2048 or more"},
        {"RSA-PSS:2048", "found a key of type RSA-PSS"},
        {"EC:P-521", "found an EC key on the curve secp521r1, expected P-256 or P-384"},
        {"EC:secp256k1", "found an EC key on the curve secp256k1"},
        {"ED448", "found a key of type ED448"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct make_spec spec = {.cn = "x", .san = "DNS:www.example.org"};
        EVP_PKEY *key = make_key(cases[i].type);
        int err = add_spec(c, key, &spec);
        EVP_PKEY_free(key);
        assert_refused(c, err, ERR_FORMAT, cases[i].phrase);
    }
}

static void keys_of_others_are_told(void **state) {
    struct shop *c = *state;
    write_good_pair();
    make_pem(in_folder("key.pem"), NULL, NULL, NULL, m.p256b);
    assert_refused(c, add_pair(c), ERR_FORMAT, "the key does not match the certificate in ");
    make_pem(in_folder("key.pem"), NULL, NULL, NULL, m.rsa);
    assert_refused(c, add_pair(c), ERR_FORMAT, "the key does not match the certificate in ");

    /* the usual mistake: the chain in the wrong order */
    const struct make_spec spec = {.cn = "x", .san = "DNS:www.example.org"};
    X509 *leaf = make_cert(m.rsa, &spec), *ca = make_cert(m.rsa2, &spec);
    make_pem(in_folder("cert.pem"), ca, leaf, NULL, NULL);
    assert_refused(c, add_pair(c), ERR_FORMAT, "belongs to certificate 2 of the file, expected it to belong to the first");
    X509_free(leaf);
    X509_free(ca);
}

static void failure_keeps_what_was_there(void **state) {
    struct shop *c = *state;
    add(c, m.p256, "x", "DNS:www.example.org");
    assert_int_equal(shop_add_files(c, "/nonexistent", "/nonexistent", &why), ERR_SYSTEM);
    assert_int_equal(shop_count(c), 1);
    assert_string_equal(served(c, "www.example.org", NULL, TLS_1_3), "x");
}

/* ---- folders ---- */

static void write_named(const char *cert, const char *key, EVP_PKEY *pkey, const char *cn) {
    const struct make_spec spec = {.cn = cn};
    X509 *x = make_cert(pkey, &spec);
    bool same = key && strcmp(cert, key) == 0;
    make_pem(in_folder(cert), x, NULL, NULL, same ? pkey : NULL);
    if (key && !same)
        make_pem(in_folder(key), NULL, NULL, NULL, pkey);
    X509_free(x);
}

static void folder_of_pairs(void **state) {
    struct shop *c = *state;
    write_named("c.pem", "c.pem", m.p256, "c.example.org");
    write_named("b.crt", "b.key", m.rsa, "b.example.org");
    write_named("a.pem", "a.key", m.p256, "a.example.org");
    write_named(".hidden.pem", ".hidden.key", m.p256, "hidden.example.org");
    write_named("lonely.pem", NULL, m.p256, "lonely.example.org");
    write_named("lonely2.crt", NULL, m.p256, "lonely2.example.org");
    make_file(in_folder("README"), "x", 1);
    make_file(in_folder("other.key"), "x", 1);
    mkdir(in_folder("folder.pem"), 0700);
    mkdir(in_folder("sub"), 0700);
    assert_int_equal(symlink("/nonexistent", in_folder("dangling.pem")), 0);
    assert_int_equal(shop_add_folder(c, m.folder, &why), 0);
    assert_int_equal(shop_count(c), 3);
    assert_string_equal(served(c, "a.example.org", NULL, TLS_1_3), "a.example.org");
    assert_string_equal(served(c, "b.example.org", NULL, TLS_1_3), "b.example.org");
    assert_string_equal(served(c, "c.example.org", NULL, TLS_1_3), "c.example.org");
    assert_int_equal(shop_lookup(c, "hidden.example.org"), CREDS_DEFAULT);
    assert_int_equal(shop_lookup(c, "lonely.example.org"), CREDS_DEFAULT);
    assert_string_equal(served(c, "", NULL, TLS_1_3), "a.example.org"); /* first by name */
}

static void folder_without_pairs(void **state) {
    struct shop *c = *state;
    write_named("cert.pem", NULL, m.p256, "x.example.org");
    assert_refused(c, shop_add_folder(c, m.folder, &why), ERR_FORMAT, "found no certificate with its key");
    assert_refused(c, shop_add_folder(c, "/nonexistent", &why), ERR_SYSTEM, "the folder cannot be read");
    assert_refused(c, shop_add_folder(c, in_folder("cert.pem"), &why), ERR_SYSTEM, "the folder cannot be read");
}

static void folder_tells_every_fault(void **state) {
    struct shop *c = *state;
    write_named("a.pem", "a.key", m.p256, "a.example.org");
    make_pem(in_folder("a.key"), NULL, NULL, NULL, m.rsa);
    write_named("b.pem", "b.key", m.p256, "b.example.org");
    write_named("c.pem", "c.key", m.p256, "c.example.org");
    make_file(in_folder("c.key"), "", 0);
    write_named("d.pem", "d.key", m.p256, "d.example.org");
    assert_int_equal(shop_add_folder(c, m.folder, &why), ERR_FORMAT);
    assert_non_null(strstr(why.p, "a.key: the key does not match"));
    assert_non_null(strstr(why.p, "; "));
    assert_non_null(strstr(why.p, "c.key: the file is empty"));
    assert_string_not_equal(why.p + why.len - 2, "; ");
    assert_int_equal(shop_count(c), 2);
}

/* ---- warnings ---- */

static void warns_of_times(void **state) {
    static const struct {
        long begins, ends;
        const char *phrase;
    } cases[] = {
        {-MAKE_DAY, 90 * MAKE_DAY, NULL},
        {-MAKE_DAY, 14 * MAKE_DAY + 600, NULL},
        {-MAKE_DAY, 14 * MAKE_DAY - 600, "certificate 1 of the chain expires on "},
        {-MAKE_DAY, MAKE_DAY + 600, ", in 1 day\n"},
        {-MAKE_DAY, -10, "certificate 1 of the chain expired on "},
        {-9 * MAKE_DAY, -8 * MAKE_DAY, "certificate 1 of the chain expired on "},
        {3600, 90 * MAKE_DAY, "certificate 1 of the chain is not valid before "},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct make_spec spec = {
            .cn = "x", .san = "DNS:www.example.org", .begins_s = cases[i].begins, .ends_s = cases[i].ends};
        struct shop *c = shop_new();
        assert_non_null(c);
        assert_int_equal(add_spec(c, m.p256, &spec), 0);
        if (cases[i].phrase)
            assert_non_null(strstr(c->warned, cases[i].phrase));
        else
            assert_string_equal(c->warned, "");
        shop_free(c);
    }
}

static void warns_of_the_chain(void **state) {
    struct shop *c = *state;
    const struct make_spec ca_spec = {.cn = "ca", .ca = true, .begins_s = -9 * MAKE_DAY, .ends_s = -MAKE_DAY};
    X509 *ca = make_cert(m.rsa, &ca_spec);
    const struct make_spec leaf_spec = {.cn = "leaf", .issuer = ca, .issuer_key = m.rsa};
    X509 *leaf = make_cert(m.p256, &leaf_spec);
    make_pem(in_folder("x.pem"), leaf, ca, NULL, m.p256);
    X509_free(leaf);
    X509_free(ca);
    assert_int_equal(shop_add_folder(c, m.folder, &why), 0);
    assert_non_null(strstr(c->warned, "certificate 2 of the chain expired on "));
}

static void warns_of_open_keys(void **state) {
    struct shop *c = *state;
    write_good_pair();
    assert_int_equal(chmod(in_folder("key.pem"), 0640), 0);
    assert_int_equal(add_pair(c), 0);
    assert_non_null(strstr(c->warned, "key.pem: the private key is open to other users (mode 0640), expected 0600"));
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
        CASE(bad_files_are_told),
        CASE(reads_fail_and_come_in_pieces),
        CASE(swapped_files_are_told),
        CASE(broken_certificates_are_told),
        CASE(broken_alternative_names_are_told),
        CASE(encrypted_keys_are_told),
        CASE(traditional_keys_are_taken),
        CASE(other_keys_are_told),
        CASE(keys_of_others_are_told),
        CASE(failure_keeps_what_was_there),
        CASE(folder_of_pairs),
        CASE(folder_without_pairs),
        CASE(folder_tells_every_fault),
        CASE(warns_of_times),
        CASE(warns_of_the_chain),
        CASE(warns_of_open_keys),
    };
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
