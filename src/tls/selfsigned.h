/* A self-signed certificate for a first try: names and addresses of this machine's loopback, one year. */
#pragma once

#include "base/defs.h"
#include "base/text.h"

/*
 * Makes sure that DIR holds self-signed.crt and self-signed.key (mode 0600) that match, name all of NAMES, and are valid for
 * another week; writes new ones otherwise (to a temporary name, then renamed). The directory is made when missing (mode 0700),
 * and those above it. NAMES: further DNS names or IP addresses, comma-separated, may be "". RSA_BITS: of the key; 0 = ECDSA
 * P-256. *ret_made: whether new ones were written. On failure a message is added to WHY. ERR_FORMAT (bad NAMES), ERR_SYSTEM,
 * ERR_CRYPTO.
 */
MUST_CHECK int selfsigned_ensure(const char *dir, const char *names, unsigned rsa_bits, int *ret_made, struct text *why);
