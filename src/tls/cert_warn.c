#include "tls/cert_warn.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "creds/creds.h"

#define STATUS_REQUEST 5 /* RFC 7633: the TLS extension that a client must see answered */

/* The certificates of a file, in its order. */
struct row {
    const struct cert_chain *chain;
    const struct cert_warning *w;
    int n;
    X509 *at[CREDS_CHAIN_MAX];
    bool linked[CREDS_CHAIN_MAX]; /* it is above the leaf, by any path */
};

void cert_roots_fini(struct cert_roots *r) {
    X509_STORE_free(r->store);
    r->store = NULL;
}

/* ---- output ---- */

struct chain_line {
    char bytes[PATH_MAX + 512];
    struct text t;
};

static void begin_warning(struct chain_line *l, const struct row *r) {
    l->t = text_of(l->bytes, sizeof(l->bytes));
    text_addf(&l->t, "%s: ", r->chain->file);
}

static void end_warning(struct chain_line *l, const struct row *r, const char *rest) {
    text_add(&l->t, rest);
    r->w->fn(r->w->ctx, l->bytes);
}

static void add_quoted_name(struct chain_line *l, const X509_NAME *name) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *p = NULL;
    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB) >= 0) {
        long n = BIO_get_mem_data(bio, &p);
        text_add(&l->t, "\"");
        text_add_span(&l->t, span_of(p, n > 0 ? (size_t)MIN(n, 256L) : 0));
        text_add(&l->t, "\"");
    }
    BIO_free(bio);
}

/* "FILE: certificate 2 of the file ("CN = x") REST" */
static void warn_chain_cert(const struct row *r, int i, const char *rest) {
    struct chain_line l;
    begin_warning(&l, r);
    text_addf(&l.t, "certificate %d of the file (", i + 1);
    add_quoted_name(&l, X509_get_subject_name(r->at[i]));
    end_warning(&l, r, rest);
}

static void warn_chain(const struct row *r, const char *what) {
    struct chain_line l;
    begin_warning(&l, r);
    end_warning(&l, r, what);
}

/* ---- who issued whom ---- */

static bool issued(X509 *issuer, X509 *x) {
    return X509_check_issued(issuer, x) == X509_V_OK;
}

static bool is_own_issuer(X509 *x) {
    return X509_get_extension_flags(x) & EXFLAG_SI;
}

/* Whether certificate I issued one of the first N. */
static bool issued_one_before(const struct row *r, int i, int n) {
    for (int k = 0; k < n; k++)
        if (k != i && issued(r->at[i], r->at[k]))
            return true;
    return false;
}

/* What is above the leaf, or above what is: there may be several paths, since CAs sign each other. */
static void link_all(struct row *r) {
    r->linked[0] = true;
    for (bool more = true; more;) {
        more = false;
        for (int i = 1; i < r->n; i++)
            for (int k = 0; k < r->n && !r->linked[i]; k++)
                if (k != i && r->linked[k] && issued(r->at[i], r->at[k]))
                    r->linked[i] = more = true;
    }
}

/* Whether the system's CAs issued X. */
static bool is_of_root(struct cert_roots *roots, X509 *x) {
    X509 *issuer = NULL;
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    if (!roots->store) {
        roots->store = X509_STORE_new();
        if (roots->store)
            (void)X509_STORE_set_default_paths(roots->store); /* what is not there is not known */
    }
    bool found = ctx && roots->store && X509_STORE_CTX_init(ctx, roots->store, x, NULL) == 1 &&
                 X509_STORE_CTX_get1_issuer(&issuer, ctx, x) == 1;
    X509_free(issuer);
    X509_STORE_CTX_free(ctx);
    return found;
}

static void warn_of_missing(const struct row *r, int i) {
    struct chain_line l;
    begin_warning(&l, r);
    text_addf(&l.t, "the certificate of the issuer of certificate %d, ", i + 1);
    add_quoted_name(&l, X509_get_issuer_name(r->at[i]));
    end_warning(&l, r, ", is missing: clients that do not have it refuse the connection");
}

static void warn_of_links(struct row *r, struct cert_roots *roots) {
    bool strangers = false;
    link_all(r);
    for (int i = 1; i < r->n; i++) {
        strangers = strangers || !r->linked[i];
        if (!r->linked[i])
            warn_chain_cert(r, i, ") issued none of the others: it is sent for nothing");
        else if (!issued_one_before(r, i, i))
            warn_chain_cert(r, i,
                            ") stands before the one that it issued, expected each certificate behind those that it issued");
        if (r->linked[i] && X509_check_ca(r->at[i]) == 0)
            warn_chain_cert(r, i, ") is of no CA, expected that of an issuer");
    }
    for (int i = 0; i < r->n; i++) {
        /* a root at the end need not be sent: an intermediate without its issuer is usual, unless there is a gap */
        if (r->linked[i] && !is_own_issuer(r->at[i]) && (i == 0 || strangers)) {
            bool found = false;
            for (int k = 1; k < r->n && !found; k++)
                found = k != i && issued(r->at[k], r->at[i]);
            if (!found && !is_of_root(roots, r->at[i]))
                warn_of_missing(r, i);
        }
    }
}

/* ---- the leaf ---- */

static bool must_be_stapled(X509 *leaf) {
    TLS_FEATURE *features = X509_get_ext_d2i(leaf, NID_tlsfeature, NULL, NULL);
    bool must = false;
    for (int i = 0; i < sk_ASN1_INTEGER_num(features); i++)
        must = must || ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i)) == STATUS_REQUEST;
    TLS_FEATURE_free(features);
    return must;
}

/* RFC 5480 2.1.1 and 2.2, RFC 8422 5.1.1: what OpenSSL reads and most others do not. */
static void warn_of_ec(const struct row *r, const EVP_PKEY *key) {
    char encoding[32] = "";
    uint8_t point[1 + 2 * 48];
    size_t len = 0;
    if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC)
        return;
    if (EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_EC_ENCODING, encoding, sizeof(encoding), NULL) == 1 &&
        strcmp(encoding, OSSL_PKEY_EC_ENCODING_EXPLICIT) == 0)
        warn_chain(r, "the certificate's key spells its curve out instead of naming it, which many clients refuse");
    if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point), &len) == 1 && len &&
        point[0] != POINT_CONVERSION_UNCOMPRESSED)
        warn_chain(r, "the certificate's key is a point in compressed or hybrid form, which many clients refuse");
}

static void warn_of_leaf(const struct row *r, bool stapled) {
    X509 *leaf = r->chain->leaf;
    uint32_t flags = X509_get_extension_flags(leaf);
    if (flags & EXFLAG_XKUSAGE && !(X509_get_extended_key_usage(leaf) & (XKU_SSL_SERVER | XKU_ANYEKU)))
        warn_chain(r, "the certificate is not for TLS servers (extendedKeyUsage without serverAuth): clients refuse it");
    if (flags & EXFLAG_KUSAGE && !(X509_get_key_usage(leaf) & KU_DIGITAL_SIGNATURE))
        warn_chain(
            r,
            "the certificate's key may not sign (keyUsage without digitalSignature), as it must in every handshake: many clients "
            "refuse it");
    if (!stapled && must_be_stapled(leaf))
        warn_chain(r,
                   "the certificate demands a stapled OCSP response (must-staple), and there is none: many clients refuse it");
    warn_of_ec(r, X509_get0_pubkey(leaf));
}

void cert_warn(const struct cert_chain *c, bool stapled, struct cert_roots *roots, const struct cert_warning *w) {
    struct row r = {.chain = c, .w = w, .n = 1, .at = {c->leaf}};
    while (r.n < CREDS_CHAIN_MAX && r.n <= sk_X509_num(c->others)) {
        r.at[r.n] = sk_X509_value(c->others, r.n - 1);
        r.n++;
    }
    warn_of_links(&r, roots);
    warn_of_leaf(&r, stapled);
    ERR_clear_error();
}
