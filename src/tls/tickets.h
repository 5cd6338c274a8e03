/*
 * Session tickets under keys of our own, derived from one secret, so that every handshaker of this start (and later of a
 * fleet) takes up the sessions of the others. A ticket is bound to its service by the session id context of its SSL_CTX.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdint.h>

#include "base/defs.h"

#define TICKETS_SECRET_LEN 64
#define TICKETS_LIFETIME_S 7200

struct tickets;

/* Derives the keys; the secret is not kept. NULL when out of memory or the library failed. */
struct tickets *tickets_new(const uint8_t secret[static TICKETS_SECRET_LEN]);
void tickets_free(struct tickets *t);

/* Makes CTX seal and open its tickets with T (kept; must outlive CTX). ERR_CRYPTO. */
MUST_CHECK int tickets_attach(struct tickets *t, SSL_CTX *ctx);
