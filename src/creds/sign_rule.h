/*
 * What a private key of ours may sign, and by which scheme: the handshaker chooses by it, the signer enforces it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "creds/creds.h"

/*
 * What the bytes are, which decides the version: a CertificateVerify of a TLS 1.3 server (RFC 8446 4.4.3), or the signed
 * part of a TLS 1.2 ServerKeyExchange over a named curve (RFC 8422 5.4). No byte string is both.
 */
enum sign_shape { SIGN_SHAPE_NONE, SIGN_SHAPE_TLS12, SIGN_SHAPE_TLS13 };
enum sign_shape sign_shape(struct span tbs);

/* Whether a key of KIND may sign by SCHEME in TLS 1.2 or 1.3: RFC 8446 4.2.3, RFC 8422 5.10; never SHA-1, MD5. */
bool sign_key_fits(enum creds_kind kind, uint16_t scheme, bool tls12);

/* The same for a handshake of that shape. */
bool sign_scheme_fits(enum creds_kind kind, uint16_t scheme, enum sign_shape shape);
