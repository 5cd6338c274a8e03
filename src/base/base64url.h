/* Base64 in the alphabet of URLs, without padding (RFC 4648 5), as JOSE writes all bytes; and the common one (RFC 4648 4). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"

/* Characters that N bytes become. */
#define BASE64URL_LEN(n) (((n)*4 + 2) / 3)

void base64url_add(struct text *to, struct span bytes);

/* The bytes of S in TO. ERR_FORMAT (another character, an impossible length, bits left over), ERR_LIMIT (more than CAP). */
MUST_CHECK int base64url_read(struct span s, uint8_t *to, size_t cap, size_t *ret_len);

/* The same of the common alphabet, whose padding is not part of S. */
MUST_CHECK int base64_read(struct span s, uint8_t *to, size_t cap, size_t *ret_len);
