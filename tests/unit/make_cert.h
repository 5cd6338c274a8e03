/* Keys, certificates and PEM files for tests, made by libcrypto in a directory of the test's own. */
#pragma once

#include <fcntl.h>
#include <ftw.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAKE_DAY (24L * 60 * 60)

/* What a certificate is to say; zeroed fields are the usual values. */
struct make_spec {
    const char *cn;
    const char *san;       /* as in openssl.cnf: "DNS:a.example.org,IP:192.0.2.1"; NULL = none */
    long begins_s, ends_s; /* from now; 0, 0 = an hour ago, in a year */
    X509 *issuer;          /* NULL = itself */
    EVP_PKEY *issuer_key;
    bool ca;
};

/* Stops the test program: without its material no test can say anything. */
static inline void make_must(bool ok, const char *what) {
    if (ok)
        return;
    fprintf(stderr, "test material: %s\n", what);
    abort();
}

/* "RSA:2048", "RSA-PSS:2048", "EC:P-256", "ED25519", ... */
static inline EVP_PKEY *make_key(const char *type) {
    char name[32] = "";
    const char *colon = strchr(type, ':');
    memcpy(name, type, colon ? (size_t)(colon - type) : strlen(type));
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, name, NULL);
    EVP_PKEY *key = NULL;
    make_must(ctx && EVP_PKEY_keygen_init(ctx) == 1, type);
    if (colon)
        make_must(EVP_PKEY_CTX_ctrl_str(ctx, strcmp(name, "EC") == 0 ? "ec_paramgen_curve" : "rsa_keygen_bits", colon + 1) == 1,
                  type);
    make_must(EVP_PKEY_generate(ctx, &key) == 1, type);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static inline void make_extension(X509 *x, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    make_must(e && X509_add_ext(x, e, -1) == 1, value);
    X509_EXTENSION_free(e);
}

static inline X509 *make_cert(EVP_PKEY *key, const struct make_spec *spec) {
    static int serial;
    X509 *x = X509_new();
    make_must(x != NULL, "certificate");
    X509_NAME *subject = X509_get_subject_name(x);
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(x), spec->ends_s ? spec->begins_s : -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), spec->ends_s ? spec->ends_s : 365 * MAKE_DAY);
    X509_set_pubkey(x, key);
    if (spec->cn)
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)spec->cn, -1, -1, 0);
    X509_set_issuer_name(x, spec->issuer ? X509_get_subject_name(spec->issuer) : subject);
    make_extension(x, NID_basic_constraints, spec->ca ? "critical,CA:TRUE" : "CA:FALSE");
    if (spec->san)
        make_extension(x, NID_subject_alt_name, spec->san);
    EVP_PKEY *signer = spec->issuer_key ? spec->issuer_key : key;
    bool own_hash = EVP_PKEY_is_a(signer, "ED25519") || EVP_PKEY_is_a(signer, "ED448");
    make_must(X509_sign(x, signer, own_hash ? NULL : EVP_sha256()) > 0, "signature");
    return x;
}

/* A directory that make_directory_remove() takes away with all that is in it. */
static inline char *make_dir(void) {
    char *dir = strdup("/tmp/tls-off-test-XXXXXX");
    make_must(dir && mkdtemp(dir), "directory");
    return dir;
}

static inline int make_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static inline void make_dir_remove(char *dir) {
    make_must(nftw(dir, make_remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0, dir);
    free(dir);
}

/* A name in a directory; one of four static buffers in turn. */
static inline const char *make_path(const char *dir, const char *name) {
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static inline void make_file(const char *path, const void *bytes, size_t len) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    make_must(fd >= 0 && write(fd, bytes, len) == (ssize_t)len && close(fd) == 0, path);
}

static inline void make_bio_file(const char *path, BIO *bio) {
    char *p = NULL;
    long len = BIO_get_mem_data(bio, &p);
    make_file(path, p, (size_t)len);
    BIO_free(bio);
}

/* PEM: up to three certificates in this order, then the key; NULL ones are skipped. */
static inline void make_pem(const char *path, X509 *a, X509 *b, X509 *c, EVP_PKEY *key) {
    BIO *bio = BIO_new(BIO_s_mem());
    X509 *list[] = {a, b, c};
    for (int i = 0; i < 3; i++)
        make_must(!list[i] || PEM_write_bio_X509(bio, list[i]) == 1, path);
    make_must(!key || PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1, path);
    make_bio_file(path, bio);
}
