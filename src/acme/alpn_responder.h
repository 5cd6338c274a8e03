/*
 * tls-alpn-01 (RFC 8737): a handshake with a certificate that proves the key authorization, and nothing behind it. The key is
 * made when the process starts and serves for nothing else: what it signs is worth what the challenge is worth.
 */
#pragma once

#include "acme/challenges.h"
#include "acme/responder.h"
#include "base/defs.h"

struct alpn_responder {
    struct responder responder;
    struct challenges *challenges;
    void *ssl_ctx;
    void *key;
};

/* As responder_open(); ERR_CRYPTO. */
MUST_CHECK int alpn_responder_open(struct alpn_responder *a, struct challenges *challenges, struct loop *loop, unsigned kind,
                                   const char *path, struct text *why);
