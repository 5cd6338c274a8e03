/*
 * A private key from its file: read and checked as in tls/key_read.h, and kept as bare numbers in the secure heap, since an
 * EVP_PKEY takes ten times the room.
 */
#pragma once

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"
#include "creds/creds.h"

#define KEY_FILE_MAX (1024 * 1024)
#define KEY_PASS_MAX 1024 /* bytes of a passphrase */

/* The numbers of one key. Immutable. */
struct key_parts {
    enum creds_kind kind;
    size_t len;
    uint8_t *bytes; /* in the secure heap; NULL = none here */
};

/*
 * Reads the key in FD (by pread: its offset is not used), with the passphrase in PASS_FD (-1 = none; WANTED names its file).
 * WANTED: which key it must be. Descriptors stay the caller's. ERR_FORMAT, ERR_SYSTEM, ERR_NOMEM, with a message in WHY.
 */
MUST_CHECK int key_load(int fd, int pass_fd, const struct creds_key *wanted, struct key_parts *ret, struct text *why);

/* Wipes and frees. */
void key_parts_fini(struct key_parts *p);

/* The key as libcrypto wants it; NULL when out of memory. */
EVP_PKEY *key_parts_open(const struct key_parts *p);
