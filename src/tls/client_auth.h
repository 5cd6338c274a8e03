/*
 * Who may come into a service: the CA certificates, CRLs and rules that clients' certificates are held against, in
 * whichever way the handshake is made; the answer, and why, is kept with the handshake.
 *
 * Bounds on what a client can make us do. Its Certificate message has at most CLIENT_CHAIN_MAX bytes (fewer where DEPTH is
 * small) and CLIENT_CHAIN_SPARE certificates more than DEPTH; both are looked at before libssl decodes the first key. Its own
 * certificate has at most CLIENT_NAMES_MAX names. Signatures of a chain are checked from the CA downwards, so that the keys of
 * unverified clients are decoded, but never computed with.
 */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"
#include "tls/client_id.h"

#define CLIENT_CHAIN_MAX       (32 * 1024L) /* of the Certificate message */
#define CLIENT_LEAF_MAX        (16 * 1024L) /* of which for the client's own certificate */
#define CLIENT_ISSUER_MAX      (4 * 1024L)  /* and for each other one */
#define CLIENT_CHAIN_SPARE     3            /* the client's own, and two roots, which need not be sent and often are */
#define CLIENT_CERT_EXPANSION  16           /* a certificate that is read takes up to 13 times its bytes */
#define CLIENT_NAMES_MAX       256          /* alternative names of a client's certificate */
#define CLIENT_RESUME_MAX_S    (24 * 3600)  /* after so long the certificate is shown again, however often it was resumed */
#define CLIENT_AUTH_DIGEST_LEN 32

/* What a service wants. Borrowed during client_auth_new() only. */
struct client_policy {
    bool required;         /* or optional: who shows no certificate comes in without a name */
    const struct span *ca; /* DER */
    size_t nca;
    const struct span *crl; /* DER; with any, every certificate of a chain below the CA's must be covered by one */
    size_t ncrl;
    unsigned depth;           /* certificates between the client's and the CA's */
    const char *const *allow; /* see creds/client_rule.h; none = anyone who has a certificate of the CA */
    size_t nallow;
};

struct client_auth;

/* NULL with a sentence for the operator in WHY. */
struct client_auth *client_auth_new(const struct client_policy *p, struct text *why);
void client_auth_free(struct client_auth *a);

/* Of all that decides who comes in: sessions are resumed only under the same (CLIENT_AUTH_DIGEST_LEN bytes). */
const uint8_t *client_auth_digest(const struct client_auth *a);

bool client_auth_required(const struct client_auth *a);

/*
 * Holds CERT, with OTHERS to build its chain from (may be NULL), against A, for either path. 0 and who it is, or why it is
 * refused, with one line for the log in WHY; *ret_x509 (may be NULL) is libcrypto's result, X509_V_OK or an error.
 */
MUST_CHECK int client_auth_judge(const struct client_auth *a, X509 *cert, STACK_OF(X509) * others, struct client_id *ret,
                                 struct text *why, int *ret_x509);

/*
 * Whether the client known as ID (NULL = it showed no certificate) comes in at the end of its handshake. Rules that have
 * CHANGED since judge it again by CERT, with OTHERS, as above. A session that is resumed may have no certificate to be judged,
 * or the client's own alone: then it may be refused, and the client comes in by a full handshake.
 */
MUST_CHECK int client_auth_settle(const struct client_auth *a, bool changed, X509 *cert, STACK_OF(X509) * others,
                                  struct client_id *id, struct text *why);

/* Whether a client that was let in as ID could still come in; the rules are the same, see ticket_bind.h. */
bool client_auth_may_resume(const struct client_auth *a, const struct client_id *id);

/* Certificates, and bytes, that a Certificate message may have. */
size_t client_auth_chain_max(const struct client_auth *a);
size_t client_auth_bytes_max(const struct client_auth *a);

/* The vector of names for certificate_authorities (RFC 8446 4.2.4), without its outer length; empty = none is sent: see
 * ca_names.h. Borrows A. */
struct span client_auth_names(const struct client_auth *a);
