#include "keymaker/key_file.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <string.h>

#include "base/durable.h"
#include "base/err.h"
#include "tls/pem_file.h"

static const struct key_kind {
    const char *group; /* of an elliptic curve; NULL: RSA */
    int bits;
} kinds[MANAGED_KEYS] = {
    [MANAGED_ECDSA_P256] = {"P-256", 256}, [MANAGED_ECDSA_P384] = {"P-384", 384}, [MANAGED_RSA_2048] = {NULL, 2048},
    [MANAGED_RSA_3072] = {NULL, 3072},     [MANAGED_RSA_4096] = {NULL, 4096},
};

bool key_file_is(const EVP_PKEY *key, enum managed_key kind) {
    const struct key_kind *k = &kinds[kind];
    return EVP_PKEY_is_a(key, k->group ? "EC" : "RSA") == 1 && EVP_PKEY_get_bits(key) == k->bits;
}

static int generate_key(enum managed_key kind, EVP_PKEY **ret, struct text *why) {
    const struct key_kind *k = &kinds[kind];
    EVP_PKEY *key = k->group ? EVP_EC_gen(k->group) : EVP_RSA_gen((unsigned)k->bits);
    if (!key) {
        text_addf(why, "a key cannot be made: %s", ERR_reason_error_string(ERR_peek_last_error()));
        return ERR_CRYPTO;
    }
    *ret = key;
    return 0;
}

/* An encrypted key would ask for its passphrase on the terminal: there is none. */
static int no_passphrase(char *buf, int size, int rwflag, void *u) {
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)u;
    return -1;
}

int key_file_parse(struct span pem, EVP_PKEY **ret) {
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.len);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    if (!key)
        return ERR_FORMAT;
    *ret = key;
    return 0;
}

int key_file_read(const char *path, EVP_PKEY **ret, struct text *why) {
    struct pem_file f;
    errno = 0;
    int err = pem_file_read(path, "a private key in PEM", &f, why);
    if (err < 0)
        return err == ERR_SYSTEM && errno == ENOENT ? ERR_NOT_FOUND : err;
    err = key_file_parse(pem_file_span(&f), ret);
    pem_file_fini(&f);
    if (err < 0)
        text_addf(why, "%s: found no private key, expected one in PEM", path);
    return err;
}

int key_file_write(const char *path, EVP_PKEY *key, struct text *why) {
    BIO *bio = BIO_new(BIO_s_mem()); /* wiped by BIO_free() */
    char *p = NULL;
    int err = ERR_CRYPTO;
    if (bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1) {
        long len = BIO_get_mem_data(bio, &p);
        err = durable_write(path, 0600, span_of(p, (size_t)len));
    }
    if (err < 0)
        text_addf(why, "%s: cannot be written: %s", path, err_describe(err, errno));
    BIO_free(bio);
    ERR_clear_error();
    return err;
}

int key_file_ensure(const char *path, enum managed_key kind, EVP_PKEY **ret, struct text *why) {
    char line[512];
    struct text ignored = text_of(line, sizeof(line));
    int err = key_file_read(path, ret, &ignored);
    if (err != ERR_NOT_FOUND) {
        text_add(why, line);
        return err;
    }
    EVP_PKEY *key = NULL;
    err = generate_key(kind, &key, why);
    if (err == 0)
        err = key_file_write(path, key, why);
    if (err == 0)
        *ret = key;
    else
        EVP_PKEY_free(key);
    return err;
}
