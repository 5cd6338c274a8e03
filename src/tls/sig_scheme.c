#include "tls/sig_scheme.h"

#include "base/defs.h"

static const struct {
    uint16_t id;
    const char *name;
} schemes[] = {
    {0x0403, "ecdsa_secp256r1_sha256"}, {0x0503, "ecdsa_secp384r1_sha384"},
    {0x0603, "ecdsa_secp521r1_sha512"}, {0x0807, "ed25519"},
    {0x0804, "rsa_pss_rsae_sha256"},    {0x0805, "rsa_pss_rsae_sha384"},
    {0x0806, "rsa_pss_rsae_sha512"},    {0x0809, "rsa_pss_pss_sha256"},
    {0x080a, "rsa_pss_pss_sha384"},     {0x080b, "rsa_pss_pss_sha512"},
    {0x0401, "rsa_pkcs1_sha256"},       {0x0501, "rsa_pkcs1_sha384"},
    {0x0601, "rsa_pkcs1_sha512"},
};

const char *sig_scheme_name(uint16_t id) {
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (schemes[i].id == id)
            return schemes[i].name;
    return NULL;
}

uint16_t sig_scheme_at(size_t i) {
    return i < ARRAY_LEN(schemes) ? schemes[i].id : 0;
}
