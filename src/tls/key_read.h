/*
 * The private key of a certificate out of a PEM file that may hold several: read, decrypted, checked (key_judge.h) and compared
 * with the public key it must belong to. Signers and `tls-off check` read keys here and nowhere else, so what one of them takes
 * the other takes. Files are outside input: every way in which they can be wrong is reported in a sentence that names the file,
 * what was found and what was expected.
 *
 * Everything secret lies in memory of libcrypto's (OPENSSL_malloc()), which in a signer is the secure heap.
 */
#pragma once

#include <openssl/evp.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"
#include "creds/creds.h"
#include "tls/cert_chain.h"
#include "tls/key_der.h"

/* In one of two forms. Begins zeroed. */
struct key_found {
    EVP_PKEY *key;        /* NULL: it was in a form that needs no more than reading */
    struct key_der plain; /* which borrows DER */
    uint8_t *der;
    size_t der_len;
};

/*
 * The key in PEM that WANTED describes; the first line of PASS decrypts it. ERR_NOT_FOUND: there are keys, all of them others.
 * ERR_FORMAT, ERR_NOMEM. All with a message in WHY, and *RET is to be freed then as well.
 */
MUST_CHECK int key_read(struct span pem, struct span pass, const struct creds_key *wanted, struct key_found *ret,
                        struct text *why);
void key_found_fini(struct key_found *f);

/* The same for a process that has the certificate: the key in FILE must be the leaf's. The usual mistakes are reported
 * apart. */
MUST_CHECK int key_read_check(const struct cert_chain *c, const char *file, const char *passphrase, struct text *why);
