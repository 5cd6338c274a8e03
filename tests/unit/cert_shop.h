/*
 * Certificates for tests from files to clients: loaded as the config role loads them, sealed into a store when first asked for,
 * and used as a handshaker uses them. The keys are those of the files at the time they were added.
 */
#pragma once

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "base/err.h"
#include "make_cert.h"
#include "tls/cert_load.h"
#include "tls/certs.h"
#include "tls/hs_libssl_server.h"

#define SHOP_KEYS_MAX 64

struct shop_keys {
    EVP_PKEY *keys[SHOP_KEYS_MAX];
    size_t n;
};

struct shop {
    struct cert_load *load;
    struct certs *certs; /* NULL until something was asked */
    struct shop_keys *keys;
    char warned[8192]; /* lines */
    struct text warnings;
};

/* Every shop's keys: how often they were asked for, and who gets the right one. */
static struct {
    unsigned asked;
    unsigned good; /* so many do */
    EVP_PKEY *bad; /* the others get this; NULL = none */
} shop_asked = {.good = UINT_MAX};

static inline void shop_gives(unsigned good, EVP_PKEY *bad) {
    shop_asked.asked = 0;
    shop_asked.good = good;
    shop_asked.bad = bad;
}

/* By the public half, as a signer does. */
static inline EVP_PKEY *shop_get_key(void *ctx, const struct creds *store, uint32_t key) {
    struct shop_keys *k = ctx;
    if (shop_asked.asked++ >= shop_asked.good)
        return shop_asked.bad && EVP_PKEY_up_ref(shop_asked.bad) == 1 ? shop_asked.bad : NULL;
    struct span want = creds_key(store, key).spki;
    for (size_t i = 0; i < k->n; i++) {
        uint8_t *der = NULL;
        int len = i2d_PUBKEY(k->keys[i], &der);
        bool same = len > 0 && span_eq(span_of(der, (size_t)len), want);
        OPENSSL_free(der);
        if (same && EVP_PKEY_up_ref(k->keys[i]) == 1)
            return k->keys[i];
    }
    return NULL;
}

/* As a signer signs: all bytes, by the scheme. */
static inline int shop_sign(void *ctx, const struct creds *store, uint32_t key, uint16_t scheme, struct span tbs, uint8_t *sig,
                            size_t cap, size_t *ret_len) {
    static const char *const digests[] = {"SHA256", "SHA384", "SHA512"};
    bool pss = scheme >= 0x0804 && scheme <= 0x0806, ecdsa = (scheme & 0xff) == 3;
    const char *digest = pss ? digests[scheme - 0x0804] : ecdsa ? digests[(scheme >> 8) - 4] : NULL;
    EVP_PKEY *pkey = shop_get_key(ctx, store, key);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    int err = ERR_SIGNER_REFUSED;
    *ret_len = cap;
    if (!pkey)
        goto out;
    make_must(md && EVP_DigestSignInit_ex(md, &pctx, digest, NULL, NULL, pkey, NULL) == 1, "signature");
    make_must(!pss || (EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
                       EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1),
              "padding");
    err = EVP_DigestSign(md, sig, ret_len, tbs.p, tbs.len) == 1 ? 0 : ERR_SIGNER_REFUSED;
out:
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(pkey);
    return err;
}

static inline void shop_release_keys(void *ctx) {
    struct shop_keys *k = ctx;
    for (size_t i = 0; i < k->n; i++)
        EVP_PKEY_free(k->keys[i]);
    free(k);
}

static inline struct shop *shop_new(void) {
    struct shop *s = calloc(1, sizeof(*s));
    make_must(s && (s->keys = calloc(1, sizeof(*s->keys))), "memory");
    s->load = cert_load_new(CERT_LOAD_KEYS);
    s->warnings = text_of(s->warned, sizeof(s->warned));
    make_must(s->load && cert_load_service(s->load, "web", NULL) == 0, "loader");
    return s;
}

static inline void shop_free(struct shop *s) {
    if (!s)
        return;
    if (s->certs)
        certs_free(s->certs); /* the keys with it */
    else
        shop_release_keys(s->keys);
    cert_load_free(s->load);
    free(s);
}

static inline void shop_warn(void *ctx, const char *line) {
    struct shop *s = ctx;
    text_addf(&s->warnings, "%s\n", line);
}

static inline void shop_keep_key(struct shop *s, const char *file) {
    FILE *f = s->keys->n < SHOP_KEYS_MAX ? fopen(file, "re") : NULL;
    EVP_PKEY *key = f ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;
    if (key)
        s->keys->keys[s->keys->n++] = key;
    if (f)
        fclose(f);
}

static inline int shop_add_files(struct shop *s, const char *cert, const char *key, struct text *why) {
    make_must(!s->certs, "the store is sealed");
    int err = cert_load_files(s->load, &(struct cert_load_pair){.cert = cert, .key = key}, why, shop_warn, s);
    if (err == 0)
        shop_keep_key(s, key);
    return err;
}

static inline int shop_add_dir(struct shop *s, const char *dir, struct text *why) {
    char command[600], name[512];
    int err = cert_load_item(s->load, dir, why, shop_warn, s);
    snprintf(command, sizeof(command), "ls %s/*.key %s/*.pem 2>/dev/null", dir, dir);
    FILE *list = popen(command, "r");
    while (list && fgets(name, sizeof(name), list)) {
        name[strcspn(name, "\n")] = '\0';
        shop_keep_key(s, name);
    }
    make_must(list && pclose(list) != -1, command);
    return err;
}

static inline struct certs *shop_certs(struct shop *s) {
    const struct certs_keys keys = {.get = shop_get_key, .sign = shop_sign, .release = shop_release_keys, .ctx = s->keys};
    int fd;
    if (s->certs)
        return s->certs;
    make_must(cert_load_seal(s->load, &fd) == 0, "seal");
    make_must(certs_open(fd, &keys, &s->certs) == 0, "store");
    close(fd);
    return s->certs;
}

static inline size_t shop_count(const struct shop *s) {
    return cert_load_count(s->load);
}

static inline enum creds_match shop_lookup(struct shop *s, const char *name) {
    return shop_count(s) ? certs_lookup(shop_certs(s), 0, name) : CREDS_NO_MATCH;
}

static inline int shop_use(struct shop *s, const char *name, SSL *ssl) {
    return hs_libssl_use_certs(ssl, shop_certs(s), 0, name, NULL);
}

static inline bool shop_has_sigalg(struct shop *s, const char *name, struct span sigalgs, uint16_t version) {
    return certs_has_sigalg(shop_certs(s), 0, name, sigalgs, version);
}

/* The certificates alone, as somebody who keeps no shop has them. */
static inline struct certs *shop_leave(struct shop *s) {
    struct certs *certs = shop_certs(s);
    cert_load_free(s->load);
    free(s);
    return certs;
}
