/* Private keys of the keymaker's own: made here, kept in files that nobody else writes, in memory only while they are used. */
#pragma once

#include <openssl/evp.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"
#include "conf/conf_acme.h"

/* A key in PEM, without a passphrase. ERR_FORMAT. */
MUST_CHECK int key_file_parse(struct span pem, EVP_PKEY **ret);

/* ERR_NOT_FOUND (no such file), ERR_FORMAT, ERR_SYSTEM; a sentence in WHY. The key is the caller's to free. */
MUST_CHECK int key_file_read(const char *path, EVP_PKEY **ret, struct text *why);

/* Durably (base/durable.h), for the owner alone. ERR_CRYPTO, ERR_SYSTEM; a sentence in WHY. */
MUST_CHECK int key_file_write(const char *path, EVP_PKEY *key, struct text *why);

/* The key in PATH, or a new one that is in PATH afterwards. */
MUST_CHECK int key_file_ensure(const char *path, enum managed_key kind, EVP_PKEY **ret, struct text *why);

/* Is it of this kind? */
bool key_file_is(const EVP_PKEY *key, enum managed_key kind);
