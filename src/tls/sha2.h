/*
 * SHA-256, SHA-384 and HMAC over them, for short inputs: libcrypto's code under its old names. The EVP calls that replace
 * those cost several times the hashing itself on OpenSSL 3.0, and a handshake makes some thirty.
 */
#pragma once

#include <openssl/sha.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "tls/suite.h"

union sha2 {
    SHA256_CTX s256;
    SHA512_CTX s512; /* SHA-384 too */
};

/* HASH_ID is HASH_SHA256 or HASH_SHA384 throughout. None of these can fail. */
void sha2_begin(unsigned hash_id, union sha2 *s);
void sha2_add(unsigned hash_id, union sha2 *s, const void *p, size_t n);

/* A part behind its length in 32 bits, so that no two lists of parts look alike. */
void sha2_add_part(unsigned hash_id, union sha2 *s, struct span part);

/* Writes hash_len(HASH_ID) bytes. The state still holds what was hashed: the caller wipes it where that is secret. */
void sha2_end(unsigned hash_id, union sha2 *s, uint8_t out[static HASH_LEN_MAX]);

/* HMAC (RFC 2104) over the parts one after the other; writes hash_len(HASH_ID) bytes. OUT may be one of the parts. */
void sha2_hmac(unsigned hash_id, struct span key, const struct span *parts, size_t nparts, uint8_t out[static HASH_LEN_MAX]);
