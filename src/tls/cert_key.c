#include "tls/cert_key.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#include "base/err.h"

/* Gives the passphrase, if there is one, and notes that it was asked for. */
struct asked {
    struct span passphrase;
    bool asked;
};

static int give_passphrase(char *buf, int size, int writing, void *ctx) {
    struct asked *a = ctx;
    a->asked = true;
    if (a->passphrase.len == 0 || size < 0 || a->passphrase.len > (size_t)size)
        return -1;
    memcpy(buf, a->passphrase.p, a->passphrase.len);
    return (int)a->passphrase.len;
}

static int refuse(struct text *why, int err, const char *file, const char *message) {
    text_addf(why, "%s: %s", file, message);
    return err;
}

static int parse(const struct pem_file *f, const char *file, struct span passphrase, const char *pass_file, EVP_PKEY **ret,
                 struct text *why) {
    struct asked asked = {passphrase, false};
    BIO *bio = BIO_new_mem_buf(f->p, (int)f->len);
    if (!bio)
        return refuse(why, ERR_NOMEM, file, "out of memory");
    ERR_clear_error();
    *ret = PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, &asked);
    BIO_free(bio);
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    int err = *ret ? 0 : ERR_FORMAT;
    if (err && asked.asked && !pass_file)
        (void)refuse(why, err, file, "the key is encrypted, expected passphrase = \"FILE\" beside it");
    else if (err && asked.asked)
        text_addf(why, "%s: the key cannot be decrypted with the passphrase in %s", file, pass_file);
    else if (err && !cert_chain_has_key(f))
        (void)refuse(why, err, file, "found no private key, expected \"-----BEGIN PRIVATE KEY-----\"");
    else if (err)
        text_addf(why, "%s: the private key cannot be read: %s", file, reason ? reason : "no reason given");
    ERR_clear_error();
    return err;
}

int cert_key_read(const char *file, const char *passphrase, EVP_PKEY **ret, struct text *why) {
    struct pem_file f, pass = {.p = NULL};
    struct span line = span_of(NULL, 0);
    int err = passphrase ? pem_file_read(passphrase, "a passphrase", &pass, why) : 0;
    if (err)
        return err;
    if (pass.p) /* its first line */
        line = span_of(pass.p, strcspn((const char *)pass.p, "\r\n"));
    err = pem_file_read(file, "a PEM file", &f, why);
    if (!err)
        err = parse(&f, file, line, passphrase, ret, why);
    pem_file_fini(&f);
    pem_file_fini(&pass);
    return err;
}

int cert_key_check(const struct cert_chain *c, const char *file, const char *passphrase, struct text *why) {
    EVP_PKEY *key = NULL;
    int err = cert_key_read(file, passphrase, &key, why);
    if (err)
        return err;
    if (!cert_chain_is_key_of(c->leaf, key)) {
        err = ERR_FORMAT;
        int found = 0;
        for (int i = 0; !found && i < sk_X509_num(c->others); i++)
            if (cert_chain_is_key_of(sk_X509_value(c->others, i), key))
                found = i + 2;
        if (found)
            text_addf(why, "%s: the key in %s belongs to certificate %d of the file, expected it to belong to the first",
                      c->file, file, found);
        else
            text_addf(why, "%s: the key does not match the certificate in %s", file, c->file);
    }
    EVP_PKEY_free(key);
    return err;
}
