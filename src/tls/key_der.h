/*
 * The usual forms of private keys, parsed here: PKCS#8 (RFC 5958), SEC1 (RFC 5915) and PKCS#1 (RFC 8017) in DER. libcrypto's
 * decoders try every provider and format and take 0.3 ms a key, which ten thousand keys feel at each start. What is not plain
 * here is left to them: no answer is no fault.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "creds/creds.h"

#define KEY_DER_NUMBERS 8

/* Big-endian numbers without leading zeros (EC and Ed25519: as long as the field); they borrow the DER. */
struct key_der {
    enum creds_kind kind;
    struct span numbers[KEY_DER_NUMBERS]; /* RSA: n, e, d, p, q, dp, dq, qinv; others: the secret one alone */
};

/* FORM is the PEM block's name ("PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"). */
bool key_der_read(const char *form, struct span der, struct key_der *ret);

/*
 * Whether the public key SPKI (DER) is plainly the one of K; false = perhaps not. POINT is the public key that belongs to the
 * secret number (EC: uncompressed; Ed25519); RSA keys have theirs inside.
 */
bool key_der_is(const struct key_der *k, struct span point, struct span spki);
