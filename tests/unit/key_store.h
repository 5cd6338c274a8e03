/* Private keys in files of every form, and a credential store that names them. */
#pragma once

#include "make_cert.h"

#include "base/defs.h"
#include "base/err.h"
#include "creds/creds_write.h"

static inline void store_digest(struct span bytes, uint8_t ret[static CREDS_DIGEST_LEN]) {
    memset(ret, (int)bytes.len, CREDS_DIGEST_LEN);
}

struct store_item {
    const char *file, *pass_file;
    enum creds_kind kind;
    EVP_PKEY *key; /* whose public half is expected */
};

/* A sealed store of these keys, in their order; a descriptor. */
static inline int store_make(const struct store_item *items, size_t n) {
    int fd = -1;
    struct creds_writer *w = creds_writer_new();
    make_must(w && creds_add_service(w, "web") == 0, "store");
    for (size_t i = 0; i < n; i++) {
        uint8_t *spki = NULL, *der = NULL;
        uint32_t entry;
        X509 *x = make_cert(items[i].key, &(struct make_spec){.cn = "a"});
        int spki_len = i2d_PUBKEY(items[i].key, &spki), der_len = i2d_X509(x, &der);
        const struct creds_cert cert = {span_of(der, (size_t)der_len), 0, 1};
        const struct creds_new_entry e = {
            .kind = items[i].kind,
            .chain = &cert,
            .nchain = 1,
            .spki = span_of(spki, (size_t)spki_len),
            .cert_file = "cert.pem",
            .key_file = items[i].file,
            .pass_file = items[i].pass_file,
            .issuer = "",
            .serial = "",
        };
        make_must(creds_add_entry(w, &e, &entry) == 0, items[i].file);
        OPENSSL_free(spki);
        OPENSSL_free(der);
        X509_free(x);
    }
    make_must(creds_seal(w, store_digest, &fd) == 0, "sealing");
    creds_writer_free(w);
    return fd;
}

enum key_form { FORM_PKCS8, FORM_TRADITIONAL, FORM_PKCS8_ENCRYPTED, FORM_TRADITIONAL_ENCRYPTED, FORMS };

static inline void key_write(const char *path, EVP_PKEY *key, enum key_form form, const char *pass) {
    BIO *bio = BIO_new(BIO_s_mem());
    const EVP_CIPHER *cipher = form >= FORM_PKCS8_ENCRYPTED ? EVP_aes_256_cbc() : NULL;
    bool old = form == FORM_TRADITIONAL || form == FORM_TRADITIONAL_ENCRYPTED;
    const unsigned char *p = (const unsigned char *)(cipher ? pass : NULL);
    int len = p ? (int)strlen(pass) : 0;
    int ok = old ? PEM_write_bio_PrivateKey_traditional(bio, key, cipher, p, len, NULL, NULL)
                 : PEM_write_bio_PKCS8PrivateKey(bio, key, cipher, (const char *)p, len, NULL, NULL);
    make_must(ok == 1, path);
    make_bio_file(path, bio);
}
