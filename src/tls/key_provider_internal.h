/* A key that is elsewhere, as the two files of our provider see it; and what kdf_provider.c registers of them. */
#pragma once

#include <openssl/core.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tls/key_provider.h"

/*
 * Property of these algorithms: a key of ours is fetched by it, all others prefer algorithms without it. Definitions may use
 * only names that libcrypto knows from the start; this one is otherwise of encoders and decoders.
 */
#define KEY_PROVIDER_WANTED  "structure=tls-off-key"
#define KEY_PROVIDER_AVOIDED "?structure!=tls-off-key"

/* Names that OpenSSL's own provider does not have: libcrypto comes straight to us, and never tries to export a key to it. */
#define KEY_SIGN_RSA   "TLS-OFF-RSA"
#define KEY_SIGN_EC    "TLS-OFF-ECDSA"
#define KEY_SIGN_EDDSA "TLS-OFF-ED25519"

enum remote_kind { REMOTE_RSA, REMOTE_EC, REMOTE_ED25519 };

/* Immutable once made, and counted. */
struct remote_key {
    enum remote_kind kind;
    unsigned refs;
    bool remote; /* has a name: can be signed with. A certificate's key that was only compared with one of ours has none */
    struct key_name name;
    int bits;
    size_t signature_len; /* RSA and Ed25519: exactly; EC: at most */
    const char *group;    /* EC; static storage */
    uint64_t e;           /* RSA */
    uint8_t *point;       /* EC: uncompressed; Ed25519; RSA: the modulus in the machine's byte order */
    size_t point_len;
};

extern const OSSL_ALGORITHM key_provider_keymgmts[];
extern const OSSL_ALGORITHM key_provider_signatures[];
