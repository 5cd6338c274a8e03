/*
 * Our own TLS 1.3 handshake (hs13.h) behind handshake.h: which services have it, who signs, and records that were read before.
 * Inside of tls/ only. Signatures are waited for; a signer that does not answer is ERR_SIGNER_TIMEOUT, as on libssl's path.
 */
#pragma once

#include "tls/handshake_path.h"

/* Whether the client of HELLO gets it: by service and version alone, never by what else it offers. */
bool hs_own_takes(const struct tls_server *s, const struct hello *hello);

/* A handshake_new() of this path. */
MUST_CHECK int hs_own_new(const struct tls_server *s, const struct hello *hello, struct buf *out, const struct key_log *log,
                          struct handshake **ret);
