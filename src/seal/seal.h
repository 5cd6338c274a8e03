/*
 * What instances of a fleet wrap what they share in, before it goes to their store: AES-256-GCM under a key from the operator's
 * file (HKDF-Extract, RFC 5869 2.2), another one a purpose, so that who opens one kind cannot open the other. Each message has
 * a key of its own, from 16 random bytes in front of it: a fleet may seal for years without a nonce that comes twice. A name
 * and a number are authenticated, so nothing passes for another thing or for a newer one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"

#define SEAL_MORE 32 /* bytes that what is sealed has more: random ones and a tag */

enum seal_purpose { SEAL_PRIVATE_KEYS, SEAL_SUMMARIES, SEAL_PURPOSES };

struct seal {
    uint8_t *key; /* locked memory; NULL = nothing is shared */
};

/* FILE: see conf/secret_file.h; nothing of it is kept. ERR_*; a sentence in WHY. */
MUST_CHECK int seal_init(struct seal *s, enum seal_purpose purpose, const char *file, struct text *why);
void seal_fini(struct seal *s);

/* PLAIN with SEAL_MORE bytes more in TO. ERR_CRYPTO, ERR_LIMIT. */
MUST_CHECK int seal_close(const struct seal *s, const char *name, uint64_t number, struct span plain, uint8_t *to, size_t cap,
                          size_t *ret_len);

/* The reverse, SEAL_MORE bytes less. ERR_CRYPTO: another key, name or number, or it was changed; ERR_LIMIT. */
MUST_CHECK int seal_open(const struct seal *s, const char *name, uint64_t number, struct span sealed, uint8_t *to, size_t cap,
                         size_t *ret_len);
