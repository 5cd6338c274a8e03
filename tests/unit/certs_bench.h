/* What tests of certificates share: keys, a directory of its own, pairs of files, and a client that says what it was given. */
#pragma once

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

/* Key generation is slow, so every test shares these. */
static struct {
    EVP_PKEY *rsa, *rsa2, *p256, *p256b, *p384, *ed25519;
    char *dir;
} m;

static char why_bytes[4096];
static struct text why;

static inline int setup_all(void **state) {
    m.rsa = make_key("RSA:2048");
    m.rsa2 = make_key("RSA:2048");
    m.p256 = make_key("EC:P-256");
    m.p256b = make_key("EC:P-256");
    m.p384 = make_key("EC:P-384");
    m.ed25519 = make_key("ED25519");
    return 0;
}

static inline int teardown_all(void **state) {
    EVP_PKEY *keys[] = {m.rsa, m.rsa2, m.p256, m.p256b, m.p384, m.ed25519};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        EVP_PKEY_free(keys[i]);
    return 0;
}

static inline int setup(void **state) {
    m.dir = make_dir();
    why = text_of(why_bytes, sizeof(why_bytes));
    *state = shop_new();
    return *state ? 0 : -1;
}

static inline int teardown(void **state) {
    shop_free(*state);
    make_dir_remove(m.dir);
    return 0;
}

static inline const char *in_dir(const char *name) {
    return make_path(m.dir, name);
}

/* Writes a pair of files and adds it. */
static inline int add_spec(struct shop *c, EVP_PKEY *key, const struct make_spec *spec) {
    X509 *x = make_cert(key, spec);
    make_pem(in_dir("cert.pem"), x, NULL, NULL, NULL);
    make_pem(in_dir("key.pem"), NULL, NULL, NULL, key);
    X509_free(x);
    return shop_add_files(c, in_dir("cert.pem"), in_dir("key.pem"), &why);
}

static inline void add(struct shop *c, EVP_PKEY *key, const char *cn, const char *san) {
    const struct make_spec spec = {.cn = cn, .san = san};
    int err = add_spec(c, key, &spec);
    if (err)
        print_message("%s\n", why.p);
    assert_int_equal(err, 0);
}

/* The last add must have failed with this in its message, and nothing else may have changed. */
static inline void assert_refused(struct shop *c, int err, int want, const char *phrase) {
    assert_int_equal(err, want);
    if (!strstr(why.p, phrase))
        print_message("message: %s\n", why.p);
    assert_non_null(strstr(why.p, phrase));
    assert_int_equal(shop_count(c), 0);
    assert_int_equal(shop_lookup(c, "www.example.org"), CREDS_NO_MATCH);
    why = text_of(why_bytes, sizeof(why_bytes));
}

static inline int add_pair(struct shop *c) {
    return shop_add_files(c, in_dir("cert.pem"), in_dir("key.pem"), &why);
}

/* ---- a handshake in memory ---- */

/* The common name of the certificate a client gets, "" when there is no handshake. Static storage. */
static inline const char *served(struct shop *c, const char *name, const char *client_sigalgs, int version) {
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
        (void)SSL_do_handshake(client); /* "want read" at each turn; the loop's condition decides */
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

/* A good pair on disk, for a test to spoil. */
static inline void write_good_pair(void) {
    const struct make_spec spec = {.cn = "x", .san = "DNS:www.example.org"};
    X509 *x = make_cert(m.p256, &spec);
    make_pem(in_dir("cert.pem"), x, NULL, NULL, NULL);
    make_pem(in_dir("key.pem"), NULL, NULL, NULL, m.p256);
    X509_free(x);
}

static inline void write_named(const char *cert, const char *key, EVP_PKEY *pkey, const char *cn) {
    const struct make_spec spec = {.cn = cn};
    X509 *x = make_cert(pkey, &spec);
    bool same = key && strcmp(cert, key) == 0;
    make_pem(in_dir(cert), x, NULL, NULL, same ? pkey : NULL);
    if (key && !same)
        make_pem(in_dir(key), NULL, NULL, NULL, pkey);
    X509_free(x);
}
