/*
 * libssl's side of a service: an SSL_CTX with the service's policy, and what libssl asks while it makes a handshake. Every
 * answer is that of the function which our own handshake asks, too (server_internal.h). Inside of tls/ only.
 *
 * This file and hs_libssl.c (one handshake) are all that knows libssl's server; tools/check-style keeps it so.
 */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/err.h"
#include "tls/server_internal.h"

/* With the policy of S, whose other members are set, and who is kept. NULL: libcrypto's error queue says why. */
SSL_CTX *hs_libssl_server_new(struct tls_server *s);
void hs_libssl_server_free(SSL_CTX *ctx);

/* From now on clients are sent the CAs of RULES. ERR_CRYPTO. */
MUST_CHECK int hs_libssl_server_announce(SSL_CTX *ctx, const struct client_auth *rules);

/* Secrets are read from libssl's key log, too, and go to the log of their handshake. False: they were before. */
bool hs_libssl_server_begin_key_log(SSL_CTX *ctx);

/* From now on the secrets are those of our provider alone. */
void hs_libssl_server_end_key_log(SSL_CTX *ctx);

/* The parts that can be used alone: tickets under the keys of T (kept; must outlive CTX), ERR_CRYPTO; ... */
MUST_CHECK int hs_libssl_use_tickets(SSL_CTX *ctx, struct tickets *t);

/* ... the OCSP response of the certificate that libssl chose, for clients that ask; ... */
void hs_libssl_staple(SSL_CTX *ctx);

/* ... the entries for NAME, instead of those that SSL has: all (one per key type; libssl picks by the client's signature
 * algorithms), or the one for CLIENT. ERR_CRYPTO. */
struct certs_client;
MUST_CHECK int hs_libssl_use_certs(SSL *ssl, struct certs *certs, uint32_t service, const char *name,
                                   const struct certs_client *client);

/*
 * Why the handshake failed, when it was for the client's certificate and libssl found it before it asked us (none was sent, too
 * many bytes, a wrong signature); otherwise 0. REASON is libssl's; SENT its alert, 0 = none.
 */
int hs_libssl_client_fault(const SSL *ssl, int reason, enum alert sent);

/* Why the handshake failed, by the alert that libssl has sent for it and the reason in its queue. */
int hs_libssl_reason(enum alert sent, int reason);

/* Whether libssl knows a group, by the name it takes. */
bool hs_libssl_has_group(const char *name);

/* libssl's own check of chains, for loading them: it has rules of its own (weak hashes and keys anywhere in a chain). */
SSL_CTX *hs_libssl_taster_new(void);
bool hs_libssl_takes_chain(SSL_CTX *taster, X509 *leaf, EVP_PKEY *key, STACK_OF(X509) * others);
