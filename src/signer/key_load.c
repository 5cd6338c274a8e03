#include "signer/key_load.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/rd.h"
#include "base/wr.h"
#include "signer/key_der.h"
#include "signer/vault.h"

#define NUMBERS     8
#define ED25519_LEN 32
#define POINT_MAX   (1 + 2 * 48) /* of P-384, uncompressed */

#define LITTLE_ENDIAN_HERE (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)

/* The numbers of an RSA key, in the order in which they are kept; without the last five it is slow but whole. */
static const char *const rsa_numbers[NUMBERS] = {
    OSSL_PKEY_PARAM_RSA_N,       OSSL_PKEY_PARAM_RSA_E,         OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_FACTOR1,
    OSSL_PKEY_PARAM_RSA_FACTOR2, OSSL_PKEY_PARAM_RSA_EXPONENT1, OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1,
};

static int refuse(struct text *why, int err, const char *file, const char *message) {
    text_addf(why, "%s: %s", file, message);
    return err;
}

/* ---- reading ---- */

/* All of a file, in the vault, with a zero behind it; the caller's. */
static int read_file(int fd, const char *file, size_t max, char **ret, size_t *ret_len, struct text *why) {
    struct stat st;
    if (fstat(fd, &st) < 0) {
        text_addf(why, "%s: cannot be read: %s", file, strerror(errno));
        return ERR_SYSTEM;
    }
    if (!S_ISREG(st.st_mode))
        return refuse(why, ERR_FORMAT, file, "found no regular file");
    if (st.st_size < 0 || (uint64_t)st.st_size > max) {
        text_addf(why, "%s: the file is longer than %zu bytes", file, max);
        return ERR_FORMAT;
    }
    size_t cap = (size_t)st.st_size + 1, len = 0;
    char *p = vault_alloc(cap);
    if (!p)
        return refuse(why, ERR_NOMEM, file, "out of memory");
    ssize_t n = 1;
    while (len < cap && n != 0) {
        n = pread(fd, p + len, cap - len, (off_t)len);
        if (n < 0 && errno != EINTR)
            break;
        len += n > 0 ? (size_t)n : 0;
    }
    if (n == 0 && len > 0) {
        p[len] = '\0';
        *ret = p;
        *ret_len = len;
        return 0;
    }
    int err = n < 0 ? ERR_SYSTEM : ERR_FORMAT;
    if (n < 0)
        text_addf(why, "%s: cannot be read: %s", file, strerror(errno));
    else
        (void)refuse(why, err, file, len ? "the file changed while it was read" : "the file is empty");
    vault_free(p);
    return err;
}

/* What libcrypto is told when it asks, and whether it asked. */
struct asked {
    const char *passphrase; /* NULL = none was named */
    size_t len;
    bool asked;
};

static int give_passphrase(char *buf, int size, int writing, void *ctx) {
    struct asked *a = ctx;
    (void)writing;
    a->asked = true;
    if (!a->passphrase || size < 0 || a->len > (size_t)size)
        return -1;
    memcpy(buf, a->passphrase, a->len);
    return (int)a->len;
}

/* ---- the usual forms, by hand ---- */

/* The public point of a secret number; its length, or 0. */
static size_t ec_point(enum creds_kind kind, struct span secret, uint8_t to[static POINT_MAX]) {
    static EC_GROUP *groups[2];
    EC_GROUP **g = &groups[kind == CREDS_EC_P384];
    if (!*g)
        *g = EC_GROUP_new_by_curve_name(kind == CREDS_EC_P384 ? NID_secp384r1 : NID_X9_62_prime256v1);
    size_t len = 0;
    BIGNUM *n = BN_bin2bn(secret.p, (int)secret.len, NULL);
    EC_POINT *p = *g ? EC_POINT_new(*g) : NULL;
    if (n && p && !BN_is_zero(n) && BN_cmp(n, EC_GROUP_get0_order(*g)) < 0) {
        BN_set_flags(n, BN_FLG_CONSTTIME);
        if (EC_POINT_mul(*g, p, n, NULL, NULL, NULL) == 1)
            len = EC_POINT_point2oct(*g, p, POINT_CONVERSION_UNCOMPRESSED, to, POINT_MAX, NULL);
    }
    EC_POINT_free(p);
    BN_clear_free(n);
    return len;
}

static size_t ed25519_point(struct span seed, uint8_t to[static POINT_MAX]) {
    size_t len = POINT_MAX;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key_ex(NULL, "ED25519", NULL, seed.p, seed.len);
    if (!key || EVP_PKEY_get_raw_public_key(key, to, &len) != 1)
        len = 0;
    EVP_PKEY_free(key);
    return len;
}

/* Whether n is p times q, so that a damaged file is noticed here and not by clients. */
static bool rsa_fits(const struct key_der *k) {
    BIGNUM *n = BN_bin2bn(k->numbers[0].p, (int)k->numbers[0].len, NULL), *p = NULL, *q = NULL, *product = BN_new();
    BN_CTX *ctx = BN_CTX_new();
    p = BN_bin2bn(k->numbers[3].p, (int)k->numbers[3].len, NULL);
    q = BN_bin2bn(k->numbers[4].p, (int)k->numbers[4].len, NULL);
    bool well = n && p && q && product && ctx && BN_mul(product, p, q, ctx) == 1 && BN_cmp(product, n) == 0 &&
                BN_num_bits(n) >= KEY_RSA_BITS_MIN && BN_num_bits(n) <= KEY_RSA_BITS_MAX;
    BN_clear_free(p);
    BN_clear_free(q);
    BN_free(product);
    BN_free(n);
    BN_CTX_free(ctx);
    return well;
}

static bool is_wanted(const struct key_der *k, const struct creds_key *wanted) {
    uint8_t point[POINT_MAX];
    size_t len = 0;
    if (k->kind != wanted->kind)
        return false;
    if (k->kind == CREDS_ED25519)
        len = ed25519_point(k->numbers[0], point);
    else if (k->kind != CREDS_RSA)
        len = ec_point(k->kind, k->numbers[0], point);
    return (k->kind != CREDS_RSA || rsa_fits(k)) && key_der_is(k, span_of(point, len), wanted->spki);
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
    uint8_t *bytes = vault_alloc(len);
    struct wr w = wr_of(bytes, bytes ? len : 0);
    for (size_t i = 0; i < n && k->kind != CREDS_ED25519; i++)
        put_big_endian(&w, k->numbers[i]);
    if (k->kind == CREDS_ED25519)
        wr_span(&w, k->numbers[0]);
    if (bytes)
        *ret = (struct key_parts){k->kind, len, bytes};
    return bytes && wr_end(&w);
}

/* True when PEM holds the key that is wanted in a form that needs no more than reading. */
static bool take_plain(const char *pem, size_t len, const struct creds_key *wanted, struct key_parts *ret) {
    char *form = NULL, *header = NULL;
    uint8_t *der = NULL;
    long der_len = 0;
    struct key_der k;
    bool taken = false;
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    while (!taken && bio && PEM_read_bio(bio, &form, &header, &der, &der_len) == 1) {
        taken =
            !header[0] && key_der_read(form, span_of(der, (size_t)der_len), &k) && is_wanted(&k, wanted) && keep_der(&k, ret);
        OPENSSL_free(form);
        OPENSSL_free(header);
        OPENSSL_clear_free(der, (size_t)der_len);
        form = header = NULL;
        der = NULL;
    }
    BIO_free(bio);
    ERR_clear_error();
    return taken;
}

/* ---- everything else, by libcrypto ---- */

static int parse(const char *pem, size_t len, const char *file, const struct creds_key *wanted, struct asked *a, EVP_PKEY **ret,
                 struct text *why) {
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    if (!bio)
        return refuse(why, ERR_NOMEM, file, "out of memory");
    ERR_clear_error();
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, a);
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    BIO_free(bio);
    if (key) {
        *ret = key;
        ERR_clear_error();
        return 0;
    }
    if (a->asked && !a->passphrase)
        (void)refuse(why, 0, file, "the key is encrypted, expected passphrase = \"FILE\" beside it");
    else if (a->asked)
        text_addf(why, "%s: the key cannot be decrypted with the passphrase in %s", file, wanted->pass_file);
    else if (!memmem(pem, len, "PRIVATE KEY-----", 16))
        (void)refuse(why, 0, file, "found no private key, expected \"-----BEGIN PRIVATE KEY-----\"");
    else
        text_addf(why, "%s: the private key cannot be read: %s", file, reason ? reason : "no reason given");
    ERR_clear_error();
    return ERR_FORMAT;
}

/* *RET_KEY stays NULL when *RET_PARTS could be had at once. */
static int read_key(int fd, const struct creds_key *wanted, struct asked *a, struct key_parts *ret_parts, EVP_PKEY **ret_key,
                    struct text *why) {
    char *pem = NULL;
    size_t len = 0;
    int err = read_file(fd, wanted->file, KEY_FILE_MAX, &pem, &len, why);
    if (!err && !take_plain(pem, len, wanted, ret_parts))
        err = parse(pem, len, wanted->file, wanted, a, ret_key, why);
    vault_free(pem);
    return err;
}

/* ---- judging ---- */

/* The kind of a key that is strong enough; a message otherwise. */
static int judge(const char *file, EVP_PKEY *key, enum creds_kind *ret, struct text *why) {
    char curve[64] = "";
    int bits = EVP_PKEY_get_bits(key);
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
        *ret = CREDS_RSA;
        if (bits >= KEY_RSA_BITS_MIN && bits <= KEY_RSA_BITS_MAX)
            return 0;
        text_addf(why, "%s: found an RSA key of %d bits, expected %d to %d", file, bits, KEY_RSA_BITS_MIN, KEY_RSA_BITS_MAX);
        return ERR_FORMAT;
    case EVP_PKEY_EC:
        if (EVP_PKEY_get_group_name(key, curve, sizeof(curve), NULL) != 1)
            curve[0] = '\0'; /* a curve given by its numbers */
        *ret = strcmp(curve, SN_X9_62_prime256v1) == 0 ? CREDS_EC_P256 : CREDS_EC_P384;
        if (*ret == CREDS_EC_P256 || strcmp(curve, SN_secp384r1) == 0)
            return 0;
        text_addf(why, "%s: found an EC key on the curve %s, expected P-256 or P-384", file,
                  curve[0] ? curve : "without a name");
        return ERR_FORMAT;
    case EVP_PKEY_ED25519:
        *ret = CREDS_ED25519;
        return 0;
    default:
        text_addf(why, "%s: found a key of type %s, expected RSA (%d bits or more), EC (P-256, P-384) or Ed25519", file,
                  EVP_PKEY_get0_type_name(key), KEY_RSA_BITS_MIN);
        return ERR_FORMAT;
    }
}

/* Byte for byte the certificate's as a rule; an odd encoding there is compared by value. */
static bool belongs(EVP_PKEY *key, struct span spki) {
    uint8_t *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    bool same = len > 0 && span_eq(span_of(der, (size_t)len), spki);
    OPENSSL_free(der);
    if (!same) {
        const uint8_t *p = spki.p;
        EVP_PKEY *other = d2i_PUBKEY(NULL, &p, (long)spki.len);
        same = other && EVP_PKEY_eq(key, other) == 1;
        EVP_PKEY_free(other);
    }
    ERR_clear_error();
    return same;
}

static int judge_match(EVP_PKEY *key, enum creds_kind kind, const struct creds_key *wanted, struct text *why) {
    if (kind != wanted->kind) {
        text_addf(why, "%s: the key does not match its certificate: found a key for %s, expected one for %s", wanted->file,
                  creds_kind_name(kind), creds_kind_name(wanted->kind));
        return ERR_FORMAT;
    }
    if (!belongs(key, wanted->spki))
        return refuse(
            why, ERR_FORMAT, wanted->file,
            "the key does not match its certificate: found another key of the same kind, expected the certificate's own");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    bool whole = ctx && EVP_PKEY_pairwise_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return whole ? 0
                 : refuse(why, ERR_FORMAT, wanted->file,
                          "the key is damaged: its public and its private half do not belong together");
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

static int keep(EVP_PKEY *key, enum creds_kind kind, const char *file, struct key_parts *ret, struct text *why) {
    size_t cap = kind == CREDS_RSA ? 8 * (size_t)EVP_PKEY_get_size(key) : 64; /* n and d, and six of half their length */
    BIGNUM *third = NULL;
    if (kind == CREDS_RSA && EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_FACTOR3, &third) == 1) {
        BN_clear_free(third);
        return refuse(why, ERR_FORMAT, file, "found an RSA key of more than two primes, expected two");
    }
    uint8_t *scratch = vault_alloc(cap);
    struct wr w = wr_of(scratch, scratch ? cap : 0);
    int err = scratch ? put_key(&w, key, kind) : ERR_NOMEM;
    struct key_parts p = {.kind = kind, .len = w.len};
    p.bytes = err ? NULL : vault_alloc(w.len);
    if (p.bytes) {
        memcpy(p.bytes, scratch, w.len);
        *ret = p;
    } else {
        err = refuse(why, ERR_NOMEM, file, "out of memory");
    }
    vault_free(scratch);
    return err;
}

void key_parts_fini(struct key_parts *p) {
    vault_free(p->bytes);
    p->bytes = NULL;
}

/* OSSL_PARAM has no const form; whoever gets these only reads. */
static uint8_t *unconst(const uint8_t *p) {
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
                                                  unconst(number.p), number.len);
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
    EVP_PKEY *key = NULL;
    char *pass = NULL;
    struct asked a = {.passphrase = NULL};
    enum creds_kind kind = CREDS_RSA;
    int err = 0;
    if (pass_fd >= 0) {
        size_t len = 0;
        err = read_file(pass_fd, wanted->pass_file, KEY_PASS_MAX + 2, &pass, &len, why);
        if (err)
            return err;
        a.passphrase = pass;
        a.len = strcspn(pass, "\r\n"); /* its first line */
        if (a.len == 0)
            err = refuse(why, ERR_FORMAT, wanted->pass_file, "found an empty first line, expected the passphrase");
    }
    if (!err)
        err = read_key(fd, wanted, &a, ret, &key, why);
    if (!err && key)
        err = judge(wanted->file, key, &kind, why);
    if (!err && key)
        err = judge_match(key, kind, wanted, why);
    if (!err && key)
        err = keep(key, kind, wanted->file, ret, why);
    EVP_PKEY_free(key);
    vault_free(pass);
    return err;
}
