/*
 * OCSP (RFC 6960): whom a certificate names to ask, what is asked, and whether an answer holds. Pure: bytes come from files and
 * from the network, and nothing here opens either.
 */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"

#define OCSP_RESPONSE_MAX   (32 * 1024) /* of one that is fetched: it goes into handshakes */
#define OCSP_URL_MAX        1024
#define OCSP_FILE_NAME_MAX  80
#define OCSP_FILE_NAME_TAIL ".ocsp"

/* The certificate that is asked about. */
struct ocsp_subject {
    X509 *leaf, *issuer;
    STACK_OF(X509) * others; /* that may have signed, beside the issuer; NULL = none */
    const char *file;        /* where the certificate is, for messages */
};

/* Who issued LEAF, among OTHERS or itself; NULL = nobody of them. Borrowed. */
X509 *ocsp_issuer(X509 *leaf, STACK_OF(X509) * others);

/* The first responder that LEAF names and that is reached by plain HTTP, as RFC 6960 A.1 has it. ERR_NOT_FOUND. */
MUST_CHECK int ocsp_responder(X509 *leaf, char to[static OCSP_URL_MAX]);

/* The request about S, unsigned and without a nonce: responders prepare their answers. OPENSSL_free(). ERR_CRYPTO. */
MUST_CHECK int ocsp_request(const struct ocsp_subject *s, uint8_t **ret, size_t *ret_len);

enum ocsp_says { OCSP_SAYS_GOOD, OCSP_SAYS_REVOKED, OCSP_SAYS_UNKNOWN };

/* Times are seconds since 1970. */
struct ocsp_answer {
    enum ocsp_says says;
    int64_t from, until; /* UNTIL: 0 = it names no end */
    int64_t revoked;     /* since; 0 = not, or not said */
};

/*
 * Reads an OCSPResponse: it must parse, be about S, and be signed by its issuer or by whom the issuer lets sign. Times are the
 * caller's to judge. ERR_FORMAT with what is wrong in WHY ("found ..., expected ...").
 */
MUST_CHECK int ocsp_read(struct span der, const struct ocsp_subject *s, struct ocsp_answer *ret, struct text *why);

/* "good"; static storage. */
const char *ocsp_says_name(enum ocsp_says says);

/* When a fetched response is over: one that names no end is believed for a day. */
int64_t ocsp_fetched_until(const struct ocsp_answer *a);

/* The name of the file that a fetched response for the certificate in LEAF (DER) is kept in. ERR_CRYPTO. */
MUST_CHECK int ocsp_file_name(struct span leaf, char to[static OCSP_FILE_NAME_MAX]);
