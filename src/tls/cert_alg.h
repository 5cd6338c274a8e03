/* The algorithms of certificates that we present, as small numbers to pass on and as the names that backends get. */
#pragma once

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

/* How a certificate is signed. Numbers are part of packed messages: new ones go at the end. */
enum cert_sig {
    CERT_SIG_NONE, /* none of these */
    CERT_SIG_RSA_SHA256,
    CERT_SIG_RSA_SHA384,
    CERT_SIG_RSA_SHA512,
    CERT_SIG_RSA_PSS,
    CERT_SIG_ECDSA_SHA256,
    CERT_SIG_ECDSA_SHA384,
    CERT_SIG_ECDSA_SHA512,
    CERT_SIG_ED25519,
};

enum cert_key { CERT_KEY_NONE, CERT_KEY_RSA, CERT_KEY_EC, CERT_KEY_ED25519 };

struct cert_alg {
    uint8_t sig; /* enum cert_sig */
    uint8_t key; /* enum cert_key */
    uint16_t bits;
};

/* All zero when it is NULL or cannot be read. */
struct cert_alg cert_alg_of(X509 *cert);

/* OpenSSL's short name, "ecdsa-with-SHA256"; NULL for none and for a number out of range. Static storage. */
const char *cert_alg_sig_name(unsigned sig);

#define CERT_ALG_KEY_MAX 24

/* "RSA2048", "EC256", "ED25519", into TO; NULL for none and for a number out of range. */
const char *cert_alg_key_name(const struct cert_alg *a, char to[static CERT_ALG_KEY_MAX]);
