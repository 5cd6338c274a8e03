#include "tls/cert_chain.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "tls/hostname.h"
#include "tls/idna.h"

#define RSA_BITS_MIN 2048

static int refuse(struct text *why, int err, const char *file, const char *message) {
    text_addf(why, "%s: %s", file, message);
    return err;
}

static const char *crypto_reason(void) {
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason ? reason : "no reason given";
}

/* ---- the chain ---- */

static X509 *decode(const uint8_t *der, long len) {
    const uint8_t *p = der;
    X509 *x = d2i_X509(NULL, &p, len);
    if (x && p == der + len)
        return x;
    X509_free(x);
    return NULL;
}

/* DER of LEN bytes, which is taken over, as one of those that were met before, or as a new one among them. */
static X509 *meet(struct cert_known *k, uint8_t *der, long len) {
    for (size_t i = 0; k && i < CERT_KNOWN_MAX; i++)
        if (k->at[i].x && k->at[i].len == len && memcmp(k->at[i].der, der, (size_t)len) == 0) {
            OPENSSL_secure_free(der);
            return X509_up_ref(k->at[i].x) == 1 ? k->at[i].x : NULL;
        }
    X509 *x = decode(der, len);
    if (!k || !x || X509_up_ref(x) != 1) {
        OPENSSL_secure_free(der);
        return x;
    }
    struct cert_met *m = &k->at[k->next++ % CERT_KNOWN_MAX];
    X509_free(m->x);
    OPENSSL_secure_free(m->der);
    *m = (struct cert_met){x, der, len};
    return x;
}

void cert_known_fini(struct cert_known *k) {
    for (size_t i = 0; i < CERT_KNOWN_MAX; i++) {
        X509_free(k->at[i].x);
        OPENSSL_secure_free(k->at[i].der);
    }
    memset(k, 0, sizeof(*k));
}

/* The next certificate of the file; leaves are hardly ever met twice. A key before it is wiped once read. */
static X509 *next_cert(BIO *bio, struct cert_known *known) {
    uint8_t *der = NULL;
    long len = 0;
    if (PEM_bytes_read_bio_secmem(&der, &len, NULL, PEM_STRING_X509, bio, NULL, NULL) != 1)
        return NULL;
    return meet(known, der, len);
}

static int take_certs(BIO *bio, struct cert_known *known, struct cert_chain *c, struct text *why) {
    int err = 0, n = 0;
    ERR_clear_error();
    for (X509 *x; !err && (x = next_cert(bio, n == 0 ? NULL : known)); n++) {
        if (n == 0) {
            c->leaf = x;
        } else if (n == CREDS_CHAIN_MAX || !sk_X509_push(c->others, x)) {
            X509_free(x);
            text_addf(why, "%s: found more than %d certificates", c->file, CREDS_CHAIN_MAX);
            err = ERR_FORMAT;
        }
    }
    if (!err && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
        text_addf(why, "%s: certificate %d of the file cannot be read: %s", c->file, n + 1, crypto_reason());
        err = ERR_FORMAT;
    } else if (!err && n == 0) {
        err = refuse(why, ERR_FORMAT, c->file, "found no certificate, expected \"-----BEGIN CERTIFICATE-----\"");
    }
    ERR_clear_error();
    return err;
}

/* EC keys: the two curves that every client has. */
static int judge_curve(struct cert_chain *c, const EVP_PKEY *key, struct text *why) {
    char name[64] = "";
    if (!EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, name, sizeof(name), NULL))
        name[0] = '\0'; /* a curve given by its numbers */
    c->kind = strcmp(name, SN_secp384r1) == 0 ? CREDS_EC_P384 : CREDS_EC_P256;
    if (c->kind == CREDS_EC_P384 || strcmp(name, SN_X9_62_prime256v1) == 0)
        return 0;
    text_addf(why, "%s: found an EC key on the curve %s, expected P-256 or P-384", c->file, name[0] ? name : "without a name");
    return ERR_FORMAT;
}

static int judge_key(struct cert_chain *c, struct text *why) {
    const EVP_PKEY *key = X509_get0_pubkey(c->leaf);
    if (!key)
        return refuse(why, ERR_FORMAT, c->file, "the certificate's public key cannot be read");
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
        c->kind = CREDS_RSA;
        if (EVP_PKEY_get_bits(key) >= RSA_BITS_MIN)
            return 0;
        text_addf(why, "%s: found an RSA key of %d bits, expected %d or more", c->file, EVP_PKEY_get_bits(key), RSA_BITS_MIN);
        return ERR_FORMAT;
    case EVP_PKEY_EC:
        return judge_curve(c, key, why);
    case EVP_PKEY_ED25519:
        c->kind = CREDS_ED25519;
        return 0;
    default:
        text_addf(why, "%s: found a key of type %s, expected RSA (%d bits or more), EC (P-256, P-384) or Ed25519", c->file,
                  EVP_PKEY_get0_type_name(key), RSA_BITS_MIN);
        return ERR_FORMAT;
    }
}

int cert_chain_parse(const struct pem_file *f, const char *file, struct cert_known *known, struct cert_chain *ret,
                     struct text *why) {
    struct cert_chain c = {.file = file, .others = sk_X509_new_null()};
    BIO *bio = BIO_new_mem_buf(f->p, (int)f->len);
    int err = bio && c.others ? take_certs(bio, known, &c, why) : refuse(why, ERR_NOMEM, file, "out of memory");
    if (!err)
        err = judge_key(&c, why);
    BIO_free(bio);
    ERR_clear_error();
    if (err)
        cert_chain_fini(&c);
    else
        *ret = c;
    return err;
}

void cert_chain_fini(struct cert_chain *c) {
    X509_free(c->leaf);
    sk_X509_pop_free(c->others, X509_free);
    c->leaf = NULL;
    c->others = NULL;
}

bool cert_chain_has_key(const struct pem_file *f) {
    return memmem(f->p, f->len, "PRIVATE KEY-----", 16) != NULL;
}

bool cert_chain_is_key_of(X509 *x, EVP_PKEY *key) {
    bool is = EVP_PKEY_eq(X509_get0_pubkey(x), key) == 1;
    ERR_clear_error();
    return is;
}

int64_t cert_chain_time(const ASN1_TIME *t) {
    struct tm tm;
    bool well = ASN1_TIME_to_tm(t, &tm) == 1;
    ERR_clear_error();
    return well ? (int64_t)timegm(&tm) : INT64_MIN;
}

/* ---- names ---- */

static int tell_name(struct span raw, cert_name_fn each, void *ctx) {
    char name[HOSTNAME_MAX + 1];
    return idna_hostname(raw, name) == 0 ? each(ctx, name) : 0;
}

static int tell_asn1(const ASN1_STRING *s, cert_name_fn each, void *ctx) {
    int len = ASN1_STRING_length(s);
    return len > 0 ? tell_name(span_of(ASN1_STRING_get0_data(s), (size_t)len), each, ctx) : 0;
}

static int tell_common_name(const X509 *leaf, cert_name_fn each, void *ctx) {
    const X509_NAME *subject = X509_get_subject_name(leaf);
    int last = -1;
    for (int i; (i = X509_NAME_get_index_by_NID(subject, NID_commonName, last)) >= 0;)
        last = i;
    if (last < 0)
        return 0;
    uint8_t *utf8 = NULL;
    int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)));
    int err = len > 0 ? tell_name(span_of(utf8, (size_t)len), each, ctx) : 0;
    OPENSSL_free(utf8);
    return err;
}

int cert_chain_names(const struct cert_chain *c, cert_name_fn each, void *ctx, struct text *why) {
    int critical = 0, err = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(c->leaf, NID_subject_alt_name, &critical, NULL);
    ERR_clear_error();
    if (!names && critical != -1)
        return refuse(why, ERR_FORMAT, c->file, "the certificate's alternative names cannot be read");
    bool hosts = false;
    for (int i = 0; !err && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
        hosts = hosts || n->type == GEN_DNS || n->type == GEN_IPADD;
        if (n->type == GEN_DNS)
            err = tell_asn1(n->d.dNSName, each, ctx);
    }
    if (!err && !hosts)
        err = tell_common_name(c->leaf, each, ctx);
    GENERAL_NAMES_free(names);
    return err;
}
