/* A private key beside its certificate, where a process has to look at both: `tls-off check`, and the self-made certificate. */
#pragma once

#include <openssl/evp.h>

#include "base/defs.h"
#include "base/text.h"
#include "tls/cert_chain.h"

/* The private key of a PEM file; the caller's. Messages in WHY as in pem_file.h. ERR_FORMAT, ERR_SYSTEM, ERR_NOMEM. */
MUST_CHECK int cert_key_read(const char *file, const char *passphrase, EVP_PKEY **ret, struct text *why);

/* The key of FILE must be the leaf's; the usual mistakes are told apart. */
MUST_CHECK int cert_key_check(const struct cert_chain *c, const char *file, const char *passphrase, struct text *why);
