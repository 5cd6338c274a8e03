/*
 * One certificate chain with its private key, read from PEM files. Files are outside input: bounded, and every way in which
 * they can be wrong is told in a sentence that names the file, what was found and what was expected.
 */
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/defs.h"
#include "base/text.h"

#define CERT_FILE_MAX (1024 * 1024) /* bytes of a PEM file */

enum key_kind { KEY_RSA, KEY_EC_P256, KEY_EC_P384, KEY_ED25519 };

struct cert_pair {
    X509 *leaf;
    STACK_OF(X509) * chain; /* without the leaf; may be empty, never NULL */
    EVP_PKEY *key;
    enum key_kind kind;
    char *cert_file;
    char *key_file;
    mode_t key_mode; /* permissions of the key file */
};

/* ERR_FORMAT, ERR_SYSTEM or ERR_NOMEM, and a message added to WHY. */
MUST_CHECK int cert_pair_load(const char *cert_file, const char *key_file, struct cert_pair **ret, struct text *why);
void cert_pair_free(struct cert_pair *pair);

/* Whether a readable file of the right size holds a PEM block of a private key, of whatever kind. */
bool cert_pair_has_key(const char *file);
