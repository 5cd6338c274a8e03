/*
 * The private keys of a signer, by set of credentials and number, and its one job: to sign what a TLS server signs in a
 * handshake, by a scheme that fits the key. Knows no sockets.
 *
 * Two whole sets are kept, so that handshakers may go on with the older one while they change over, and a third while it is
 * being read. Keys are kept as bare numbers; a few are open as libcrypto's objects.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/text.h"
#include "signer/key_load.h"
#include "wire/sign.h"

#define KEYRING_OPEN 256 /* keys open at once; about 4 KB each */
#define KEYRING_MAX  (1u << 24)

struct keyring;

struct keyring *keyring_new(void); /* NULL when out of memory */
void keyring_free(struct keyring *r);

/* A new set of N keys begins; one that was not finished is dropped. STORE (kept) names the keys. ERR_NOMEM, ERR_LIMIT. */
MUST_CHECK int keyring_begin(struct keyring *r, uint32_t set, const struct creds *store);

/* Reads key INDEX of the set that is being read. Errors and WHY as key_load(); ERR_NOT_FOUND without a message. */
MUST_CHECK int keyring_take(struct keyring *r, uint32_t index, int fd, int pass_fd, struct text *why);

/* Whether every key of the set that is being read is there. */
bool keyring_whole(const struct keyring *r);

/* The set that was read is good from now on, and the last but one is wiped. Only when it is whole. */
void keyring_commit(struct keyring *r);

/* Whether there is a set to sign with. */
bool keyring_has(const struct keyring *r);

/* What was read is not wanted: wiped. */
void keyring_drop(struct keyring *r);

/*
 * Signs. 0; ERR_NOT_FOUND (the set is not here: another signer may have it), ERR_FORMAT (no such key in it, or not what a TLS
 * server signs), ERR_UNSUPPORTED (a scheme that does not fit), ERR_NOMEM, ERR_CRYPTO.
 */
MUST_CHECK int keyring_sign(struct keyring *r, const struct sign_request *q, uint8_t sig[static SIGN_SIGNATURE_MAX],
                            size_t *ret_len);
