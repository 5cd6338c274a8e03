#include "tls/cert_load.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/err.h"
#include "creds/creds_expiry.h"
#include "tls/cert_chain.h"
#include "tls/cert_warn.h"
#include "tls/chain_sigs.h"
#include "tls/hs_libssl_server.h"
#include "tls/key_provider.h"
#include "tls/key_read.h"
#include "tls/ocsp_file.h"
#include "tls/sha2.h"

struct cert_load {
    struct creds_writer *writer;
    struct cert_known known;
    struct cert_roots roots;
    SSL_CTX *taster; /* libssl's own check of a chain, at loading instead of at a handshake */
    unsigned flags;
    size_t count;
    int64_t now;
    char fetched[PATH_MAX]; /* directory of responses for the service at hand; "" = none */
};

/* What one pair is made of, while it is looked at. */
struct candidate {
    const struct cert_load_pair *pair;
    struct cert_chain chain;
    struct ocsp_file ocsp;
    struct pem_file key; /* properties of its file; no bytes */
    struct creds_cert certs[CREDS_CHAIN_MAX];
    uint32_t ncerts;
    uint8_t *ders[CREDS_CHAIN_MAX];
    uint8_t *spki;
    size_t spki_len;
    char issuer[256];
    char serial[64];
};

/* Warnings of one pair, and where its names go. */
struct load_warnings {
    struct cert_load *l;
    const char *file;
    cert_warn_fn warn;
    void *ctx;
    char shadowed[256]; /* the first name that another serves */
    uint32_t other;     /* that one */
    unsigned more;      /* names like it */
};

struct cert_load *cert_load_new(unsigned flags) {
    struct cert_load *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->flags = flags;
    l->now = (int64_t)time(NULL);
    l->writer = creds_writer_new();
    l->taster = hs_libssl_taster_new();
    if (l->writer && l->taster)
        return l;
    cert_load_free(l);
    return NULL;
}

void cert_load_free(struct cert_load *l) {
    if (!l)
        return;
    creds_writer_free(l->writer);
    cert_known_fini(&l->known);
    cert_roots_fini(&l->roots);
    hs_libssl_server_free(l->taster);
    free(l);
}

int cert_load_service(struct cert_load *l, const char *name, const char *fetched) {
    struct text t = text_of(l->fetched, sizeof(l->fetched));
    text_add(&t, fetched ? fetched : "");
    return creds_add_service(l->writer, name);
}

size_t cert_load_count(const struct cert_load *l) {
    return l->count;
}

struct creds_writer *cert_load_writer(struct cert_load *l) {
    return l->writer;
}

static void sha256_of(struct span bytes, uint8_t ret[static CREDS_DIGEST_LEN]) {
    union sha2 s;
    uint8_t out[HASH_LEN_MAX];
    sha2_begin(HASH_SHA256, &s);
    sha2_add(HASH_SHA256, &s, bytes.p, bytes.len);
    sha2_end(HASH_SHA256, &s, out);
    memcpy(ret, out, CREDS_DIGEST_LEN);
}

int cert_load_seal(struct cert_load *l, int *ret_fd) {
    return creds_seal(l->writer, sha256_of, ret_fd);
}

/* ---- a certificate's properties, as plain data ---- */

static void candidate_fini(struct candidate *c) {
    for (uint32_t i = 0; i < c->ncerts; i++)
        OPENSSL_free(c->ders[i]);
    OPENSSL_free(c->spki);
    ocsp_file_fini(&c->ocsp);
    cert_chain_fini(&c->chain);
}

static int keep_cert(struct candidate *c, X509 *x) {
    uint8_t *der = NULL;
    int len = i2d_X509(x, &der);
    if (len <= 0 || c->ncerts == CREDS_CHAIN_MAX) {
        OPENSSL_free(der);
        return ERR_NOMEM;
    }
    c->ders[c->ncerts] = der;
    c->certs[c->ncerts++] = (struct creds_cert){span_of(der, (size_t)len), cert_chain_time(X509_get0_notBefore(x)),
                                                cert_chain_time(X509_get0_notAfter(x))};
    return 0;
}

/* Bytes of a memory BIO as text, cut to what fits. */
static void text_of_bio(BIO *bio, char *to, size_t cap) {
    char *p = NULL;
    long n = bio ? BIO_get_mem_data(bio, &p) : 0;
    struct text t = text_of(to, cap);
    text_add_span(&t, span_of(p, n > 0 ? (size_t)n : 0));
}

static void describe_issuer(struct candidate *c) {
    BIO *issuer = BIO_new(BIO_s_mem()), *serial = BIO_new(BIO_s_mem());
    if (issuer)
        (void)X509_NAME_print_ex(issuer, X509_get_issuer_name(c->chain.leaf), 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
    if (serial) /* what cannot be printed is left empty: it is for display only */
        (void)i2a_ASN1_INTEGER(serial, X509_get0_serialNumber(c->chain.leaf));
    text_of_bio(issuer, c->issuer, sizeof(c->issuer));
    text_of_bio(serial, c->serial, sizeof(c->serial));
    BIO_free(issuer);
    BIO_free(serial);
}

static int take_chain(struct candidate *c, struct text *why) {
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(c->chain.leaf), &c->spki);
    int err = len > 0 ? keep_cert(c, c->chain.leaf) : ERR_NOMEM;
    for (int i = 0; !err && i < sk_X509_num(c->chain.others); i++)
        err = keep_cert(c, sk_X509_value(c->chain.others, i));
    c->spki_len = len > 0 ? (size_t)len : 0;
    describe_issuer(c);
    if (err)
        text_addf(why, "%s: out of memory", c->pair->cert);
    return err;
}

/* ---- judging ---- */

/*
 * Everything is done with the chain that a handshake does with it: libssl has rules of its own (security level: weak hashes and
 * keys anywhere in the chain), and so has the provider whose key will be beside it.
 */
static int taste(struct cert_load *l, const struct cert_chain *c, struct text *why) {
    EVP_PKEY *key = key_provider_key_like(X509_get0_pubkey(c->leaf), (struct key_name){0, 0});
    ERR_clear_error();
    bool ok = key && hs_libssl_takes_chain(l->taster, c->leaf, key, c->others);
    if (!ok) {
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());
        text_addf(why, "%s: libssl refuses the certificate: %s", c->file, reason ? reason : "its key cannot be used");
    }
    EVP_PKEY_free(key);
    ERR_clear_error();
    return ok ? 0 : ERR_FORMAT;
}

static int load_chain(struct cert_load *l, const char *file, const struct cert_warning *w, struct cert_chain *ret,
                      struct text *why) {
    struct pem_file f;
    int err = pem_file_read(file, "a PEM file", &f, why);
    if (!err)
        err = cert_chain_parse(&f, file, &l->known, w, ret, why);
    pem_file_fini(&f);
    return err;
}

static int judge_pair(struct cert_load *l, struct candidate *c, const struct cert_warning *w, struct text *why) {
    const struct cert_load_pair *p = c->pair;
    struct pem_file pass;
    int err = load_chain(l, p->cert, w, &c->chain, why);
    if (!err)
        err = pem_file_look(p->key, "a PEM file", &c->key, why);
    if (!err && p->passphrase)
        err = pem_file_look(p->passphrase, "a passphrase", &pass, why);
    if (!err && (l->flags & CERT_LOAD_KEYS))
        err = key_read_check(&c->chain, p->key, p->passphrase, why);
    if (!err)
        err = taste(l, &c->chain, why);
    return err ? err : take_chain(c, why);
}

/* ---- names and warnings ---- */

static int take_name(void *ctx, const char *name) {
    struct load_warnings *s = ctx;
    uint32_t other;
    int err = creds_add_name(s->l->writer, name, &other);
    if (err || other == CREDS_NONE)
        return err;
    if (s->other != CREDS_NONE) {
        s->more++;
        return 0;
    }
    struct text t = text_of(s->shadowed, sizeof(s->shadowed));
    text_add(&t, name);
    s->other = other;
    return 0;
}

static void warn_line(const struct load_warnings *s, const char *line) {
    if (s->warn)
        s->warn(s->ctx, line);
}

static void warn_of_times(const struct load_warnings *s, const struct candidate *c) {
    for (uint32_t i = 0; i < c->ncerts; i++) {
        char line[PATH_MAX + 160];
        struct text t = text_of(line, sizeof(line));
        if (creds_expiry_say(&t, s->file, i + 1, c->certs[i].not_before, c->certs[i].not_after, s->l->now))
            warn_line(s, line);
    }
}

/* A group that may read it is the administrator's choice (Debian's ssl-cert). */
static void warn_of_mode(const struct load_warnings *s, const struct candidate *c) {
    char line[PATH_MAX + 160];
    struct text t = text_of(line, sizeof(line));
    if (!(c->key.mode & (S_IWGRP | S_IRWXO)))
        return;
    text_addf(&t, "%s: the private key is open to other users (mode %04o), expected 0600 or 0640", c->pair->key,
              (unsigned)c->key.mode);
    warn_line(s, line);
}

static void warn_of_names(const struct load_warnings *s) {
    char line[2 * PATH_MAX + 512];
    struct text t = text_of(line, sizeof(line));
    if (s->other == CREDS_NONE)
        return;
    text_addf(&t, "%s: the name %s", s->file, s->shadowed);
    if (s->more)
        text_addf(&t, " (and %u more)", s->more);
    text_addf(&t, " is served by %s, which comes first", creds_writer_cert_file(s->l->writer, s->other));
    warn_line(s, line);
}

/* A response that is not valid is skipped: stale ones are common, and no reason to refuse a renewed certificate. */
static void load_ocsp(const struct load_warnings *s, struct candidate *c) {
    char line[2 * PATH_MAX + 256];
    struct text t = text_of(line, sizeof(line));
    int err = ocsp_file_load(&c->chain, s->l->now, &c->ocsp, &t);
    if (!c->ocsp.bytes.len && s->l->fetched[0]) { /* what an operator put beside it comes first */
        if (err) {
            text_add(&t, "; it is not stapled");
            warn_line(s, line);
        }
        t = text_of(line, sizeof(line));
        err = ocsp_file_load_fetched(&c->chain, c->certs[0].der, s->l->fetched, s->l->now, &c->ocsp, &t);
    }
    if (!err)
        return;
    text_add(&t, "; it is not stapled");
    warn_line(s, line);
}

/* ---- adding ---- */

static int add_candidate(struct cert_load *l, struct candidate *c, struct load_warnings *s, struct text *why) {
    load_ocsp(s, c);
    const struct creds_new_entry e = {
        .kind = c->chain.kind,
        .chain = c->certs,
        .nchain = c->ncerts,
        .leaf_sig = chain_sigs_of(c->chain.leaf),
        .chain_sigs = chain_sigs_of(c->chain.leaf) | chain_sigs_of_issuers(c->chain.others),
        .spki = span_of(c->spki, c->spki_len),
        .cert_file = c->pair->cert,
        .key_file = c->pair->key,
        .pass_file = c->pair->passphrase,
        .issuer = c->issuer,
        .serial = c->serial,
        .ocsp = pem_file_span(&c->ocsp.bytes),
        .ocsp_from = c->ocsp.from,
        .ocsp_until = c->ocsp.until,
        .key_stamp = c->key.stamp,
    };
    uint32_t entry;
    int err = creds_add_entry(l->writer, &e, &entry);
    if (!err)
        err = cert_chain_names(&c->chain, take_name, s, why);
    if (err) {
        text_addf(why, "%s: %s", c->pair->cert, err == ERR_LIMIT ? "there are too many certificates" : "out of memory");
        return err;
    }
    l->count++;
    return 0;
}

static int no_name(void *ctx, const char *name) {
    return 0;
}

int cert_load_files(struct cert_load *l, const struct cert_load_pair *p, struct text *why, cert_warn_fn warn, void *ctx) {
    struct candidate *c = calloc(1, sizeof(*c));
    if (!c) {
        text_addf(why, "%s: out of memory", p->cert);
        return ERR_NOMEM;
    }
    c->pair = p;
    struct load_warnings s = {.l = l, .file = p->cert, .warn = warn, .ctx = ctx, .other = CREDS_NONE};
    const struct cert_warning w = {warn, ctx};
    int err = judge_pair(l, c, warn ? &w : NULL, why);
    if (!err) /* before anything is in the store */
        err = cert_chain_names(&c->chain, no_name, NULL, why);
    if (!err)
        err = add_candidate(l, c, &s, why);
    if (!err && warn)
        cert_warn(&c->chain, c->ocsp.bytes.len > 0, &l->roots, &w);
    if (!err) {
        warn_of_times(&s, c);
        warn_of_mode(&s, c);
        warn_of_names(&s);
    }
    candidate_fini(c);
    free(c);
    return err;
}
