/* The certificate that answers tls-alpn-01 (RFC 8737 3). */
#pragma once

#include <openssl/x509.h>

#include "acme/challenges.h"

/* Self-signed by KEY. NULL when libcrypto fails; else the caller's to free. */
X509 *challenge_cert(const struct challenge *c, EVP_PKEY *key);
