#include "tls/chain_sigs.h"

#include <openssl/x509v3.h>

#include "base/defs.h"
#include "tls/hello.h"

/* A certificate's algorithm, and the schemes that stand for it in a list; 0 = no second one. */
static const struct {
    int hash, key;
    uint16_t schemes[2];
} known[] = {
    {NID_sha256, NID_rsaEncryption, {0x0401, 0}},
    {NID_sha384, NID_rsaEncryption, {0x0501, 0}},
    {NID_sha512, NID_rsaEncryption, {0x0601, 0}},
    {NID_sha256, NID_rsassaPss, {0x0804, 0x0809}},
    {NID_sha384, NID_rsassaPss, {0x0805, 0x080a}},
    {NID_sha512, NID_rsassaPss, {0x0806, 0x080b}},
    {NID_sha256, NID_X9_62_id_ecPublicKey, {0x0403, 0}},
    {NID_sha384, NID_X9_62_id_ecPublicKey, {0x0503, 0}},
    {NID_sha512, NID_X9_62_id_ecPublicKey, {0x0603, 0}},
    {NID_undef, NID_ED25519, {0x0807, 0}},
    {NID_undef, NID_ED448, {0x0808, 0}},
    {NID_sha224, NID_rsaEncryption, {0x0301, 0}},
    {NID_sha224, NID_X9_62_id_ecPublicKey, {0x0303, 0}},
};

#define CHAIN_SIGS_UNKNOWN 15
_Static_assert(ARRAY_LEN(known) <= CHAIN_SIGS_UNKNOWN, "all fit into a set");

static unsigned sig_number(X509 *x) {
    int hash = NID_undef, key = NID_undef;
    if (X509_get_signature_info(x, &hash, &key, NULL, NULL) != 1)
        return CHAIN_SIGS_UNKNOWN;
    for (unsigned i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].hash == hash && known[i].key == key)
            return i;
    return CHAIN_SIGS_UNKNOWN;
}

uint16_t chain_sigs_of(X509 *x) {
    return (uint16_t)(1u << sig_number(x));
}

uint16_t chain_sigs_of_issuers(const STACK_OF(X509) * others) {
    uint16_t used = 0;
    for (int i = 0; i < sk_X509_num(others); i++)
        if (!(X509_get_extension_flags(sk_X509_value(others, i)) & EXFLAG_SS))
            used |= chain_sigs_of(sk_X509_value(others, i));
    return used;
}

uint16_t chain_sigs_listed(struct span schemes) {
    uint16_t listed = 0;
    for (unsigned i = 0; i < ARRAY_LEN(known); i++)
        for (unsigned s = 0; s < 2 && known[i].schemes[s]; s++)
            if (hello_list_has(schemes, known[i].schemes[s]))
                listed |= (uint16_t)(1u << i);
    return listed;
}
