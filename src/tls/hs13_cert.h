/* Our Certificate message, plain or compressed (RFC 8446 4.4.2, RFC 8879). */
#pragma once

#include "tls/certs.h"
#include "tls/hs13_state.h"

/* OFFERED: the client's compress_certificate. Compressed where that saves bytes, once an entry and again after a new staple. */
void hs13_put_certificate(struct hs13 *h, const struct certs_choice *c, struct span offered);
