/*
 * The certificate of a service, in its directory:
 *
 *   fullchain.pem -> current/fullchain.pem     what the configuration names; the directory is watched
 *   key.pem       -> current/key.pem
 *   current       -> 7                         exchanged by one rename: chain and key change together
 *   7/, 6/                                     what is in use, and what was before
 *   next.key                                   of the order under way
 */
#pragma once

#include <openssl/evp.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"
#include "conf/conf_acme.h"
#include "wire/keymaking.h"

/* The key of the order under way; made when there is none. As key_file_ensure(). */
MUST_CHECK int installed_next_key(const struct conf_managed *cert, EVP_PKEY **ret, struct text *why);

/* A new order: its key is new too. */
void installed_forget_next_key(const struct conf_managed *cert);

/* The DER of the certificate in use, base64url. ERR_NOT_FOUND, ERR_FORMAT; a sentence in WHY. */
MUST_CHECK int installed_der(const struct conf_managed *cert, struct text *to, struct text *why);

/* About the certificate in use. RET borrows ARI. */
void installed_inspect(const struct conf_managed *cert, uint8_t ari[static KEYMAKING_ARI_MAX], struct keymaking_cert *ret);

/*
 * Checks the chain (it parses and holds together, the key is that of the order, names and validity are right) and puts it into
 * use. Does nothing when that very certificate is in use already. ERR_FORMAT, ERR_SYSTEM, ERR_CRYPTO; a sentence in WHY, and
 * what was in use stays.
 */
MUST_CHECK int installed_put(const struct conf_managed *cert, struct span chain, struct text *why);
