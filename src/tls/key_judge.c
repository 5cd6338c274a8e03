#include "tls/key_judge.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/obj_mac.h>
#include <string.h>

#include "base/err.h"

static int exponent_bits(const EVP_PKEY *key) {
    BIGNUM *e = NULL;
    int bits = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) == 1 ? BN_num_bits(e) : 0;
    BN_free(e);
    return bits;
}

static int judge_rsa(const char *file, const EVP_PKEY *key, struct text *why) {
    int bits = EVP_PKEY_get_bits(key), e = exponent_bits(key);
    BIGNUM *third = NULL;
    bool more = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_FACTOR3, &third) == 1;
    BN_clear_free(third);
    if (bits < KEY_RSA_BITS_MIN)
        text_addf(why, "%s: found an RSA key of %d bits, expected %d or more", file, bits, KEY_RSA_BITS_MIN);
    else if (bits > KEY_RSA_BITS_MAX)
        text_addf(why, "%s: found an RSA key of %d bits, expected %d or fewer", file, bits, KEY_RSA_BITS_MAX);
    else if (e < 2 || e > KEY_RSA_EXPONENT_BITS_MAX)
        text_addf(why, "%s: found an RSA key with a public exponent of %d bits, expected 2 to %d, as 65537 has", file, e,
                  KEY_RSA_EXPONENT_BITS_MAX);
    else if (more)
        text_addf(why, "%s: found an RSA key of more than two primes, expected two", file);
    else
        return 0;
    return ERR_FORMAT;
}

/* The two curves that every client has. */
static int judge_ec(const char *file, const EVP_PKEY *key, enum creds_kind *ret, struct text *why) {
    char curve[64] = "";
    if (EVP_PKEY_get_group_name(key, curve, sizeof(curve), NULL) != 1)
        curve[0] = '\0'; /* a curve given by its numbers, and none that has a name */
    *ret = strcmp(curve, SN_secp384r1) == 0 ? CREDS_EC_P384 : CREDS_EC_P256;
    if (*ret == CREDS_EC_P384 || strcmp(curve, SN_X9_62_prime256v1) == 0)
        return 0;
    text_addf(why, "%s: found an EC key on the curve %s, expected P-256 or P-384", file, curve[0] ? curve : "without a name");
    return ERR_FORMAT;
}

int key_judge(const char *file, const EVP_PKEY *key, enum creds_kind *ret, struct text *why) {
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
        *ret = CREDS_RSA;
        return judge_rsa(file, key, why);
    case EVP_PKEY_EC:
        return judge_ec(file, key, ret, why);
    case EVP_PKEY_ED25519:
        *ret = CREDS_ED25519;
        return 0;
    default:
        text_addf(why, "%s: found a key of type %s, expected RSA (%d bits or more), EC (P-256, P-384) or Ed25519", file,
                  EVP_PKEY_get0_type_name(key), KEY_RSA_BITS_MIN);
        return ERR_FORMAT;
    }
}
