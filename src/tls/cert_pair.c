#include "tls/cert_pair.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/secret.h"

#define RSA_BITS_MIN 2048

/* A file's bytes in memory for keys, since any PEM file may hold one. */
struct pem_file {
    uint8_t *p;
    size_t len;
    size_t cap;
    mode_t mode;
};

static void pem_file_fini(struct pem_file *f) {
    secret_free(f->p, f->cap);
    f->p = NULL;
}

static int refuse(struct text *why, int err, const char *file, const char *message) {
    text_addf(why, "%s: %s", file, message);
    return err;
}

static int refuse_errno(struct text *why, const char *file, const char *what) {
    text_addf(why, "%s: %s: %s", file, what, strerror(errno));
    return ERR_SYSTEM;
}

/* Reads until the end of the file; it must not have grown past what fstat() said. */
static int read_whole(int fd, const char *file, struct pem_file *f, struct text *why) {
    while (f->len < f->cap) {
        ssize_t n = read(fd, f->p + f->len, f->cap - f->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return refuse_errno(why, file, "cannot be read");
        if (n == 0)
            return f->len ? 0 : refuse(why, ERR_FORMAT, file, "the file is empty, expected PEM");
        f->len += (size_t)n;
    }
    return refuse(why, ERR_FORMAT, file, "the file changed while it was read");
}

static int read_pem_file(const char *file, struct pem_file *ret, struct text *why) {
    *ret = (struct pem_file){.p = NULL};
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block us */
    if (fd < 0)
        return refuse_errno(why, file, "cannot be opened");

    int err = ERR_FORMAT;
    struct stat st;
    if (fstat(fd, &st) < 0) {
        err = refuse_errno(why, file, "cannot be read");
    } else if (S_ISDIR(st.st_mode)) {
        (void)refuse(why, err, file, "found a folder, expected a PEM file");
    } else if (!S_ISREG(st.st_mode)) {
        (void)refuse(why, err, file, "found no regular file, expected a PEM file");
    } else if (st.st_size > CERT_FILE_MAX) {
        (void)refuse(why, err, file, "the file is longer than 1 MiB");
    } else {
        ret->mode = st.st_mode & 07777;
        ret->cap = (size_t)st.st_size + 1;
        ret->p = secret_alloc(ret->cap, NULL);
        err = ret->p ? read_whole(fd, file, ret, why) : refuse(why, ERR_NOMEM, file, "out of memory");
        if (err)
            pem_file_fini(ret);
    }
    (void)close(fd); /* nothing was written */
    return err;
}

static BIO *bio_of(const struct pem_file *f) {
    return BIO_new_mem_buf(f->p, (int)f->len);
}

static const char *crypto_reason(void) {
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason ? reason : "no reason given";
}

/* All certificates of the file, in their order. */
static int parse_chain(const struct pem_file *f, const char *file, struct cert_pair *pair, struct text *why) {
    BIO *bio = bio_of(f);
    if (!bio)
        return refuse(why, ERR_NOMEM, file, "out of memory");
    ERR_clear_error();
    int err = 0, n = 0;
    for (X509 *x; !err && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)); n++) {
        if (n == 0)
            pair->leaf = x;
        else if (!sk_X509_push(pair->chain, x)) {
            X509_free(x);
            err = refuse(why, ERR_NOMEM, file, "out of memory");
        }
    }
    if (!err && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
        text_addf(why, "%s: certificate %d of the file cannot be read: %s", file, n + 1, crypto_reason());
        err = ERR_FORMAT;
    } else if (!err && n == 0) {
        err = refuse(why, ERR_FORMAT, file, "found no certificate, expected \"-----BEGIN CERTIFICATE-----\"");
    }
    ERR_clear_error();
    BIO_free(bio);
    return err;
}

/* Gives no passphrase, and notes that one was asked for. */
static int refuse_passphrase(char *buf, int size, int writing, void *asked) {
    *(bool *)asked = true;
    return -1;
}

static int parse_key(const struct pem_file *f, const char *file, struct cert_pair *pair, struct text *why) {
    BIO *bio = bio_of(f);
    if (!bio)
        return refuse(why, ERR_NOMEM, file, "out of memory");
    bool asked = false;
    int err = 0;
    ERR_clear_error();
    pair->key = PEM_read_bio_PrivateKey(bio, NULL, refuse_passphrase, &asked);
    if (!pair->key) {
        err = ERR_FORMAT;
        if (asked)
            (void)refuse(why, err, file, "encrypted keys are not supported by this version");
        else if (!memmem(f->p, f->len, "PRIVATE KEY-----", 16))
            (void)refuse(why, err, file, "found no private key, expected \"-----BEGIN PRIVATE KEY-----\"");
        else
            text_addf(why, "%s: the private key cannot be read: %s", file, crypto_reason());
    }
    ERR_clear_error();
    BIO_free(bio);
    return err;
}

static int judge_key(const char *file, struct cert_pair *pair, struct text *why) {
    char name[64] = "";
    switch (EVP_PKEY_get_base_id(pair->key)) {
    case EVP_PKEY_RSA:
        pair->kind = KEY_RSA;
        if (EVP_PKEY_get_bits(pair->key) >= RSA_BITS_MIN)
            return 0;
        text_addf(why, "%s: found an RSA key of %d bits, expected %d or more", file, EVP_PKEY_get_bits(pair->key),
                  RSA_BITS_MIN);
        return ERR_FORMAT;
    case EVP_PKEY_EC:
        pair->kind = KEY_EC_P256;
        if (!EVP_PKEY_get_utf8_string_param(pair->key, OSSL_PKEY_PARAM_GROUP_NAME, name, sizeof(name), NULL))
            name[0] = '\0'; /* a curve given by its numbers */
        if (strcmp(name, SN_X9_62_prime256v1) == 0)
            return 0;
        pair->kind = KEY_EC_P384;
        if (strcmp(name, SN_secp384r1) == 0)
            return 0;
        text_addf(why, "%s: found an EC key on the curve %s, expected P-256 or P-384", file, name[0] ? name : "without a name");
        return ERR_FORMAT;
    case EVP_PKEY_ED25519:
        pair->kind = KEY_ED25519;
        return 0;
    default:
        text_addf(why, "%s: found a key of type %s, expected RSA (%d bits or more), EC (P-256, P-384) or Ed25519", file,
                  EVP_PKEY_get0_type_name(pair->key), RSA_BITS_MIN);
        return ERR_FORMAT;
    }
}

/* The key must be the leaf's; the usual mistakes are told apart. */
static int judge_match(const struct cert_pair *pair, struct text *why) {
    int err = 0;
    if (X509_check_private_key(pair->leaf, pair->key) != 1) {
        err = ERR_FORMAT;
        int found = 0;
        for (int i = 0; !found && i < sk_X509_num(pair->chain); i++)
            if (X509_check_private_key(sk_X509_value(pair->chain, i), pair->key) == 1)
                found = i + 2;
        if (found)
            text_addf(why, "%s: the key in %s belongs to certificate %d of the file, expected it to belong to the first",
                      pair->cert_file, pair->key_file, found);
        else
            text_addf(why, "%s: the key does not match the certificate in %s", pair->key_file, pair->cert_file);
    }
    ERR_clear_error();
    return err;
}

static int load_cert(struct cert_pair *pair, struct text *why) {
    struct pem_file f;
    int err = read_pem_file(pair->cert_file, &f, why);
    if (!err)
        err = parse_chain(&f, pair->cert_file, pair, why);
    pem_file_fini(&f);
    return err;
}

static int load_key(struct cert_pair *pair, struct text *why) {
    struct pem_file f;
    int err = read_pem_file(pair->key_file, &f, why);
    if (!err)
        err = parse_key(&f, pair->key_file, pair, why);
    pair->key_mode = f.mode;
    pem_file_fini(&f);
    return err;
}

int cert_pair_load(const char *cert_file, const char *key_file, struct cert_pair **ret, struct text *why) {
    int err = ERR_NOMEM;
    struct cert_pair *pair = calloc(1, sizeof(*pair));
    if (pair) {
        pair->cert_file = strdup(cert_file);
        pair->key_file = strdup(key_file);
        pair->chain = sk_X509_new_null();
    }
    if (!pair || !pair->cert_file || !pair->key_file || !pair->chain) {
        (void)refuse(why, err, cert_file, "out of memory");
        goto out;
    }
    err = load_cert(pair, why);
    if (!err)
        err = load_key(pair, why);
    if (!err)
        err = judge_key(key_file, pair, why);
    if (!err)
        err = judge_match(pair, why);
    if (err)
        goto out;
    *ret = pair;
    pair = NULL;
out:
    cert_pair_free(pair);
    return err;
}

void cert_pair_free(struct cert_pair *pair) {
    if (!pair)
        return;
    X509_free(pair->leaf);
    sk_X509_pop_free(pair->chain, X509_free);
    EVP_PKEY_free(pair->key);
    free(pair->cert_file);
    free(pair->key_file);
    free(pair);
}

bool cert_pair_has_key(const char *file) {
    char message[1];
    struct text unused = text_of(message, sizeof(message));
    struct pem_file f;
    bool has = read_pem_file(file, &f, &unused) == 0 && memmem(f.p, f.len, "PRIVATE KEY-----", 16) != NULL;
    pem_file_fini(&f);
    return has;
}
