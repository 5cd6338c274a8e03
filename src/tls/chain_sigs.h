/*
 * By which algorithms the certificates of a chain are signed, as a set: whether a client can verify all of it is then one
 * comparison (RFC 8446 4.2.3, 4.4.2.2). The sets are the config role's to make and a handshaker's to compare, of one build.
 */
#pragma once

#include <openssl/x509.h>
#include <stdint.h>

#include "base/span.h"

/* Of one certificate, no matter who signed it. What has no number is in no client's set. */
uint16_t chain_sigs_of(X509 *x);

/* Of those behind a leaf, but for the self-signed ones, which nobody has to verify. */
uint16_t chain_sigs_of_issuers(const STACK_OF(X509) * others);

/*
 * What a list of schemes (raw u16 list) allows. As libssl, by hash and kind of key alone: the curve, and which OID the issuer's
 * RSA key has, are not looked at.
 */
uint16_t chain_sigs_listed(struct span schemes);
