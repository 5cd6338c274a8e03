#include "tls/client_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "tls/ca_names.h"
#include "tls/pem_scan.h"

/* One of the two kinds of file, and its messages. */
struct pem_file_kind {
    const char *what;     /* "certificate" */
    const char *file;     /* what a file of them is called */
    const char *expected; /* of a file without one */
    size_t file_max;
    int (*each)(const struct client_sink *sink, const char *file, int n, void *object, struct text *why);
    void *(*from_der)(const uint8_t **p, long len);
    void (*free)(void *object);
    enum pem_kind blocks[2]; /* of PEM */
};

/* ---- files ---- */

/* *RET_P is to be freed, whatever comes back. */
static int read_client_file(const char *path, const struct pem_file_kind *k, uint8_t **ret_p, size_t *ret_len,
                            struct text *why) {
    struct file f = {.path = path, .expected = k->file, .max = k->file_max};
    *ret_p = NULL;
    int err = file_open(&f, why);
    if (err < 0)
        return err;
    *ret_p = malloc(file_room(&f));
    err = file_read(&f, *ret_p, ret_len, why);
    file_close(&f);
    return err;
}

/* ---- certificates and CRLs ---- */

static bool is_past(const ASN1_TIME *t) {
    return t && X509_cmp_current_time(t) < 0;
}

static void warn_block(const struct client_sink *sink, const char *file, int n, const char *what, const char *happened,
                       const ASN1_TIME *when, const char *then) {
    char line[PATH_MAX + 200], date[32] = "?";
    struct text t = text_of(line, sizeof(line));
    struct tm tm;
    if (ASN1_TIME_to_tm(when, &tm) == 1)
        (void)strftime(date, sizeof(date), "%Y-%m-%d %H:%M", &tm); /* "?" stays when it does not fit */
    text_addf(&t, "%s: %s %d %s on %s UTC: %s", file, what, n, happened, date, then);
    sink->warn(sink->warn_ctx, line);
}

/* `openssl x509 -addtrust`, `-addreject`. */
static bool has_trust_settings(X509 *x) {
    return sk_ASN1_OBJECT_num(X509_get0_trust_objects(x)) > 0 || sk_ASN1_OBJECT_num(X509_get0_reject_objects(x)) > 0;
}

static int each_ca(const struct client_sink *sink, const char *file, int n, void *object, struct text *why) {
    X509 *x = object;
    uint8_t *der = NULL;
    if (!X509_check_ca(x)) {
        text_addf(why, "%s: certificate %d is of no CA, expected those that issue the clients' certificates", file, n);
        return ERR_FORMAT;
    }
    if (has_trust_settings(x)) {
        text_addf(why, "%s: certificate %d has settings of trust, which are not followed, expected a plain certificate", file,
                  n);
        return ERR_FORMAT;
    }
    if (is_past(X509_get0_notAfter(x)))
        warn_block(sink, file, n, "certificate", "expired", X509_get0_notAfter(x), "clients below it are refused");
    int len = i2d_X509(x, &der);
    int err = len > 0 ? sink->put(sink->ctx, span_of(der, (size_t)len)) : ERR_NOMEM;
    OPENSSL_free(der);
    return err;
}

/* RFC 5280 5.2.5: what libcrypto passes over. */
static bool is_in_parts(const X509_CRL *crl) {
    ISSUING_DIST_POINT *point = X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, NULL, NULL);
    bool in_parts = point && (point->indirectCRL > 0 || point->onlysomereasons);
    ISSUING_DIST_POINT_free(point);
    return in_parts;
}

static int each_crl(const struct client_sink *sink, const char *file, int n, void *object, struct text *why) {
    X509_CRL *crl = object;
    uint8_t *der = NULL;
    if (X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0) { /* libcrypto would take it for the whole */
        text_addf(why, "%s: CRL %d is a delta CRL, which lists changes only, expected a complete one", file, n);
        return ERR_FORMAT;
    }
    if (is_in_parts(crl)) {
        char line[PATH_MAX + 200];
        struct text t = text_of(line, sizeof(line));
        text_addf(&t, "%s: CRL %d is indirect or for some reasons only: it is not used, clients need another one of their CA",
                  file, n);
        sink->warn(sink->warn_ctx, line);
    }
    if (is_past(X509_CRL_get0_nextUpdate(crl)))
        warn_block(sink, file, n, "CRL", "was due to be replaced", X509_CRL_get0_nextUpdate(crl),
                   "clients of that CA are refused until it is");
    int len = i2d_X509_CRL(crl, &der);
    int err = len > 0 ? sink->put(sink->ctx, span_of(der, (size_t)len)) : ERR_NOMEM;
    OPENSSL_free(der);
    return err;
}

/* OpenSSL's settings of trust may follow a certificate. */
static void *ca_from_der(const uint8_t **p, long len) {
    return d2i_X509_AUX(NULL, p, len);
}
static void ca_free(void *object) {
    X509_free(object);
}
static void *crl_from_der(const uint8_t **p, long len) {
    return d2i_X509_CRL(NULL, p, len);
}
static void crl_free(void *object) {
    X509_CRL_free(object);
}

static const struct pem_file_kind cas = {
    "certificate", "a file of certificates",       "\"-----BEGIN CERTIFICATE-----\"", CLIENT_CA_FILE_MAX, each_ca, ca_from_der,
    ca_free,       {PEM_CERTIFICATE, PEM_TRUSTED},
};
static const struct pem_file_kind crls = {
    "CRL",    "a file of CRLs",   "\"-----BEGIN X509 CRL-----\"", CLIENT_CRL_FILE_MAX, each_crl, crl_from_der,
    crl_free, {PEM_CRL, PEM_CRL},
};

static int cannot_be_read(const char *file, const struct pem_file_kind *k, int n, struct text *why) {
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    text_addf(why, "%s: %s %d of the file cannot be read: %s", file, k->what, n, reason ? reason : "no reason given");
    ERR_clear_error();
    return ERR_FORMAT;
}

static int take_der(const char *file, const struct pem_file_kind *k, int n, struct span der, const struct client_sink *sink,
                    struct text *why) {
    const uint8_t *p = der.p;
    ERR_clear_error();
    void *object = k->from_der(&p, (long)der.len);
    int err = ERR_FORMAT;
    if (!object)
        err = cannot_be_read(file, k, n, why);
    else if (p != der.p + der.len)
        text_addf(why, "%s: bytes behind %s %d of the file", file, k->what, n);
    else
        err = k->each(sink, file, n, object, why);
    k->free(object);
    return err;
}

static int take_block(const struct pem_block *b, const char *file, const struct pem_file_kind *k, int n,
                      const struct client_sink *sink, struct text *why) {
    size_t len = 0;
    if (n > CLIENT_CA_MAX) {
        text_addf(why, "%s: more than %d %ss", file, CLIENT_CA_MAX, k->what);
        return ERR_FORMAT;
    }
    uint8_t *der = malloc(b->body.len + 1);
    if (!der) {
        text_addf(why, "%s: out of memory", file);
        return ERR_NOMEM;
    }
    int err = pem_block_decode(b, file, der, &len, why);
    if (!err)
        err = take_der(file, k, n, span_of(der, len), sink, why);
    free(der);
    return err;
}

/* Everything of the kind in a PEM file; other blocks are reported. */
static int read_pem(const char *file, const struct pem_file_kind *k, struct span text, const struct client_sink *sink,
                    struct text *why) {
    struct pem_scan scan = pem_scan_of(text, file);
    struct pem_block b;
    enum step step;
    int n = 0, err = 0;
    while (!err && (step = pem_scan_next(&scan, &b, why)) != STEP_EOF) {
        char line[PATH_MAX + 160];
        struct text t = text_of(line, sizeof(line));
        if (step == STEP_FAILED) {
            err = ERR_FORMAT;
        } else if (b.kind == k->blocks[0] || b.kind == k->blocks[1]) {
            err = take_block(&b, file, k, ++n, sink, why);
        } else {
            pem_block_unused(&b, file, &t);
            sink->warn(sink->warn_ctx, line);
        }
    }
    if (err || n > 0)
        return err;
    text_addf(why, "%s: found no %s, expected %s", file, k->what, k->expected);
    return ERR_FORMAT;
}

static int read_client_blocks(const char *file, const struct pem_file_kind *k, const struct client_sink *sink,
                              struct text *why) {
    uint8_t *p = NULL;
    size_t len = 0;
    int err = read_client_file(file, k, &p, &len, why);
    if (err == 0 && len > 0 && p[0] == 0x30)
        err = take_der(file, k, 1, span_of(p, len), sink, why);
    else if (err == 0)
        err = read_pem(file, k, span_of(p, len), sink, why);
    free(p);
    return err;
}

/* A sink before another one, which looks at the names of CAs as well. */
struct named_sink {
    const struct client_sink *to;
    struct ca_names names;
};

static int put_named(void *ctx, struct span der) {
    struct named_sink *n = ctx;
    const uint8_t *p = der.p;
    X509 *x = d2i_X509(NULL, &p, (long)der.len);
    int err = x ? ca_names_add(&n->names, x) : ERR_NOMEM; /* it has been read before */
    X509_free(x);
    return err ? err : n->to->put(n->to->ctx, der);
}

int client_files_ca(const char *file, const struct client_sink *sink, struct text *why) {
    struct named_sink n = {.to = sink};
    char line[PATH_MAX + 200];
    struct text t = text_of(line, sizeof(line));
    ca_names_init(&n.names);
    int err = read_client_blocks(file, &cas, &(struct client_sink){put_named, &n, sink->warn, sink->warn_ctx}, why);
    if (!err && n.names.left_out) {
        text_addf(
            &t,
            "%s: the names of its CAs are more than %d, or more than %d bytes: clients are sent none of them, and choose a "
            "certificate without",
            file, CA_NAMES_MAX, CA_NAMES_BYTES_MAX);
        sink->warn(sink->warn_ctx, line);
    }
    ca_names_fini(&n.names);
    return err;
}

int client_files_crl(const char *file, const struct client_sink *sink, struct text *why) {
    return read_client_blocks(file, &crls, sink, why);
}
