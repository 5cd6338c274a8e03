/* A certificate chain from a PEM file, and its properties; nothing here sees a private key. */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/text.h"
#include "creds/creds.h"
#include "tls/pem_file.h"

struct cert_chain {
    const char *file; /* borrowed */
    X509 *leaf;
    STACK_OF(X509) * others; /* without the leaf; may be empty, never NULL */
    enum creds_kind kind;    /* of the leaf's key */
};

#define CERT_KNOWN_MAX 16

struct cert_met {
    X509 *x;
    uint8_t *der;
    size_t len;
};

/*
 * Certificates behind leaves that were met before: many files have the same ones, and reading a certificate is slow
 * (OpenSSL 3.0 looks for a decoder of its key each time). Begins zeroed.
 */
struct cert_known {
    struct cert_met at[CERT_KNOWN_MAX];
    size_t next;
};
void cert_known_fini(struct cert_known *k);

/* Takes one line for the operator: what is worth knowing, but no reason to refuse. */
typedef void (*cert_warn_fn)(void *ctx, const char *text);

struct cert_warning {
    cert_warn_fn fn;
    void *ctx;
};

/*
 * The certificates of F, which came from FILE (kept), leaf first. Refused with a message in WHY: no PEM, no certificate, what
 * looks like a block and is none, a broken or too long chain, a key that is not served (key_judge.h). Warned of: blocks that
 * have no place there. KNOWN and W may be NULL. ERR_FORMAT, ERR_NOMEM.
 */
MUST_CHECK int cert_chain_parse(const struct pem_file *f, const char *file, struct cert_known *known,
                                const struct cert_warning *w, struct cert_chain *ret, struct text *why);
void cert_chain_fini(struct cert_chain *c);

/* Calls EACH for every host name of the leaf: lower case, A-labels, a leading "*." kept; what no client could ask for is passed
 * over. RFC 6125 6.4.4: the common name counts only where no alternative name of a host is there. EACH's error is given back.
 */
typedef int (*cert_name_fn)(void *ctx, const char *name);
MUST_CHECK int cert_chain_names(const struct cert_chain *c, cert_name_fn each, void *ctx, struct text *why);

/* Seconds since 1970, or INT64_MIN when the time cannot be read. */
int64_t cert_chain_time(const ASN1_TIME *t);
