#include "tls/kdf_provider.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/wr.h"
#include "tls/key_provider_internal.h"
#include "tls/sha2.h"

#define LABEL_MAX            32
#define DATA_MAX             64
#define INFO_MAX             (2 + 1 + 2 * LABEL_MAX + 1 + DATA_MAX)
#define KDF_PROVIDER_KEY_MAX 512 /* shared secrets of hybrid groups included */

/* ---- the algorithm as libcrypto sees it ---- */

struct kdf {
    bool in_use;
    int mode;
    unsigned hash;
    uint8_t key[KDF_PROVIDER_KEY_MAX], salt[HASH_LEN_MAX], prefix[LABEL_MAX], label[LABEL_MAX], data[DATA_MAX];
    size_t key_len, salt_len, prefix_len, label_len, data_len;
    bool has_key, has_salt;
};

static struct kdf spare; /* libssl has one at a time: no allocation a derivation */
static struct kdf_secrets *watched;

void kdf_provider_watch(struct kdf_secrets *to) {
    watched = to;
}

static void *kdf_new(void *provider) {
    (void)provider;
    struct kdf *k = spare.in_use ? calloc(1, sizeof(*k)) : &spare;
    if (k)
        k->in_use = true;
    return k;
}

static void kdf_reset(void *ctx) {
    struct kdf *k = ctx;
    OPENSSL_cleanse(k->key, k->key_len);
    OPENSSL_cleanse(k->salt, k->salt_len);
    k->key_len = k->salt_len = k->prefix_len = k->label_len = k->data_len = 0;
    k->has_key = k->has_salt = false;
    k->mode = 0;
}

static void kdf_free(void *ctx) {
    struct kdf *k = ctx;
    if (!k)
        return;
    kdf_reset(k);
    k->in_use = false;
    if (k != &spare)
        free(k);
}

static int copy_octets(const OSSL_PARAM *p, uint8_t *to, size_t cap, size_t *ret_len) {
    if (p->data_type != OSSL_PARAM_OCTET_STRING || p->data_size > cap)
        return 0;
    if (p->data_size)
        memcpy(to, p->data, p->data_size);
    *ret_len = p->data_size;
    return 1;
}

static int take_digest(struct kdf *k, const OSSL_PARAM *p) {
    const char *name = p->data;
    if (p->data_type != OSSL_PARAM_UTF8_STRING)
        return 0;
    if (OPENSSL_strcasecmp(name, "SHA256") == 0 || OPENSSL_strcasecmp(name, "SHA2-256") == 0)
        k->hash = HASH_SHA256;
    else if (OPENSSL_strcasecmp(name, "SHA384") == 0 || OPENSSL_strcasecmp(name, "SHA2-384") == 0)
        k->hash = HASH_SHA384;
    else
        return 0;
    return 1;
}

static int take_param(struct kdf *k, const OSSL_PARAM *p) {
    if (strcmp(p->key, OSSL_KDF_PARAM_MODE) == 0)
        return OSSL_PARAM_get_int(p, &k->mode);
    if (strcmp(p->key, OSSL_KDF_PARAM_DIGEST) == 0)
        return take_digest(k, p);
    if (strcmp(p->key, OSSL_KDF_PARAM_KEY) == 0) {
        k->has_key = true;
        return copy_octets(p, k->key, sizeof(k->key), &k->key_len);
    }
    if (strcmp(p->key, OSSL_KDF_PARAM_SALT) == 0) {
        k->has_salt = true;
        return copy_octets(p, k->salt, sizeof(k->salt), &k->salt_len);
    }
    if (strcmp(p->key, OSSL_KDF_PARAM_PREFIX) == 0)
        return copy_octets(p, k->prefix, sizeof(k->prefix), &k->prefix_len);
    if (strcmp(p->key, OSSL_KDF_PARAM_LABEL) == 0)
        return copy_octets(p, k->label, sizeof(k->label), &k->label_len);
    if (strcmp(p->key, OSSL_KDF_PARAM_DATA) == 0)
        return copy_octets(p, k->data, sizeof(k->data), &k->data_len);
    return 1; /* unknown ones are ignored, as provider-base(7) asks */
}

static int kdf_set(void *ctx, const OSSL_PARAM params[]) {
    for (const OSSL_PARAM *p = params; p && p->key; p++)
        if (!take_param(ctx, p))
            return 0;
    return 1;
}

/* HKDF-Expand-Label for outputs of at most one hash (all of TLS 1.3). */
static int expand_label(const struct kdf *k, struct span secret, struct span data, uint8_t *out, size_t out_len) {
    uint8_t info[INFO_MAX + 1], block[HASH_LEN_MAX];
    struct wr w = wr_of(info, sizeof(info));
    if (out_len > hash_len(k->hash))
        return 0;
    wr_u16(&w, (uint16_t)out_len);
    wr_u8(&w, (uint8_t)(k->prefix_len + k->label_len));
    wr_bytes(&w, k->prefix, k->prefix_len);
    wr_bytes(&w, k->label, k->label_len);
    wr_vec8(&w, data);
    wr_u8(&w, 1);
    if (!wr_end(&w))
        return 0;
    struct span written = wr_written(&w);
    sha2_hmac(k->hash, secret, &written, 1, block);
    memcpy(out, block, out_len);
    OPENSSL_cleanse(block, sizeof(block));
    return 1;
}

/* HKDF (RFC 5869) in the chain of RFC 8446 7.1: Derive-Secret(previous, "derived", "") as salt, then HKDF-Extract. */
static int derive_next(const struct kdf *k, uint8_t *out, size_t out_len) {
    static const uint8_t zeros[HASH_LEN_MAX];
    uint8_t empty[HASH_LEN_MAX], salt[HASH_LEN_MAX], result[HASH_LEN_MAX];
    size_t len = hash_len(k->hash);
    struct span salt_span = span_of(zeros, 0);
    if (out_len != len)
        return 0;
    if (k->has_salt) {
        union sha2 s;
        sha2_begin(k->hash, &s);
        sha2_end(k->hash, &s, empty);
        if (!expand_label(k, span_of(k->salt, k->salt_len), span_of(empty, len), salt, len))
            return 0;
        salt_span = span_of(salt, len);
    }
    struct span input = k->has_key ? span_of(k->key, k->key_len) : span_of(zeros, len);
    sha2_hmac(k->hash, salt_span, &input, 1, result);
    memcpy(out, result, len);
    OPENSSL_cleanse(salt, sizeof(salt));
    OPENSSL_cleanse(result, sizeof(result));
    return 1;
}

static void publish_secret(const struct kdf *k, const uint8_t *secret, size_t len) {
    struct span label = span_of(k->label, k->label_len);
    if (!watched || len > HASH_LEN_MAX)
        return;
    if (span_eq(label, span_str("c ap traffic"))) {
        memcpy(watched->client, secret, len);
        watched->client_len = (uint8_t)len;
    } else if (span_eq(label, span_str("s ap traffic"))) {
        memcpy(watched->server, secret, len);
        watched->server_len = (uint8_t)len;
    }
}

static int kdf_derive(void *ctx, unsigned char *out, size_t out_len, const OSSL_PARAM params[]) {
    struct kdf *k = ctx;
    if (!kdf_set(k, params))
        return 0;
    if (k->mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY)
        return derive_next(k, out, out_len);
    if (k->mode != EVP_KDF_HKDF_MODE_EXPAND_ONLY ||
        !expand_label(k, span_of(k->key, k->key_len), span_of(k->data, k->data_len), out, out_len))
        return 0;
    publish_secret(k, out, out_len);
    return 1;
}

static const OSSL_PARAM *kdf_settable(void *ctx, void *provider) {
    static const OSSL_PARAM known[] = {
        OSSL_PARAM_int(OSSL_KDF_PARAM_MODE, NULL),
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_KEY, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SALT, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_PREFIX, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_LABEL, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_DATA, NULL, 0),
        OSSL_PARAM_END,
    };
    (void)ctx;
    (void)provider;
    return known;
}

/* ---- the provider ---- */

static const OSSL_DISPATCH kdf_functions[] = {
    {OSSL_FUNC_KDF_NEWCTX, (void (*)(void))kdf_new},
    {OSSL_FUNC_KDF_FREECTX, (void (*)(void))kdf_free},
    {OSSL_FUNC_KDF_RESET, (void (*)(void))kdf_reset},
    {OSSL_FUNC_KDF_DERIVE, (void (*)(void))kdf_derive},
    {OSSL_FUNC_KDF_SETTABLE_CTX_PARAMS, (void (*)(void))kdf_settable},
    {OSSL_FUNC_KDF_SET_CTX_PARAMS, (void (*)(void))kdf_set},
    {0, NULL},
};

static const OSSL_ALGORITHM *query(void *provider, int operation, int *ret_no_cache) {
    static const OSSL_ALGORITHM kdfs[] = {
        {"TLS13-KDF", "provider=tls-off,structure=tls-off-kdf", kdf_functions, "lean TLS 1.3 key derivation"},
        {NULL, NULL, NULL, NULL},
    };
    (void)provider;
    *ret_no_cache = 0;
    switch (operation) {
    case OSSL_OP_KDF:
        return kdfs;
    case OSSL_OP_KEYMGMT:
        return key_provider_keymgmts;
    case OSSL_OP_SIGNATURE:
        return key_provider_signatures;
    default:
        return NULL;
    }
}

static int provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **ret, void **ret_ctx) {
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
        {0, NULL},
    };
    (void)in;
    *ret = functions;
    *ret_ctx = (void *)(uintptr_t)handle;
    return 1;
}

bool kdf_provider_load(void) {
    static OSSL_PROVIDER *loaded, *usual; /* both for as long as the process lives */
    if (loaded)
        return true;
    /* naming a provider switches the automatic loading of the default one off */
    if (!usual)
        usual = OSSL_PROVIDER_load(NULL, "default");
    if (!usual || OSSL_PROVIDER_add_builtin(NULL, "tls-off", provider_init) != 1)
        return false;
    /* our KEYMGMTs have the usual names: only an explicit request gets one */
    if (EVP_set_default_properties(NULL, KEY_PROVIDER_AVOIDED) != 1)
        return false;
    loaded = OSSL_PROVIDER_load(NULL, "tls-off");
    return loaded != NULL;
}
