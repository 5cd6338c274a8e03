#include "tls/key_read.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/obj_mac.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/err.h"
#include "base/owner.h"
#include "tls/key_judge.h"
#include "tls/pem_file.h"
#include "tls/pem_scan.h"

#define POINT_MAX (1 + 2 * 48) /* of P-384, uncompressed */

static int key_error(struct text *why, int err, const char *file, const char *message) {
    text_addf(why, "%s: %s", file, message);
    return err;
}

void key_found_fini(struct key_found *f) {
    EVP_PKEY_free(f->key);
    OPENSSL_clear_free(f->der, f->der_len);
    memset(f, 0, sizeof(*f));
}

/* The passphrase for libcrypto, and whether it was needed. */
struct passphrase_query {
    struct span passphrase; /* empty = none was named */
    bool asked;
};

static int give_passphrase(char *buf, int size, int writing, void *ctx) {
    struct passphrase_query *a = ctx;
    (void)writing;
    a->asked = true;
    if (a->passphrase.len == 0 || size < 0 || a->passphrase.len > (size_t)size)
        return -1;
    memcpy(buf, a->passphrase.p, a->passphrase.len);
    return (int)a->passphrase.len;
}

/* ---- the usual forms, parsed here ---- */

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
    bool ok = n && p && q && product && ctx && BN_mul(product, p, q, ctx) == 1 && BN_cmp(product, n) == 0 &&
              BN_num_bits(n) >= KEY_RSA_BITS_MIN && BN_num_bits(n) <= KEY_RSA_BITS_MAX;
    BN_clear_free(p);
    BN_clear_free(q);
    BN_free(product);
    BN_free(n);
    BN_CTX_free(ctx);
    return ok;
}

static bool is_wanted_key(const struct key_der *k, const struct creds_key *wanted) {
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

/* True when block B is the key that is wanted in a form that needs no more than reading. */
static bool take_plain(const struct pem_block *b, const struct creds_key *wanted, struct key_found *ret) {
    char form[32], message[1];
    struct text t = text_of(form, sizeof(form)), unused = text_of(message, sizeof(message));
    size_t cap = b->body.len + 1, len = 0;
    uint8_t *der = OPENSSL_malloc(cap);
    text_add_span(&t, b->label);
    if (der && !t.cut && pem_block_decode(b, wanted->file, der, &len, &unused) == 0 &&
        key_der_read(form, span_of(der, len), &ret->plain) && is_wanted_key(&ret->plain, wanted)) {
        ret->der = der;
        ret->der_len = cap;
        return true;
    }
    OPENSSL_clear_free(der, cap);
    return false;
}

/* ---- everything else, by libcrypto ---- */

/* The key of block B; NULL when it cannot be read, with libcrypto's reason in its queue. */
static EVP_PKEY *parse_key(const struct pem_block *b, struct passphrase_query *a) {
    size_t cap = PEM_TEXT_CAP(b);
    char *pem = OPENSSL_malloc(cap);
    BIO *bio = pem ? BIO_new_mem_buf(pem, (int)pem_block_text(b, pem)) : NULL;
    ERR_clear_error();
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, a) : NULL;
    BIO_free(bio);
    OPENSSL_clear_free(pem, cap);
    return key;
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
        return ERR_NOT_FOUND;
    }
    if (!belongs(key, wanted->spki))
        return key_error(
            why, ERR_NOT_FOUND, wanted->file,
            "the key does not match its certificate: found another key of the same kind, expected the certificate's own");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    bool whole = ctx && EVP_PKEY_pairwise_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return whole ? 0
                 : key_error(why, ERR_FORMAT, wanted->file,
                             "the key is damaged: its public and its private half do not belong together");
}

static int explain_unreadable(const struct creds_key *wanted, const struct passphrase_query *a, struct text *why) {
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    if (a->asked && !wanted->pass_file)
        (void)key_error(why, 0, wanted->file, "the key is encrypted, expected passphrase = \"FILE\" beside it");
    else if (a->asked)
        text_addf(why, "%s: the key cannot be decrypted with the passphrase in %s", wanted->file, wanted->pass_file);
    else
        text_addf(why, "%s: the private key cannot be read: %s", wanted->file, reason ? reason : "no reason given");
    ERR_clear_error();
    return ERR_FORMAT;
}

/* Whether block B is the key that is wanted. */
static int match_key(const struct pem_block *b, struct span pass, const struct creds_key *wanted, struct key_found *ret,
                     struct text *why) {
    struct passphrase_query a = {pass, false};
    enum creds_kind kind = CREDS_KINDS;
    if (take_plain(b, wanted, ret))
        return 0;
    EVP_PKEY *key = parse_key(b, &a);
    int err = key ? key_judge(wanted->file, key, &kind, why) : explain_unreadable(wanted, &a, why);
    if (!err)
        err = judge_match(key, kind, wanted, why);
    if (err)
        EVP_PKEY_free(key);
    else
        ret->key = key;
    return err;
}

/* ---- files ---- */

/* The first key that fits. Of several that do not, the first is reported; that there are more is added. */
int key_read(struct span pem, struct span pass, const struct creds_key *wanted, struct key_found *ret, struct text *why) {
    struct pem_scan scan = pem_scan_of(pem, wanted->file);
    struct pem_block b;
    unsigned keys = 0;
    int err = ERR_FORMAT;
    enum step step;
    size_t before = why->len;
    while ((step = pem_scan_next(&scan, &b, why)) == STEP_DONE) {
        char said[512];
        struct text t = text_of(said, sizeof(said));
        if (b.kind != PEM_KEY)
            continue;
        int this_err = match_key(&b, pass, wanted, ret, &t);
        if (this_err == 0) {
            why->len = before;
            why->p[before] = '\0';
            return 0;
        }
        if (keys++ == 0) {
            err = this_err;
            text_add(why, said);
        }
    }
    if (step == STEP_FAILED)
        return ERR_FORMAT;
    if (keys == 0)
        return key_error(why, ERR_FORMAT, wanted->file, "found no private key, expected \"-----BEGIN PRIVATE KEY-----\"");
    if (keys > 1)
        text_addf(why, " (the first of %u keys in the file, of which none is the certificate's)", keys);
    return err;
}

/* Whether the key is another certificate's of the chain: its place in the file, or 0. */
static int chain_place_of(const struct cert_chain *c, struct span pem, struct span pass, struct creds_key wanted) {
    char message[1];
    int found = 0;
    for (int i = 0; !found && i < sk_X509_num(c->others); i++) {
        struct key_found key = {.key = NULL};
        struct text unused = text_of(message, sizeof(message));
        X509 *x = sk_X509_value(c->others, i);
        uint8_t *spki = NULL;
        int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &spki);
        wanted.spki = span_of(spki, len > 0 ? (size_t)len : 0);
        if (X509_get0_pubkey(x) && key_judge("", X509_get0_pubkey(x), &wanted.kind, &unused) == 0 &&
            key_read(pem, pass, &wanted, &key, &unused) == 0)
            found = i + 2;
        key_found_fini(&key);
        OPENSSL_free(spki);
    }
    return found;
}

static int check(const struct cert_chain *c, struct span pem, struct span pass, const struct creds_key *wanted,
                 struct text *why) {
    struct key_found key = {.key = NULL};
    size_t before = why->len;
    int err = key_read(pem, pass, wanted, &key, why);
    key_found_fini(&key);
    if (err != ERR_NOT_FOUND)
        return err;
    why->len = before;
    why->p[before] = '\0';
    int place = chain_place_of(c, pem, pass, *wanted);
    if (place)
        text_addf(why, "%s: the key in %s belongs to certificate %d of the file, expected it to belong to the first", c->file,
                  wanted->file, place);
    else
        text_addf(why, "%s: the key does not match the certificate in %s", wanted->file, c->file);
    return ERR_FORMAT;
}

/* A key, or what opens one, of another owner, who can replace it. */
static int read_owned(const char *file, const char *wanted, struct pem_file *ret, struct text *why) {
    int err = pem_file_read(file, wanted, ret, why);
    if (err || owner_is_trusted(ret->owner))
        return err;
    text_addf(why, "%s: the file is owned by user %u, expected %s", file, (unsigned)ret->owner, owner_expected());
    return ERR_FORMAT;
}

int key_read_check(const struct cert_chain *c, const char *file, const char *passphrase, struct text *why) {
    struct pem_file f = {.p = NULL}, pass = {.p = NULL};
    struct span line = span_of(NULL, 0);
    uint8_t *spki = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(c->leaf), &spki);
    int err = len > 0 ? 0 : key_error(why, ERR_NOMEM, file, "out of memory");
    if (!err && passphrase)
        err = read_owned(passphrase, "a passphrase", &pass, why);
    if (pass.p)
        line = span_of(pass.p, strcspn((const char *)pass.p, "\r\n"));
    if (!err && passphrase && line.len == 0)
        err = key_error(why, ERR_FORMAT, passphrase, "found an empty first line, expected the passphrase");
    if (!err)
        err = read_owned(file, "a PEM file", &f, why);
    const struct creds_key wanted = {c->kind, file, passphrase, span_of(spki, len > 0 ? (size_t)len : 0)};
    if (!err)
        err = check(c, pem_file_span(&f), line, &wanted, why);
    OPENSSL_free(spki);
    pem_file_fini(&f);
    pem_file_fini(&pass);
    return err;
}
