#include "tls/cert_alg.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/defs.h"
#include "base/text.h"

static const struct {
    int nid;
    const char *name;
} sigs[] = {
    [CERT_SIG_NONE] = {NID_undef, NULL},
    [CERT_SIG_RSA_SHA256] = {NID_sha256WithRSAEncryption, "RSA-SHA256"},
    [CERT_SIG_RSA_SHA384] = {NID_sha384WithRSAEncryption, "RSA-SHA384"},
    [CERT_SIG_RSA_SHA512] = {NID_sha512WithRSAEncryption, "RSA-SHA512"},
    [CERT_SIG_RSA_PSS] = {NID_rsassaPss, "RSASSA-PSS"},
    [CERT_SIG_ECDSA_SHA256] = {NID_ecdsa_with_SHA256, "ecdsa-with-SHA256"},
    [CERT_SIG_ECDSA_SHA384] = {NID_ecdsa_with_SHA384, "ecdsa-with-SHA384"},
    [CERT_SIG_ECDSA_SHA512] = {NID_ecdsa_with_SHA512, "ecdsa-with-SHA512"},
    [CERT_SIG_ED25519] = {NID_ED25519, "ED25519"},
};

static const char *const keys[] = {
    [CERT_KEY_NONE] = NULL, [CERT_KEY_RSA] = "RSA", [CERT_KEY_EC] = "EC", [CERT_KEY_ED25519] = "ED25519"};

static uint8_t key_alg_of(const EVP_PKEY *key) {
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
        return CERT_KEY_RSA;
    case EVP_PKEY_EC:
        return CERT_KEY_EC;
    case EVP_PKEY_ED25519:
        return CERT_KEY_ED25519;
    default:
        return CERT_KEY_NONE;
    }
}

struct cert_alg cert_alg_of(X509 *cert) {
    struct cert_alg a = {0};
    const EVP_PKEY *key = cert ? X509_get0_pubkey(cert) : NULL;
    if (!key)
        return a;
    int nid = X509_get_signature_nid(cert);
    for (size_t i = CERT_SIG_RSA_SHA256; i < ARRAY_LEN(sigs); i++)
        if (sigs[i].nid == nid)
            a.sig = (uint8_t)i;
    a.key = key_alg_of(key);
    a.bits = (uint16_t)MIN(MAX(EVP_PKEY_get_bits(key), 0), UINT16_MAX);
    return a;
}

const char *cert_alg_sig_name(unsigned sig) {
    return sig < ARRAY_LEN(sigs) ? sigs[sig].name : NULL;
}

const char *cert_alg_key_name(const struct cert_alg *a, char to[static CERT_ALG_KEY_MAX]) {
    const char *kind = a->key < ARRAY_LEN(keys) ? keys[a->key] : NULL;
    struct text t = text_of(to, CERT_ALG_KEY_MAX);
    if (!kind)
        return NULL;
    text_add(&t, kind);
    if (a->key != CERT_KEY_ED25519)
        text_addf(&t, "%u", a->bits);
    return to;
}
