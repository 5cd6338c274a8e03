/*
 * The keys' other half: SIGNATURE. libssl sets digest and padding, then gives all bytes at once; together they are one of TLS'
 * signature schemes, or nothing that a TLS server signs by.
 */
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tls/key_provider_internal.h"

struct key_signing {
    bool in_use;
    const struct remote_key *key; /* libcrypto's EVP_PKEY outlives the context */
    unsigned hash_bits;           /* 256, 384, 512; 0 = none named */
    bool pss;
    bool odd; /* a parameter that TLS does not have */
};

static struct key_signing spare; /* libssl has one at a time: no allocation a signature */
static key_sign_fn asked;
static void *asked_ctx;
static int last_error;

void key_provider_ask(key_sign_fn fn, void *ctx) {
    asked = fn;
    asked_ctx = ctx;
}

int key_provider_error(void) {
    int err = last_error;
    last_error = 0;
    return err;
}

static void *sign_new(void *provider, const char *query) {
    (void)provider;
    (void)query;
    struct key_signing *s = spare.in_use ? calloc(1, sizeof(*s)) : &spare;
    if (s)
        *s = (struct key_signing){.in_use = true};
    return s;
}

static void sign_free(void *ctx) {
    struct key_signing *s = ctx;
    if (s == &spare)
        s->in_use = false;
    else
        free(s);
}

static bool take_sign_digest(struct key_signing *s, const char *name) {
    static const struct {
        const char *names[2];
        unsigned bits;
    } digests[] = {{{"SHA256", "SHA2-256"}, 256}, {{"SHA384", "SHA2-384"}, 384}, {{"SHA512", "SHA2-512"}, 512}};
    for (size_t i = 0; i < ARRAY_LEN(digests); i++)
        if (OPENSSL_strcasecmp(name, digests[i].names[0]) == 0 || OPENSSL_strcasecmp(name, digests[i].names[1]) == 0) {
            s->hash_bits = digests[i].bits;
            return true;
        }
    return false;
}

static void take_padding(struct key_signing *s, const OSSL_PARAM *p) {
    int mode = 0;
    if (p->data_type == OSSL_PARAM_UTF8_STRING) {
        s->pss = strcmp(p->data, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0;
        s->odd = s->odd || (!s->pss && strcmp(p->data, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) != 0);
    } else if (OSSL_PARAM_get_int(p, &mode)) {
        s->pss = mode == RSA_PKCS1_PSS_PADDING;
        s->odd = s->odd || (!s->pss && mode != RSA_PKCS1_PADDING);
    } else {
        s->odd = true;
    }
}

/* TLS has one length of salt: the digest's (RFC 8446 4.2.3). */
static void take_salt(struct key_signing *s, const OSSL_PARAM *p) {
    int len = 0;
    if (p->data_type == OSSL_PARAM_UTF8_STRING) {
        if (strcmp(p->data, OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST) != 0)
            s->odd = true;
    } else if (!OSSL_PARAM_get_int(p, &len) || (len != RSA_PSS_SALTLEN_DIGEST && len != (int)s->hash_bits / 8)) {
        s->odd = true;
    }
}

static int sign_set(void *ctx, const OSSL_PARAM params[]) {
    struct key_signing *s = ctx;
    for (const OSSL_PARAM *p = params; p && p->key; p++) {
        if (strcmp(p->key, OSSL_SIGNATURE_PARAM_PAD_MODE) == 0)
            take_padding(s, p);
        else if (strcmp(p->key, OSSL_SIGNATURE_PARAM_PSS_SALTLEN) == 0)
            take_salt(s, p);
        else if (strcmp(p->key, OSSL_SIGNATURE_PARAM_MGF1_DIGEST) == 0)
            s->odd = true; /* the digest's own is the only one, and libssl does not name it */
    }                      /* unknown ones are ignored, as provider-base(7) asks */
    return !s->odd;
}

static const OSSL_PARAM *sign_settable(void *ctx, void *provider) {
    static const OSSL_PARAM known[] = {
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
        OSSL_PARAM_END,
    };
    (void)ctx;
    (void)provider;
    return known;
}

/* DIGEST is NULL, "" or "UNDEF" where the scheme has one of its own. */
static int sign_begin(void *ctx, const char *digest, void *key, const OSSL_PARAM params[]) {
    struct key_signing *s = ctx;
    const struct remote_key *k = key;
    bool none = !digest || !digest[0] || strcmp(digest, "UNDEF") == 0;
    s->key = k;
    s->hash_bits = 0;
    s->pss = s->odd = false;
    if (!k || !k->remote || (k->kind == REMOTE_ED25519) != none || (!none && !take_sign_digest(s, digest)))
        return 0;
    return sign_set(ctx, params);
}

/* IANA registry "TLS SignatureScheme"; 0 = none. */
static uint16_t scheme_of(const struct key_signing *s) {
    unsigned nth = s->hash_bits / 128; /* 2, 3, 4 */
    if (s->key->kind == REMOTE_ED25519)
        return 0x0807;
    if (nth < 2 || s->odd)
        return 0;
    if (s->key->kind == REMOTE_RSA && s->pss)
        return (uint16_t)(0x0802 + nth);
    return (uint16_t)((nth + 2) << 8 | (s->key->kind == REMOTE_RSA ? 1 : 3));
}

static int request_signature(const struct key_signing *s, struct span tbs, uint8_t *sig, size_t *ret_len) {
    size_t len = 0;
    uint16_t scheme = scheme_of(s);
    if (!scheme)
        return ERR_UNSUPPORTED;
    if (!asked)
        return ERR_SIGNER_TIMEOUT;
    int err = asked(asked_ctx, s->key->name, scheme, tbs, sig, s->key->signature_len, &len);
    if (err < 0)
        return err;
    /* the owner of the key sizes the answer by it, and so do we */
    bool fits = s->key->kind == REMOTE_EC ? len > 0 && len <= s->key->signature_len : len == s->key->signature_len;
    if (!fits)
        return ERR_FORMAT;
    *ret_len = len;
    return 0;
}

static int sign_all(void *ctx, unsigned char *sig, size_t *ret_len, size_t cap, const unsigned char *tbs, size_t tbs_len) {
    struct key_signing *s = ctx;
    if (!s->key)
        return 0;
    if (!sig) {
        *ret_len = s->key->signature_len;
        return 1;
    }
    if (cap < s->key->signature_len)
        return 0;
    int err = request_signature(s, span_of(tbs, tbs_len), sig, ret_len);
    if (err < 0)
        last_error = err;
    return err == 0;
}

static const OSSL_DISPATCH functions[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))sign_new},
    {OSSL_FUNC_SIGNATURE_FREECTX, (void (*)(void))sign_free},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, (void (*)(void))sign_begin},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN, (void (*)(void))sign_all},
    {OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, (void (*)(void))sign_set},
    {OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, (void (*)(void))sign_settable},
    {0, NULL},
};

const OSSL_ALGORITHM key_provider_signatures[] = {
    {KEY_SIGN_RSA, "provider=tls-off," KEY_PROVIDER_WANTED, functions, "RSA signatures by a key elsewhere"},
    {KEY_SIGN_EC, "provider=tls-off," KEY_PROVIDER_WANTED, functions, "ECDSA signatures by a key elsewhere"},
    {KEY_SIGN_EDDSA, "provider=tls-off," KEY_PROVIDER_WANTED, functions, "Ed25519 signatures by a key elsewhere"},
    {NULL, NULL, NULL, NULL},
};
