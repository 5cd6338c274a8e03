/* The key of an external account binding (RFC 8555 7.3.4): a file as an issuer has given it out. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/text.h"

#define EAB_KEY_MAX 256

/* One line of base64url, at least 32 bytes of key. ERR_SYSTEM, ERR_FORMAT, ERR_LIMIT, ERR_NOMEM, with the reason in WHY. */
MUST_CHECK int eab_key_read(const char *file, uint8_t to[static EAB_KEY_MAX], size_t *ret_len, struct text *why);
