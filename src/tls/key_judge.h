/*
 * Which keys are served: the one place that decides, for a certificate's public half when it is loaded and for a private key
 * when it is read. What passes here can be shown and signed with in TLS 1.2 and 1.3.
 */
#pragma once

#include <openssl/evp.h>

#include "base/defs.h"
#include "base/text.h"
#include "creds/creds.h"

#define KEY_RSA_BITS_MIN          2048
#define KEY_RSA_BITS_MAX          8192
#define KEY_RSA_EXPONENT_BITS_MAX 64 /* no library of clients' takes more */

/* The kind of KEY, which came from FILE. ERR_FORMAT, with what was found and what was expected in WHY. */
MUST_CHECK int key_judge(const char *file, const EVP_PKEY *key, enum creds_kind *ret, struct text *why);
