#include "keymaker/jws.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdlib.h>

#include "base/base64url.h"
#include "base/err.h"

#define JWS_NUMBER_LEN 32 /* of P-256 */
#define POINT_LEN      (1 + 2 * JWS_NUMBER_LEN)
#define ES256_LEN      (2 * JWS_NUMBER_LEN)
#define JWK_MAX        160

bool jws_is_plain(struct span s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    return true;
}

int jws_jwk(const EVP_PKEY *key, struct text *to) {
    uint8_t point[POINT_LEN];
    size_t len = 0;
    if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point), &len) != 1 || len != POINT_LEN ||
        point[0] != 4 /* uncompressed */)
        return ERR_CRYPTO;
    text_add(to, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"");
    base64url_add(to, span_of(point + 1, JWS_NUMBER_LEN));
    text_add(to, "\",\"y\":\"");
    base64url_add(to, span_of(point + 1 + JWS_NUMBER_LEN, JWS_NUMBER_LEN));
    text_add(to, "\"}");
    return 0;
}

int jws_thumbprint(const EVP_PKEY *key, struct text *to) {
    char jwk[JWK_MAX];
    uint8_t digest[SHA256_DIGEST_LENGTH];
    struct text t = text_of(jwk, sizeof(jwk));
    int err = jws_jwk(key, &t);
    if (err == 0)
        base64url_add(to, span_of(SHA256((const uint8_t *)jwk, t.len, digest), sizeof(digest)));
    return err;
}

/* The two numbers of a DER signature, each in full length (RFC 7518 3.4). */
static int raw_signature(const uint8_t *der, size_t len, uint8_t ret[static ES256_LEN]) {
    const uint8_t *p = der;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)len);
    bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), ret, JWS_NUMBER_LEN) == JWS_NUMBER_LEN &&
              BN_bn2binpad(ECDSA_SIG_get0_s(sig), ret + JWS_NUMBER_LEN, JWS_NUMBER_LEN) == JWS_NUMBER_LEN;
    ECDSA_SIG_free(sig);
    return ok ? 0 : ERR_CRYPTO;
}

static int es256(EVP_PKEY *key, struct span input, uint8_t ret[static ES256_LEN]) {
    uint8_t der[80]; /* of P-256: 72 at most */
    size_t len = sizeof(der);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, key, NULL) == 1 &&
              EVP_DigestSign(ctx, der, &len, input.p, input.len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok ? raw_signature(der, len, ret) : ERR_CRYPTO;
}

/* Both parts as they are signed: header "." payload. What is put into TO lies there already, so it is only remembered where. */
static int flatten(struct span header, struct span payload, EVP_PKEY *key, struct span mac_key, struct text *to) {
    uint8_t sig[ES256_LEN];
    unsigned len = ES256_LEN;
    int err = 0;
    size_t room = BASE64URL_LEN(header.len) + BASE64URL_LEN(payload.len) + 2;
    char *input = malloc(room);
    if (!input)
        return ERR_NOMEM;
    struct text t = text_of(input, room);
    base64url_add(&t, header);
    size_t dot = t.len;
    text_add(&t, ".");
    base64url_add(&t, payload);
    if (key)
        err = es256(key, span_of(input, t.len), sig);
    else if (!HMAC(EVP_sha256(), mac_key.p, (int)mac_key.len, (const uint8_t *)input, t.len, sig, &len))
        err = ERR_CRYPTO;
    if (err == 0) {
        text_addf(to, "{\"protected\":\"%.*s\",\"payload\":\"%s\",\"signature\":\"", (int)dot, input, input + dot + 1);
        base64url_add(to, span_of(sig, len));
        text_add(to, "\"}");
    }
    free(input);
    return err == 0 && to->cut ? ERR_LIMIT : err;
}

int jws_sign(EVP_PKEY *key, struct span header, struct span payload, struct text *to) {
    return flatten(header, payload, key, span_of(NULL, 0), to);
}

int jws_mac(struct span key, struct span header, struct span payload, struct text *to) {
    return flatten(header, payload, NULL, key, to);
}
