/*
 * What can be kept for the life of the process is kept: a context that makes keys, and a key object that takes a client's
 * public half. The private half lives for one call, in libcrypto's heap, which wipes it. (Not in libcrypto's secure heap: that
 * one is of a fixed size for the whole process, so clients of libssl's TLS 1.2 handshakes that stop half-way could use it up
 * for all.)
 */
#include "tls/hs13_group.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "base/err.h"
#include "base/secret.h"
#include "tls/libcrypto.h"

#define POINT_UNCOMPRESSED 4

struct group_kind {
    uint16_t id;
    uint16_t peer_len, own_len, secret_len;
    bool kem;          /* the client sends a key, we answer with what is encapsulated for it */
    const char *type;  /* libcrypto's names */
    const char *curve; /* NULL = the type says all */
};

static const struct group_kind kinds[] = {
    {0x001d, 32, 32, 32, false, "X25519", NULL},
    {0x0017, 65, 65, 32, false, "EC", "P-256"},
    {0x0018, 97, 97, 48, false, "EC", "P-384"},
    {0x0019, 133, 133, 66, false, "EC", "P-521"},
    {0x11ec, 1216, 1120, 64, true, "X25519MLKEM768", NULL},
};

static struct kept {
    bool tried;          /* to make MAKER */
    EVP_PKEY_CTX *maker; /* NULL: libcrypto has no such group */
    EVP_PKEY *peer;
} kept[ARRAY_LEN(kinds)];

static const struct group_kind *group_kind_of(uint16_t group) {
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (kinds[i].id == group)
            return &kinds[i];
    return NULL;
}

static EVP_PKEY_CTX *new_maker(const struct group_kind *k) {
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, k->type, NULL);
    if (ctx && EVP_PKEY_keygen_init(ctx) == 1 && (!k->curve || EVP_PKEY_CTX_set_group_name(ctx, k->curve) == 1))
        return ctx;
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return NULL;
}

static struct kept *kept_of(const struct group_kind *k) {
    struct kept *t = &kept[k - kinds];
    if (!t->tried)
        t->maker = new_maker(k);
    t->tried = true;
    return t;
}

bool hs13_group_there(uint16_t group) {
    const struct group_kind *k = group_kind_of(group);
    return k && kept_of(k)->maker;
}

/* A public half alone; the curve's name is ignored where the type says all. */
static EVP_PKEY *new_peer(const struct group_kind *k, struct span share) {
    EVP_PKEY *peer = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, k->type, NULL);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)share.p, share.len),
        k->curve ? OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)(uintptr_t)k->curve, 0)
                 : OSSL_PARAM_construct_end(),
        OSSL_PARAM_construct_end(),
    };
    if (ctx && EVP_PKEY_fromdata_init(ctx) == 1)
        (void)EVP_PKEY_fromdata(ctx, &peer, EVP_PKEY_PUBLIC_KEY, params); /* leaves NULL when it fails */
    EVP_PKEY_CTX_free(ctx);
    return peer;
}

/*
 * The kept object with the client's point in it: libcrypto looks whether it is on the curve (RFC 8446 4.2.8.2), so that it need
 * not be checked again where the cofactor is 1.
 */
static EVP_PKEY *peer_of(struct kept *t, const struct group_kind *k, struct span share) {
    if (share.len != k->peer_len || (k->curve && share.p[0] != POINT_UNCOMPRESSED))
        return NULL;
    if (!t->peer)
        return t->peer = new_peer(k, share);
    if (EVP_PKEY_set1_encoded_public_key(t->peer, share.p, share.len) == 1)
        return t->peer;
    EVP_PKEY_free(t->peer); /* half-set, maybe */
    t->peer = NULL;
    return NULL;
}

static bool read_own(const struct group_kind *k, const EVP_PKEY *own, struct hs13_share *ret) {
    size_t len = 0;
    ret->len = k->own_len;
    return EVP_PKEY_get_octet_string_param(own, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, ret->public, sizeof(ret->public), &len) ==
               1 &&
           len == k->own_len;
}

/* Diffie-Hellman: leading zeros of the secret stay (RFC 8446 7.4); X25519 refuses a secret of zeros (RFC 7748 6.1). */
static int agree(struct kept *t, const struct group_kind *k, EVP_PKEY *peer, struct hs13_share *ret) {
    EVP_PKEY *own = NULL;
    EVP_PKEY_CTX *ctx = NULL;
    size_t len = k->secret_len;
    int err = ERR_CRYPTO;
    if (EVP_PKEY_generate(t->maker, &own) == 1 && read_own(k, own, ret))
        ctx = EVP_PKEY_CTX_new_from_pkey(NULL, own, NULL);
    if (ctx && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer_ex(ctx, peer, 0) == 1)
        err = EVP_PKEY_derive(ctx, ret->secret, &len) == 1 && len == k->secret_len ? 0 : ERR_KEY_SHARE;
    ret->secret_len = k->secret_len;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(own);
    return err;
}

/* Parts of a hybrid follow one another in share and secret as libcrypto has them: ML-KEM first. */
static int encapsulate(const struct group_kind *k, struct span share, struct hs13_share *ret) {
    size_t len = sizeof(ret->public), secret_len = sizeof(ret->secret);
    EVP_PKEY *peer = EVP_PKEY_new_raw_public_key_ex(NULL, k->type, NULL, share.p, share.len);
    EVP_PKEY_CTX *ctx = peer ? EVP_PKEY_CTX_new_from_pkey(NULL, peer, NULL) : NULL;
    int err = ERR_KEY_SHARE;
    if (ctx && EVP_PKEY_encapsulate_init(ctx, NULL) == 1 &&
        EVP_PKEY_encapsulate(ctx, ret->public, &len, ret->secret, &secret_len) == 1 && len == k->own_len &&
        secret_len == k->secret_len)
        err = 0;
    ret->len = k->own_len;
    ret->secret_len = k->secret_len;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    return err;
}

int hs13_exchange(uint16_t group, struct span share, struct hs13_share *ret) {
    const struct group_kind *k = group_kind_of(group);
    int err = ERR_KEY_SHARE;
    if (!k || !kept_of(k)->maker)
        return ERR_CRYPTO;
    if (k->kem) {
        if (share.len == k->peer_len)
            err = encapsulate(k, share, ret);
    } else {
        EVP_PKEY *peer = peer_of(kept_of(k), k, share);
        if (peer)
            err = agree(kept_of(k), k, peer, ret);
    }
    if (err < 0)
        secret_wipe(ret, sizeof(*ret));
    return libcrypto_reason(err);
}

/* ---- self-test: libcrypto as the client ---- */

static bool client_agrees(struct kept *t, const struct group_kind *k, EVP_PKEY *own, const struct hs13_share *ours) {
    uint8_t secret[HS13_SECRET_MAX];
    size_t len = k->secret_len;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, own, NULL);
    bool good = ctx != NULL;
    if (k->kem) {
        good = good && EVP_PKEY_decapsulate_init(ctx, NULL) == 1 &&
               EVP_PKEY_decapsulate(ctx, secret, &len, ours->public, ours->len) == 1;
    } else {
        EVP_PKEY *peer = peer_of(t, k, span_of(ours->public, ours->len));
        good = good && peer && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, peer) == 1 &&
               EVP_PKEY_derive(ctx, secret, &len) == 1;
    }
    good = good && len == ours->secret_len && secret_eq(secret, ours->secret, len);
    EVP_PKEY_CTX_free(ctx);
    secret_wipe(secret, sizeof(secret));
    return good;
}

bool hs13_groups_selftest(void) {
    bool good = true;
    for (size_t i = 0; i < ARRAY_LEN(kinds) && good; i++) {
        struct kept *t = kept_of(&kinds[i]);
        uint8_t share[1216];
        struct hs13_share ours;
        size_t len = 0;
        EVP_PKEY *own = NULL;
        if (!t->maker)
            continue;
        good = EVP_PKEY_generate(t->maker, &own) == 1 &&
               EVP_PKEY_get_octet_string_param(own, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, share, sizeof(share), &len) == 1 &&
               hs13_exchange(kinds[i].id, span_of(share, len), &ours) == 0 && client_agrees(t, &kinds[i], own, &ours);
        EVP_PKEY_free(own);
        secret_wipe(&ours, sizeof(ours));
    }
    ERR_clear_error();
    return good;
}
