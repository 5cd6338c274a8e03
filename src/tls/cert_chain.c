#include "tls/cert_chain.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "tls/hostname.h"
#include "tls/idna.h"
#include "tls/key_judge.h"
#include "tls/pem_scan.h"

static int chain_error(struct text *why, int err, const char *file, const char *message) {
    text_addf(why, "%s: %s", file, message);
    return err;
}

static const char *crypto_reason(void) {
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason ? reason : "no reason given";
}

/* ---- the chain ---- */

/* A trusted one ends with settings for OpenSSL's own tools. */
static X509 *decode_cert(const uint8_t *der, size_t len, bool trusted) {
    const uint8_t *p = der;
    X509 *x = d2i_X509(NULL, &p, (long)len);
    if (x && (trusted || p == der + len))
        return x;
    X509_free(x);
    return NULL;
}

/* DER of LEN bytes, which is taken over, as one of those that were met before, or as a new one among them. */
static X509 *known_or_new(struct cert_known *k, uint8_t *der, size_t len, bool trusted) {
    for (size_t i = 0; k && i < CERT_KNOWN_MAX; i++)
        if (k->at[i].x && k->at[i].len == len && memcmp(k->at[i].der, der, len) == 0) {
            OPENSSL_free(der);
            return X509_up_ref(k->at[i].x) == 1 ? k->at[i].x : NULL;
        }
    X509 *x = decode_cert(der, len, trusted);
    if (!k || !x || X509_up_ref(x) != 1) {
        OPENSSL_free(der);
        return x;
    }
    struct cert_met *m = &k->at[k->next++ % CERT_KNOWN_MAX];
    X509_free(m->x);
    OPENSSL_free(m->der);
    *m = (struct cert_met){x, der, len};
    return x;
}

void cert_known_fini(struct cert_known *k) {
    for (size_t i = 0; i < CERT_KNOWN_MAX; i++) {
        X509_free(k->at[i].x);
        OPENSSL_free(k->at[i].der);
    }
    memset(k, 0, sizeof(*k));
}

/* N counts certificates. */
static int take_pem_cert(const struct pem_block *b, unsigned n, struct cert_known *known, struct cert_chain *c,
                         struct text *why) {
    size_t len = 0;
    uint8_t *der = OPENSSL_malloc(b->body.len + 1);
    if (!der)
        return chain_error(why, ERR_NOMEM, c->file, "out of memory");
    int err = pem_block_decode(b, c->file, der, &len, why);
    if (err) {
        OPENSSL_free(der);
        return err;
    }
    ERR_clear_error();
    X509 *x = known_or_new(n > 1 ? known : NULL, der, len, b->kind == PEM_TRUSTED); /* leaves are hardly ever met twice */
    if (!x) {
        text_addf(why, "%s: certificate %u of the file cannot be read: %s (block %u, line %u)", c->file, n, crypto_reason(),
                  b->n, b->line);
        return ERR_FORMAT;
    }
    if (n == 1) {
        c->leaf = x;
    } else if (n > CREDS_CHAIN_MAX || !sk_X509_push(c->others, x)) {
        X509_free(x);
        text_addf(why, "%s: found more than %d certificates", c->file, CREDS_CHAIN_MAX);
        return ERR_FORMAT;
    }
    return 0;
}

/* What a file with a chain may hold beside it: the key, which others read. */
static bool is_beside(enum pem_kind kind) {
    return kind == PEM_KEY || kind == PEM_PARAMETERS;
}

static int take_certs(struct span text, struct cert_known *known, const struct cert_warning *w, struct cert_chain *c,
                      struct text *why) {
    struct pem_scan scan = pem_scan_of(text, c->file);
    struct pem_block b;
    unsigned n = 0;
    int err = 0;
    enum step step;
    while (!err && (step = pem_scan_next(&scan, &b, why)) != STEP_EOF) {
        char line[PATH_MAX + 160];
        struct text t = text_of(line, sizeof(line));
        if (step == STEP_FAILED)
            err = ERR_FORMAT;
        else if (b.kind == PEM_CERTIFICATE || b.kind == PEM_TRUSTED)
            err = take_pem_cert(&b, ++n, known, c, why);
        else if (!is_beside(b.kind) && w) {
            pem_block_unused(&b, c->file, &t);
            w->fn(w->ctx, line);
        }
    }
    if (!err && n == 0)
        err = chain_error(why, ERR_FORMAT, c->file, "found no certificate, expected \"-----BEGIN CERTIFICATE-----\"");
    ERR_clear_error();
    return err;
}

int cert_chain_parse(const struct pem_file *f, const char *file, struct cert_known *known, const struct cert_warning *w,
                     struct cert_chain *ret, struct text *why) {
    struct cert_chain c = {.file = file, .others = sk_X509_new_null()};
    int err = c.others ? take_certs(pem_file_span(f), known, w, &c, why) : chain_error(why, ERR_NOMEM, file, "out of memory");
    if (!err && !X509_get0_pubkey(c.leaf))
        err = chain_error(why, ERR_FORMAT, file, "the certificate's public key cannot be read");
    if (!err)
        err = key_judge(file, X509_get0_pubkey(c.leaf), &c.kind, why);
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

int64_t cert_chain_time(const ASN1_TIME *t) {
    struct tm tm;
    bool ok = ASN1_TIME_to_tm(t, &tm) == 1;
    ERR_clear_error();
    return ok ? (int64_t)timegm(&tm) : INT64_MIN;
}

/* ---- names ---- */

static int emit_name(struct span raw, cert_name_fn each, void *ctx) {
    char name[HOSTNAME_MAX + 1];
    return idna_hostname(raw, name) == 0 ? each(ctx, name) : 0;
}

static int emit_asn1(const ASN1_STRING *s, cert_name_fn each, void *ctx) {
    int len = ASN1_STRING_length(s);
    return len > 0 ? emit_name(span_of(ASN1_STRING_get0_data(s), (size_t)len), each, ctx) : 0;
}

static int emit_common_name(const X509 *leaf, cert_name_fn each, void *ctx) {
    const X509_NAME *subject = X509_get_subject_name(leaf);
    int last = -1;
    for (int i; (i = X509_NAME_get_index_by_NID(subject, NID_commonName, last)) >= 0;)
        last = i;
    if (last < 0)
        return 0;
    uint8_t *utf8 = NULL;
    int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)));
    int err = len > 0 ? emit_name(span_of(utf8, (size_t)len), each, ctx) : 0;
    OPENSSL_free(utf8);
    return err;
}

int cert_chain_names(const struct cert_chain *c, cert_name_fn each, void *ctx, struct text *why) {
    int critical = 0, err = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(c->leaf, NID_subject_alt_name, &critical, NULL);
    ERR_clear_error();
    if (!names && critical != -1)
        return chain_error(why, ERR_FORMAT, c->file, "the certificate's alternative names cannot be read");
    bool hosts = false;
    for (int i = 0; !err && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
        hosts = hosts || n->type == GEN_DNS || n->type == GEN_IPADD;
        if (n->type == GEN_DNS)
            err = emit_asn1(n->d.dNSName, each, ctx);
    }
    if (!err && !hosts)
        err = emit_common_name(c->leaf, each, ctx);
    GENERAL_NAMES_free(names);
    return err;
}
