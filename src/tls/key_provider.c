/*
 * The keys' half of the provider: KEYMGMT. A key is immutable after its making and counted; its public half is kept as the
 * bytes that two keys are compared by, so that libssl's comparison with the certificate, once a handshake, is a memcmp.
 */
#include "tls/key_provider.h"

#include <limits.h>
#include <openssl/bn.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/obj_mac.h>
#include <openssl/params.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "tls/kdf_provider.h"
#include "tls/key_provider_internal.h"

#define PARAM_SET "tls-off-set"
#define PARAM_KEY "tls-off-key"

#define ED25519_LEN 32

/* ---- life ---- */

static void *key_new(enum remote_kind kind) {
    struct remote_key *k = calloc(1, sizeof(*k));
    if (k) {
        k->kind = kind;
        k->refs = 1;
    }
    return k;
}

static void *rsa_new(void *provider) {
    (void)provider;
    return key_new(REMOTE_RSA);
}

static void *ec_new(void *provider) {
    (void)provider;
    return key_new(REMOTE_EC);
}

static void *ed25519_new(void *provider) {
    (void)provider;
    return key_new(REMOTE_ED25519);
}

static void key_free(void *key) {
    struct remote_key *k = key;
    if (!k || --k->refs)
        return;
    free(k->point);
    free(k);
}

static void *key_dup(const void *from, int selection) {
    (void)selection; /* it has one half only */
    union {
        const void *in;
        struct remote_key *out;
    } u = {from};
    u.out->refs++;
    return u.out;
}

static int key_has(const void *key, int selection) {
    const struct remote_key *k = key;
    return k && (selection == 0 || k->point_len > 0);
}

static int key_match(const void *one, const void *other, int selection) {
    const struct remote_key *a = one, *b = other;
    (void)selection; /* domain parameters without a point are never kept here */
    return a->kind == b->kind && a->bits == b->bits && a->e == b->e && a->point_len == b->point_len && a->point_len > 0 &&
           memcmp(a->point, b->point, a->point_len) == 0;
}

/* ---- taking the public half over from parameters ---- */

static bool take_point(struct remote_key *k, const uint8_t *p, size_t len) {
    uint8_t *copy = malloc(MAX(len, (size_t)1));
    if (!copy)
        return false;
    memcpy(copy, p, len);
    free(k->point);
    k->point = copy;
    k->point_len = len;
    return true;
}

static bool import_rsa(struct remote_key *k, const OSSL_PARAM params[]) {
    const OSSL_PARAM *n = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_RSA_N);
    const OSSL_PARAM *e = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_RSA_E);
    BIGNUM *bn = NULL;
    bool ok = false;
    if (!n || !e || !OSSL_PARAM_get_uint64(e, &k->e) || !OSSL_PARAM_get_BN(n, &bn))
        goto out;
    uint8_t bytes[KEY_SIGNATURE_MAX];
    int len = BN_num_bytes(bn);
    if (len <= 0 || (size_t)len > sizeof(bytes) || BN_bn2nativepad(bn, bytes, len) != len)
        goto out;
    k->bits = BN_num_bits(bn);
    k->signature_len = (size_t)len;
    ok = take_point(k, bytes, (size_t)len);
out:
    BN_free(bn);
    return ok;
}

/* Curves by the names libcrypto has for them. */
static bool take_curve(struct remote_key *k, const char *name) {
    if (OPENSSL_strcasecmp(name, SN_X9_62_prime256v1) == 0 || OPENSSL_strcasecmp(name, "P-256") == 0) {
        k->bits = 256;
        k->group = SN_X9_62_prime256v1;
    } else if (OPENSSL_strcasecmp(name, SN_secp384r1) == 0 || OPENSSL_strcasecmp(name, "P-384") == 0) {
        k->bits = 384;
        k->group = SN_secp384r1;
    } else {
        return false;
    }
    /* SEQUENCE of two INTEGERs of up to one byte more than the curve's (RFC 3279 2.2.3) */
    k->signature_len = (size_t)2 * ((size_t)k->bits / 8 + 3) + 2;
    return true;
}

/* A certificate may hold its point compressed or hybrid (RFC 5480 2.2): keys are compared by the plain form. */
static bool take_ec_point(struct remote_key *k, const uint8_t *p, size_t len) {
    size_t whole = 1 + (size_t)2 * (size_t)k->bits / 8;
    if (len == whole && p[0] == POINT_CONVERSION_UNCOMPRESSED)
        return take_point(k, p, len);
    uint8_t plain[1 + 2 * 48];
    EC_GROUP *group = EC_GROUP_new_by_curve_name(k->bits == 384 ? NID_secp384r1 : NID_X9_62_prime256v1);
    EC_POINT *point = group ? EC_POINT_new(group) : NULL;
    bool ok = point && EC_POINT_oct2point(group, point, p, len, NULL) == 1 &&
              EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, plain, sizeof(plain), NULL) == whole &&
              take_point(k, plain, whole);
    EC_POINT_free(point);
    EC_GROUP_free(group);
    return ok;
}

static bool import_ec(struct remote_key *k, const OSSL_PARAM params[]) {
    const OSSL_PARAM *group = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_GROUP_NAME);
    const OSSL_PARAM *point = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_PUB_KEY);
    if (!group || group->data_type != OSSL_PARAM_UTF8_STRING || !take_curve(k, group->data))
        return false;
    if (!point) /* parameters alone */
        return true;
    return point->data_type == OSSL_PARAM_OCTET_STRING && take_ec_point(k, point->data, point->data_size);
}

static bool import_ed25519(struct remote_key *k, const OSSL_PARAM params[]) {
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_PUB_KEY);
    k->bits = 256; /* as OpenSSL's own report */
    k->signature_len = 64;
    return p && p->data_type == OSSL_PARAM_OCTET_STRING && p->data_size == ED25519_LEN && take_point(k, p->data, p->data_size);
}

static int key_import(void *key, int selection, const OSSL_PARAM params[]) {
    struct remote_key *k = key;
    const OSSL_PARAM *set = OSSL_PARAM_locate_const(params, PARAM_SET), *number = OSSL_PARAM_locate_const(params, PARAM_KEY);
    (void)selection; /* a private half is ignored */
    if ((set && !OSSL_PARAM_get_uint32(set, &k->name.set)) || (number && !OSSL_PARAM_get_uint32(number, &k->name.key)))
        return 0;
    k->remote = set && number;
    switch (k->kind) {
    case REMOTE_RSA:
        return import_rsa(k, params);
    case REMOTE_EC:
        return import_ec(k, params);
    default:
        return import_ed25519(k, params);
    }
}

static const OSSL_PARAM *import_types(int selection) {
    static const OSSL_PARAM known[] = {
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_uint32(PARAM_SET, NULL),
        OSSL_PARAM_uint32(PARAM_KEY, NULL),
        OSSL_PARAM_END,
    };
    (void)selection;
    return known;
}

/* ---- public parameters ---- */

/* Security strengths of NIST SP 800-57 part 1, as libcrypto's own keys report them. */
static int security_bits(const struct remote_key *k) {
    if (k->kind == REMOTE_RSA)
        return BN_security_bits(k->bits, -1);
    return k->kind == REMOTE_EC ? k->bits / 2 : 128;
}

static int set_int_param(OSSL_PARAM params[], const char *name, int value) {
    OSSL_PARAM *p = OSSL_PARAM_locate(params, name);
    return !p || OSSL_PARAM_set_int(p, value);
}

static int set_text_param(OSSL_PARAM params[], const char *name, const char *value) {
    OSSL_PARAM *p = OSSL_PARAM_locate(params, name);
    return !p || OSSL_PARAM_set_utf8_string(p, value);
}

static int key_get(void *key, OSSL_PARAM params[]) {
    const struct remote_key *k = key;
    if (!set_int_param(params, OSSL_PKEY_PARAM_BITS, k->bits) ||
        !set_int_param(params, OSSL_PKEY_PARAM_SECURITY_BITS, security_bits(k)) ||
        !set_int_param(params, OSSL_PKEY_PARAM_MAX_SIZE, (int)k->signature_len))
        return 0;
    if (k->kind == REMOTE_ED25519)
        return set_text_param(params, OSSL_PKEY_PARAM_MANDATORY_DIGEST, "");
    if (k->kind == REMOTE_EC && k->group && !set_text_param(params, OSSL_PKEY_PARAM_GROUP_NAME, k->group))
        return 0;
    return set_text_param(params, OSSL_PKEY_PARAM_DEFAULT_DIGEST, "SHA256");
}

static const OSSL_PARAM *key_gettable(void *provider) {
    static const OSSL_PARAM known[] = {
        OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_MANDATORY_DIGEST, NULL, 0),
        OSSL_PARAM_END,
    };
    (void)provider;
    return known;
}

/* OSSL_PARAM has no const form; the receiver only reads. */
static char *unconst_text(const char *s) {
    union {
        const char *in;
        char *out;
    } u = {s};
    return u.out;
}

/* The public half only: a request for a private one gets nothing, and so no copy of the key ends at another provider. */
static int key_export(void *key, int selection, OSSL_CALLBACK *give, void *arg) {
    const struct remote_key *k = key;
    uint64_t e = k->e;
    OSSL_PARAM params[3];
    if (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY || !k->point_len)
        return 0;
    unsigned n = 0;
    if (k->kind == REMOTE_RSA) {
        params[n++] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_N, k->point, k->point_len);
        params[n++] = OSSL_PARAM_construct_uint64(OSSL_PKEY_PARAM_RSA_E, &e);
    } else {
        if (k->kind == REMOTE_EC)
            params[n++] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, unconst_text(k->group), 0);
        params[n++] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, k->point, k->point_len);
    }
    params[n] = OSSL_PARAM_construct_end();
    return give(params, arg);
}

static const char *ec_signature(int operation) {
    return operation == OSSL_OP_SIGNATURE ? KEY_SIGN_EC : NULL;
}

static const char *rsa_signature(int operation) {
    return operation == OSSL_OP_SIGNATURE ? KEY_SIGN_RSA : NULL;
}

static const char *ed25519_signature(int operation) {
    return operation == OSSL_OP_SIGNATURE ? KEY_SIGN_EDDSA : NULL;
}

#define KEYMGMT(name, make, signature)                                                                                         \
    static const OSSL_DISPATCH name[] = {                                                                                      \
        {OSSL_FUNC_KEYMGMT_NEW, (void (*)(void))(make)},                                                                       \
        {OSSL_FUNC_KEYMGMT_FREE, (void (*)(void))key_free},                                                                    \
        {OSSL_FUNC_KEYMGMT_DUP, (void (*)(void))key_dup},                                                                      \
        {OSSL_FUNC_KEYMGMT_HAS, (void (*)(void))key_has},                                                                      \
        {OSSL_FUNC_KEYMGMT_MATCH, (void (*)(void))key_match},                                                                  \
        {OSSL_FUNC_KEYMGMT_IMPORT, (void (*)(void))key_import},                                                                \
        {OSSL_FUNC_KEYMGMT_IMPORT_TYPES, (void (*)(void))import_types},                                                        \
        {OSSL_FUNC_KEYMGMT_EXPORT, (void (*)(void))key_export},                                                                \
        {OSSL_FUNC_KEYMGMT_EXPORT_TYPES, (void (*)(void))import_types},                                                        \
        {OSSL_FUNC_KEYMGMT_GET_PARAMS, (void (*)(void))key_get},                                                               \
        {OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, (void (*)(void))key_gettable},                                                     \
        {OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, (void (*)(void))(signature)},                                                 \
        {0, NULL},                                                                                                             \
    }

KEYMGMT(rsa_keymgmt, rsa_new, rsa_signature);
KEYMGMT(ec_keymgmt, ec_new, ec_signature);
KEYMGMT(ed25519_keymgmt, ed25519_new, ed25519_signature);

/* The default provider's own names, since libssl finds out by them what kind a key is. */
const OSSL_ALGORITHM key_provider_keymgmts[] = {
    {"RSA:rsaEncryption:1.2.840.113549.1.1.1", "provider=tls-off," KEY_PROVIDER_WANTED, rsa_keymgmt, "RSA key elsewhere"},
    {"EC:id-ecPublicKey:1.2.840.10045.2.1", "provider=tls-off," KEY_PROVIDER_WANTED, ec_keymgmt, "EC key elsewhere"},
    {"ED25519:1.3.101.112", "provider=tls-off," KEY_PROVIDER_WANTED, ed25519_keymgmt, "Ed25519 key elsewhere"},
    {NULL, NULL, NULL, NULL},
};

/* ---- making one ---- */

static EVP_PKEY *make_key(const char *type, const OSSL_PARAM public_half[], struct key_name name) {
    OSSL_PARAM numbers[3] = {OSSL_PARAM_construct_uint32(PARAM_SET, &name.set),
                             OSSL_PARAM_construct_uint32(PARAM_KEY, &name.key), OSSL_PARAM_construct_end()};
    OSSL_PARAM *all = OSSL_PARAM_merge(public_half, numbers);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, KEY_PROVIDER_WANTED);
    EVP_PKEY *key = NULL;
    if (all && ctx && EVP_PKEY_fromdata_init(ctx) == 1 && EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, all) != 1)
        key = NULL;
    OSSL_PARAM_free(all);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

EVP_PKEY *key_provider_key(struct span spki, struct key_name name) {
    const uint8_t *p = spki.p;
    EVP_PKEY *key = NULL, *plain = NULL;
    ERR_set_mark();
    if (kdf_provider_load() && spki.len <= LONG_MAX)
        plain = d2i_PUBKEY(NULL, &p, (long)spki.len);
    if (plain && p == spki.p + spki.len)
        key = key_provider_key_like(plain, name);
    EVP_PKEY_free(plain);
    ERR_pop_to_mark();
    return key;
}

EVP_PKEY *key_provider_key_like(const EVP_PKEY *plain, struct key_name name) {
    OSSL_PARAM *public_half = NULL;
    EVP_PKEY *key = NULL;
    ERR_set_mark();
    if (kdf_provider_load() && EVP_PKEY_todata(plain, EVP_PKEY_PUBLIC_KEY, &public_half) == 1)
        key = make_key(EVP_PKEY_get0_type_name(plain), public_half, name);
    OSSL_PARAM_free(public_half);
    ERR_pop_to_mark();
    return key;
}
