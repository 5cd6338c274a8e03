/* Services for tests and fuzzers of the handshake: certificates of two kinds under one name, and tls_servers with them. */
#pragma once

#include "base/defs.h"
#include "cert_shop.h"
#include "tls/handshake.h"

#define SERVICE_NAME "www.example.org"

/* Certificates, RSA and EC, of SERVICE_NAME and its subdomains. The first is the default. */
static inline struct certs *service_certs(const char *const *key_types, size_t n) {
    char *dir = make_dir();
    struct shop *shop = shop_new();
    char sentence[512];
    for (size_t i = 0; i < n; i++) {
        struct text why = text_of(sentence, sizeof(sentence));
        EVP_PKEY *key = make_key(key_types[i]);
        X509 *cert = make_cert(key, &(struct make_spec){.cn = SERVICE_NAME, .san = "DNS:" SERVICE_NAME ",DNS:*." SERVICE_NAME});
        const char *path = make_path(dir, "pair.pem");
        make_pem(path, cert, NULL, NULL, key);
        make_must(shop_add_files(shop, path, path, &why) == 0, sentence);
        X509_free(cert);
        EVP_PKEY_free(key);
    }
    make_dir_remove(dir);
    return shop_leave(shop);
}

static inline struct certs *service_certs_both(void) {
    static const char *const types[] = {"EC:P-256", "RSA:2048"};
    return service_certs(types, ARRAY_LEN(types));
}

/* A certificate with a key of a kind, from an authority with a key of another; that one self-signed, or from a root. */
struct service_chain {
    const char *key, *issuer;
    const char *root; /* its file then has all three; NULL: the leaf alone */
};

static inline void service_add_chain(struct shop *shop, const char *path, const struct service_chain *c) {
    char sentence[512];
    struct text why = text_of(sentence, sizeof(sentence));
    EVP_PKEY *key = make_key(c->key), *ca_key = make_key(c->issuer), *root_key = c->root ? make_key(c->root) : NULL;
    X509 *root = root_key ? make_cert(root_key, &(struct make_spec){.cn = "root", .ca = true}) : NULL;
    X509 *ca = make_cert(ca_key, &(struct make_spec){.cn = "authority", .ca = true, .issuer = root, .issuer_key = root_key});
    X509 *cert = make_cert(
        key, &(struct make_spec){
                 .cn = SERVICE_NAME, .san = "DNS:" SERVICE_NAME ",DNS:*." SERVICE_NAME, .issuer = ca, .issuer_key = ca_key});
    make_pem(path, cert, root ? ca : NULL, root, key);
    make_must(shop_add_files(shop, path, path, &why) == 0, sentence);
    X509_free(cert);
    X509_free(ca);
    X509_free(root);
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(root_key);
}

static inline struct certs *service_certs_issued(const struct service_chain *chains, size_t n) {
    char *dir = make_dir();
    struct shop *shop = shop_new();
    for (size_t i = 0; i < n; i++)
        service_add_chain(shop, make_path(dir, "pair.pem"), &chains[i]);
    make_dir_remove(dir);
    return shop_leave(shop);
}

/* Each leaf by an authority with a key of the other's kind. */
static inline struct certs *service_certs_crossed(void) {
    static const struct service_chain chains[] = {{"EC:P-256", "RSA:2048", NULL}, {"RSA:2048", "EC:P-256", NULL}};
    return service_certs_issued(chains, ARRAY_LEN(chains));
}

static inline struct tickets *service_tickets(uint8_t seed) {
    uint8_t secret[TICKETS_SECRET_MIN];
    memset(secret, seed, sizeof(secret));
    struct tickets *t = tickets_new(&(struct span){secret, sizeof(secret)}, 1);
    make_must(t != NULL, "tickets");
    return t;
}

#ifndef OWN_TLS13 /* whether TLS 1.3 is by our own handshake: each test of handshakes is built for both */
#define OWN_TLS13 0
#endif

/* All our suites; the groups that every libssl has. */
static inline struct tls_policy service_policy(const char *name) {
    static uint16_t suites[16];
    static const uint16_t groups[] = {0x001d, 0x0017, 0x0018};
    struct tls_policy p = {
        .name = name, .min_version = TLS_1_2, .suites = suites, .groups = groups, .ngroups = 3, .own_tls13 = OWN_TLS13};
    make_must(!OWN_TLS13 || handshake_own_begin(64), "own handshake");
    while (suite_at(p.nsuites)) {
        suites[p.nsuites] = suite_at(p.nsuites)->id;
        p.nsuites++;
    }
    return p;
}

static inline struct tls_server *service_new(const struct tls_policy *p, struct certs *certs, struct tickets *tickets) {
    char sentence[256];
    struct text why = text_of(sentence, sizeof(sentence));
    struct tls_server *s = tls_server_new(p, certs, tickets, &why);
    make_must(s != NULL, sentence);
    return s;
}
