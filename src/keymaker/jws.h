/*
 * Signatures of ACME requests: JSON Web Signatures in the flattened form (RFC 7515 7.2.2, RFC 8555 6.2) by ES256 keys. All that
 * goes into the JSON is checked to need no escape.
 */
#pragma once

#include <openssl/evp.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"

/* Text that a JSON string and a URL take as it is: printable ASCII without blank, quote and backslash. */
bool jws_is_plain(struct span s);

/* The public key as JWK, members as RFC 7638 orders them. ERR_CRYPTO. */
MUST_CHECK int jws_jwk(const EVP_PKEY *key, struct text *to);

/* base64url(SHA-256) of that. ERR_CRYPTO. */
MUST_CHECK int jws_thumbprint(const EVP_PKEY *key, struct text *to);

/* The whole JWS. ERR_CRYPTO; ERR_LIMIT when TO is too small. */
MUST_CHECK int jws_sign(EVP_PKEY *key, struct span header, struct span payload, struct text *to);

/* The same by HS256. */
MUST_CHECK int jws_mac(struct span key, struct span header, struct span payload, struct text *to);
