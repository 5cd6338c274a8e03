/*
 * Session tickets under keys of our own. Every hour has its keys, derived from one secret by HKDF: every process with the
 * secret, on this machine or another, at this start or the next, resumes the sessions of the others without communication.
 * Tickets are sealed with the keys of the present hour; those of the hour before and of the next (a machine whose clock is
 * ahead) are opened too. See ticket_bind.h for what a ticket is bound to.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"

#define TICKETS_SECRET_MIN 32
#define TICKETS_SECRET_MAX 4096
#define TICKETS_PEER_MAX                                                                                                       \
    8192 /* DER of a client's certificate: with a larger one the session has no ticket, since its ticket                       \
            would make the next ClientHello larger than 16 KiB, which many between us and the client do not pass */
#define TICKETS_LIFETIME_S 3600 /* sent to clients: tickets are accepted at least so long */

struct tickets;

/*
 * SECRET (TICKETS_SECRET_MIN to _MAX bytes) is hashed, not kept. Keys follow the wall-clock time. NULL when out of memory, when
 * the length is wrong, or when the library failed.
 */
struct tickets *tickets_new(struct span secret);
void tickets_free(struct tickets *t);

/*
 * What libssl is to do with a ticket that came to STATUS when it was opened as SESSION: one of another version of TLS counts
 * as a ticket of another server's, so a full handshake follows.
 */
SSL_TICKET_RETURN tickets_judge(const SSL *ssl, const SSL_SESSION *session, SSL_TICKET_STATUS status);

/* Makes CTX seal and open its tickets with T (kept; must outlive CTX). ERR_CRYPTO. */
MUST_CHECK int tickets_attach(struct tickets *t, SSL_CTX *ctx);
