/*
 * Certificate signing requests (RFC 2986) without a subject: names are alternative names only (RFC 5280 4.1.2.6), since a
 * common name holds no more than 64 characters.
 */
#pragma once

#include <openssl/evp.h>

#include "base/defs.h"
#include "base/text.h"
#include "conf/conf_acme.h"

/* base64url(DER) for the names of CERT, signed by KEY. ERR_CRYPTO, ERR_LIMIT. */
MUST_CHECK int csr_make(const struct conf_managed *cert, EVP_PKEY *key, struct text *to);
