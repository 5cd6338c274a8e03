/*
 * Services of our own handshake, with and without client certificates, and the connection at hand: for tests and fuzzers,
 * without cmocka.
 */
#pragma once

#include "hs13_raw.h"
#include "tls/client_auth.h"

static struct engine_contexts contexts;
static struct hs13_env env;
static struct hs13_shop shop;
static struct tickets *tickets;
static struct tls_server *server, *strict, *lax; /* no client certificates; required; optional */
static X509 *ca;
static EVP_PKEY *ca_key;

/* The case at hand. */
static struct hs13_conn conn;
static struct raw_client rc;
static struct raw_hello hello;
static enum hs13_step last;

static inline struct tls_policy case_policy(const char *name) {
    static const uint16_t groups[] = {0x001d, 0x0017, 0x0018, 0x0019};
    struct tls_policy p = service_policy(name);
    p.groups = groups;
    p.ngroups = ARRAY_LEN(groups);
    return p;
}

#define CASE_DEPTH 9

static inline struct client_auth *case_rules(bool required) {
    char said[256];
    struct text why = text_of(said, sizeof(said));
    uint8_t *der = NULL;
    int len = i2d_X509(ca, &der);
    struct span list = span_of(der, (size_t)len);
    struct client_policy p = {.required = required, .ca = &list, .nca = 1, .depth = CASE_DEPTH};
    struct client_auth *a = client_auth_new(&p, &why);
    make_must(a != NULL, said);
    OPENSSL_free(der);
    return a;
}

static inline int cases_setup(void **state) {
    (void)state;
    static const char *const types[] = {"EC:P-256", "RSA:2048"};
    engine_contexts_init(&contexts, engine_find("auto"));
    make_must(hs13_env_init(&env, &contexts, 16) == 0, "memory");
    shop = hs13_shop_new(types, ARRAY_LEN(types));
    tickets = service_tickets(1);
    ca_key = make_key("EC:P-256");
    ca = make_cert(ca_key, &(struct make_spec){.cn = "clients authority", .ca = true});
    struct tls_policy p = case_policy("web");
    server = service_new(&p, shop.certs, tickets);
    p = case_policy("strict");
    p.clients = case_rules(true);
    p.reports_client_cert = true;
    strict = service_new(&p, shop.certs, tickets);
    p = case_policy("lax");
    p.clients = case_rules(false);
    lax = service_new(&p, shop.certs, tickets);
    return 0;
}

static inline int cases_teardown(void **state) {
    (void)state;
    tls_server_free(server);
    tls_server_free(strict);
    tls_server_free(lax);
    tickets_free(tickets);
    certs_free(shop.certs);
    X509_free(ca);
    EVP_PKEY_free(ca_key);
    hs13_env_fini(&env);
    engine_contexts_fini(&contexts);
    return 0;
}

/* ---- client certificates ---- */

static inline X509 *issue(EVP_PKEY *key, const char *cn) {
    return make_cert(key, &(struct make_spec){.cn = cn, .san = "DNS:robot.example.org", .issuer = ca, .issuer_key = ca_key});
}

/* Certificate with these DERs; EXTS follows each. */
static inline size_t write_chain(uint8_t *to, size_t cap, const struct span *ders, size_t n, struct span exts) {
    struct wr w = wr_of(to, cap);
    size_t list = 0;
    for (size_t i = 0; i < n; i++)
        list += 3 + ders[i].len + 2 + exts.len;
    wr_u8(&w, MSG_CERTIFICATE);
    wr_u24(&w, (uint32_t)(1 + 3 + list));
    wr_u8(&w, 0);
    wr_u24(&w, (uint32_t)list);
    for (size_t i = 0; i < n; i++) {
        wr_u24(&w, (uint32_t)ders[i].len);
        wr_span(&w, ders[i]);
        wr_vec16(&w, exts);
    }
    MUST(wr_end(&w));
    return w.len;
}

/* CertificateVerify as SCHEME over the transcript so far; SERVER: with the other side's context. */
static inline size_t make_proof(EVP_PKEY *key, uint16_t scheme, const char *digest_name, bool pss, bool as_server,
                                uint8_t to[static 1024]) {
    uint8_t digest[HASH_LEN_MAX], content[HANDSHAKE_TBS_MAX], sig[1000];
    size_t sig_len = sizeof(sig);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx = NULL;
    hs13_keys_digest(&rc.keys, digest);
    size_t len = hs13_signed_content(as_server, span_of(digest, hash_len(rc.suite->hash)), content);
    make_must(EVP_DigestSignInit_ex(md, &ctx, digest_name, NULL, NULL, key, NULL) == 1, "proof");
    make_must(!pss || (EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
                       EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1),
              "proof");
    make_must(EVP_DigestSign(md, sig, &sig_len, content, len) == 1, "proof");
    EVP_MD_CTX_free(md);
    struct wr w = wr_of(to, 1024);
    wr_u8(&w, MSG_CERTIFICATE_VERIFY);
    wr_u24(&w, (uint32_t)(4 + sig_len));
    wr_u16(&w, scheme);
    wr_vec16(&w, span_of(sig, sig_len));
    MUST(wr_end(&w));
    return w.len;
}
