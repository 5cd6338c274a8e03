/*
 * The certificate of a service, in its directory:
 *
 *   fullchain.pem -> current/fullchain.pem     what the configuration names; the directory is watched
 *   key.pem       -> current/key.pem
 *   current       -> 7                         exchanged by one rename: chain and key change together
 *   7/, 6/                                     what is in use, and what was before
 *   next.key                                   of the order under way
 *   shared.version                             the newest that the store of the fleet has shown
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

/* Only the check, for a KEY. */
MUST_CHECK int installed_check(const struct conf_managed *cert, struct span chain, const EVP_PKEY *key, struct text *why);

/*
 * As installed_put() with a KEY that comes with the chain, from another instance of the fleet. Does nothing when the one in use
 * is younger, or when the chain has expired. RET_USED: the chain's is in use now.
 */
MUST_CHECK int installed_take(const struct conf_managed *cert, struct span chain, EVP_PKEY *key, bool *ret_used,
                              struct text *why);

/* Which version of the fleet's it is, or was last; 0 = none. ERR_SYSTEM. */
uint64_t installed_version(const struct conf_managed *cert);
MUST_CHECK int installed_set_version(const struct conf_managed *cert, uint64_t version);
