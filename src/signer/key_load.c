#include "signer/key_load.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/rd.h"
#include "base/wr.h"
#include "tls/key_read.h"
#include "tls/secure_heap.h"

#define NUMBERS     8
#define ED25519_LEN 32

#define LITTLE_ENDIAN_HERE (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)

/* The numbers of an RSA key, in the order in which they are kept; without the last five it is slow but whole. */
static const char *const rsa_numbers[NUMBERS] = {
    OSSL_PKEY_PARAM_RSA_N,       OSSL_PKEY_PARAM_RSA_E,         OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_FACTOR1,
    OSSL_PKEY_PARAM_RSA_FACTOR2, OSSL_PKEY_PARAM_RSA_EXPONENT1, OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1,
};

static int key_load_error(struct text *why, int err, const char *file, const char *message) {
    text_addf(why, "%s: %s", file, message);
    return err;
}

/* ---- reading ---- */

/* All of an open file, in the secure heap, with a zero behind it; the caller's. */
static int read_key_file(int fd, const char *path, const char *expected, size_t max, char **ret, size_t *ret_len,
                         struct text *why) {
    struct file f = {.path = path, .expected = expected, .max = max, .fd = fd};
    int err = file_check(&f, why);
    if (err < 0)
        return err;
    char *p = secure_heap_alloc(file_room(&f));
    err = file_read(&f, (uint8_t *)p, ret_len, why);
    if (err < 0) {
        secure_heap_free(p);
        return err;
    }
    p[*ret_len] = '\0';
    *ret = p;
    return 0;
}

/* As put_number() writes them: behind the length, in the machine's byte order. */
static void put_big_endian(struct wr *w, struct span number) {
    uint8_t *room;
    wr_u16(w, (uint16_t)number.len);
    room = wr_room(w, number.len);
    for (size_t i = 0; room && i < number.len; i++)
        room[LITTLE_ENDIAN_HERE ? number.len - 1 - i : i] = number.p[i];
}

static bool keep_der(const struct key_der *k, struct key_parts *ret) {
    size_t len = 0, n = k->kind == CREDS_RSA ? KEY_DER_NUMBERS : 1;
    for (size_t i = 0; i < n; i++)
        len += 2 + k->numbers[i].len;
    if (k->kind == CREDS_ED25519)
        len -= 2;
    uint8_t *bytes = secure_heap_alloc(len);
    struct wr w = wr_of(bytes, bytes ? len : 0);
    for (size_t i = 0; i < n && k->kind != CREDS_ED25519; i++)
        put_big_endian(&w, k->numbers[i]);
    if (k->kind == CREDS_ED25519)
        wr_span(&w, k->numbers[0]);
    if (bytes)
        *ret = (struct key_parts){k->kind, len, bytes};
    return bytes && wr_end(&w);
}

/* ---- numbers ---- */

/* A number in the machine's byte order, as OSSL_PARAM has it, behind its length; one that is not there has none. */
static bool put_number(struct wr *w, EVP_PKEY *key, const char *name) {
    BIGNUM *bn = NULL;
    if (EVP_PKEY_get_bn_param(key, name, &bn) != 1) {
        wr_u16(w, 0);
        return false;
    }
    int len = BN_num_bytes(bn);
    wr_u16(w, (uint16_t)len);
    uint8_t *room = wr_room(w, (size_t)len);
    bool put = room && BN_bn2nativepad(bn, room, len) == len;
    BN_clear_free(bn);
    return put;
}

static int put_key(struct wr *w, EVP_PKEY *key, enum creds_kind kind) {
    bool whole = true;
    if (kind == CREDS_ED25519) {
        size_t len = ED25519_LEN;
        uint8_t *room = wr_room(w, len);
        whole = room && EVP_PKEY_get_raw_private_key(key, room, &len) == 1 && len == ED25519_LEN;
    } else if (kind == CREDS_RSA) {
        for (size_t i = 0; i < NUMBERS; i++)
            whole = (put_number(w, key, rsa_numbers[i]) || i >= 3) && whole;
    } else {
        whole = put_number(w, key, OSSL_PKEY_PARAM_PRIV_KEY);
    }
    ERR_clear_error();
    return whole && wr_end(w) ? 0 : ERR_NOMEM;
}

static int keep_parts(EVP_PKEY *key, enum creds_kind kind, const char *file, struct key_parts *ret, struct text *why) {
    size_t cap = kind == CREDS_RSA ? 8 * (size_t)EVP_PKEY_get_size(key) : 64; /* n and d, and six of half their length */
    uint8_t *scratch = secure_heap_alloc(cap);
    struct wr w = wr_of(scratch, scratch ? cap : 0);
    int err = scratch ? put_key(&w, key, kind) : ERR_NOMEM;
    struct key_parts p = {.kind = kind, .len = w.len};
    p.bytes = err ? NULL : secure_heap_alloc(w.len);
    if (p.bytes) {
        memcpy(p.bytes, scratch, w.len);
        *ret = p;
    } else {
        err = key_load_error(why, ERR_NOMEM, file, "out of memory");
    }
    secure_heap_free(scratch);
    return err;
}

void key_parts_fini(struct key_parts *p) {
    secure_heap_free(p->bytes);
    p->bytes = NULL;
}

/* OSSL_PARAM has no const form; the receiver only reads. */
static uint8_t *unconst_bytes(const uint8_t *p) {
    union {
        const uint8_t *in;
        uint8_t *out;
    } u = {p};
    return u.out;
}

EVP_PKEY *key_parts_open(const struct key_parts *p) {
    if (p->kind == CREDS_ED25519)
        return EVP_PKEY_new_raw_private_key_ex(NULL, "ED25519", NULL, p->bytes, p->len);
    OSSL_PARAM params[NUMBERS + 2];
    char p256[] = SN_X9_62_prime256v1, p384[] = SN_secp384r1;
    size_t n = 0, wanted = p->kind == CREDS_RSA ? NUMBERS : 1;
    if (p->kind != CREDS_RSA)
        params[n++] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, p->kind == CREDS_EC_P256 ? p256 : p384, 0);
    struct rd r = rd_of(span_of(p->bytes, p->len));
    for (size_t i = 0; i < wanted; i++) {
        struct span number = rd_vec16(&r);
        if (number.len)
            params[n++] = OSSL_PARAM_construct_BN(p->kind == CREDS_RSA ? rsa_numbers[i] : OSSL_PKEY_PARAM_PRIV_KEY,
                                                  unconst_bytes(number.p), number.len);
    }
    params[n] = OSSL_PARAM_construct_end();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, p->kind == CREDS_RSA ? "RSA" : "EC", NULL);
    EVP_PKEY *key = NULL;
    if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return key;
}

/* ---- all together ---- */

int key_load(int fd, int pass_fd, const struct creds_key *wanted, struct key_parts *ret, struct text *why) {
    struct key_found found = {.key = NULL};
    char *pem = NULL, *pass = NULL;
    size_t len = 0, pass_len = 0;
    int err =
        pass_fd >= 0 ? read_key_file(pass_fd, wanted->pass_file, "a passphrase", KEY_PASS_MAX + 2, &pass, &pass_len, why) : 0;
    if (pass) /* its first line */
        pass_len = strcspn(pass, "\r\n");
    if (!err && pass_fd >= 0 && pass_len == 0)
        err = key_load_error(why, ERR_FORMAT, wanted->pass_file, "found an empty first line, expected the passphrase");
    if (!err)
        err = read_key_file(fd, wanted->file, "a PEM file", KEY_FILE_MAX, &pem, &len, why);
    if (!err)
        err = key_read(span_of(pem, len), span_of(pass, pass_len), wanted, &found, why);
    if (!err && found.key)
        err = keep_parts(found.key, wanted->kind, wanted->file, ret, why);
    else if (!err && !keep_der(&found.plain, ret))
        err = key_load_error(why, ERR_NOMEM, wanted->file, "out of memory");
    key_found_fini(&found);
    secure_heap_free(pem);
    secure_heap_free(pass);
    return err == ERR_NOT_FOUND ? ERR_FORMAT : err;
}
