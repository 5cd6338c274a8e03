/*
 * Key exchanges and signatures at no price, for fuzzers that run millions of handshakes: client and server have one key a
 * group, so that their secret is known, and signatures are zeros, which no client here looks at. libssl gets the same, since
 * what it calls in libcrypto is found here first. Keys of others (shares that the fuzzer has made up) go the usual way: whether
 * they are points of the curve is decided by libcrypto.
 */
#pragma once

#include <dlfcn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/defs.h"
#include "base/err.h"
#include "tls/hs13_group.h"

enum fixed_end { FIXED_CLIENT, FIXED_SERVER, FIXED_ENDS };

static struct fixed_pair {
    uint16_t group;
    const char *type, *curve;
    EVP_PKEY *keys[FIXED_ENDS];
    struct hs13_share share[FIXED_ENDS]; /* each end's, with the secret of both */
} fixed_pairs[] = {
    {.group = 0x001d, .type = "X25519", .curve = NULL},
    {.group = 0x0017, .type = "EC", .curve = "P-256"},
    {.group = 0x0018, .type = "EC", .curve = "P-384"},
    {.group = 0x0019, .type = "EC", .curve = "P-521"},
};

static bool fixed_ready; /* until then everything is real */

static inline struct fixed_pair *fixed_of(uint16_t group) {
    for (size_t i = 0; i < ARRAY_LEN(fixed_pairs); i++)
        if (fixed_pairs[i].group == group)
            return &fixed_pairs[i];
    return NULL;
}

/* The function of libcrypto that the one of the same name here hides. */
#define FIXED_REAL(name) ((__typeof__(&(name)))(uintptr_t)dlsym(RTLD_NEXT, #name))

/* As libcrypto says it, but for its note that they are of different kinds. */
static inline bool fixed_same(int (*eq)(const EVP_PKEY *, const EVP_PKEY *), const EVP_PKEY *a, const EVP_PKEY *b) {
    ERR_set_mark();
    bool same = eq(a, b) == 1;
    ERR_pop_to_mark();
    return same;
}

/* Whether CTX is about a pair's keys, one of them private. */
static inline const struct fixed_pair *fixed_pair_of(EVP_PKEY_CTX *ctx, const EVP_PKEY *peer) {
    const EVP_PKEY *own = EVP_PKEY_CTX_get0_pkey(ctx);
    for (size_t i = 0; fixed_ready && peer && i < ARRAY_LEN(fixed_pairs); i++) {
        struct fixed_pair *p = &fixed_pairs[i];
        for (int end = 0; end < FIXED_ENDS; end++)
            if (own == p->keys[end] && fixed_same(EVP_PKEY_eq, peer, p->keys[1 - end]))
                return p;
    }
    return NULL;
}

int EVP_PKEY_derive_set_peer(EVP_PKEY_CTX *ctx, EVP_PKEY *peer) {
    static __typeof__(&EVP_PKEY_derive_set_peer) real;
    if (!real)
        real = FIXED_REAL(EVP_PKEY_derive_set_peer);
    return fixed_pair_of(ctx, peer) ? EVP_PKEY_derive_set_peer_ex(ctx, peer, 0) : real(ctx, peer);
}

int EVP_PKEY_derive(EVP_PKEY_CTX *ctx, unsigned char *key, size_t *len) {
    static __typeof__(&EVP_PKEY_derive) real;
    if (!real)
        real = FIXED_REAL(EVP_PKEY_derive);
    const struct fixed_pair *p = fixed_ready ? fixed_pair_of(ctx, EVP_PKEY_CTX_get0_peerkey(ctx)) : NULL;
    if (!p)
        return real(ctx, key, len);
    *len = p->share[FIXED_SERVER].secret_len;
    if (key)
        memcpy(key, p->share[FIXED_SERVER].secret, *len);
    return 1;
}

int EVP_PKEY_keygen(EVP_PKEY_CTX *ctx, EVP_PKEY **ret) {
    static __typeof__(&EVP_PKEY_keygen) real;
    if (!real)
        real = FIXED_REAL(EVP_PKEY_keygen);
    const EVP_PKEY *like = EVP_PKEY_CTX_get0_pkey(ctx); /* libssl makes keys after the client's */
    for (size_t i = 0; fixed_ready && like && i < ARRAY_LEN(fixed_pairs); i++) {
        EVP_PKEY *own = fixed_pairs[i].keys[FIXED_SERVER];
        if (EVP_PKEY_is_a(like, fixed_pairs[i].type) && fixed_same(EVP_PKEY_parameters_eq, like, own) &&
            EVP_PKEY_up_ref(own) == 1) {
            *ret = own;
            return 1;
        }
    }
    return real(ctx, ret);
}

int EVP_DigestSign(EVP_MD_CTX *ctx, unsigned char *sig, size_t *len, const unsigned char *tbs, size_t tbs_len) {
    static __typeof__(&EVP_DigestSign) real;
    if (!real)
        real = FIXED_REAL(EVP_DigestSign);
    if (!fixed_ready)
        return real(ctx, sig, len, tbs, tbs_len);
    *len = (size_t)EVP_PKEY_get_size(EVP_PKEY_CTX_get0_pkey(EVP_MD_CTX_get_pkey_ctx(ctx)));
    if (sig)
        memset(sig, 0, *len);
    return 1;
}

/* An hs13_env.exchange. */
static inline int fixed_exchange(uint16_t group, struct span peer, struct hs13_share *ret) {
    const struct fixed_pair *p = fixed_of(group);
    const struct hs13_share *client = p ? &p->share[FIXED_CLIENT] : NULL;
    if (!client || !span_eq(peer, span_of(client->public, client->len)))
        return hs13_exchange(group, peer, ret);
    *ret = p->share[FIXED_SERVER];
    return 0;
}

static inline void fixed_pair_make(struct fixed_pair *p) {
    for (int end = 0; end < FIXED_ENDS; end++) {
        struct hs13_share *s = &p->share[end];
        size_t len = 0;
        p->keys[end] = p->curve ? EVP_EC_gen(p->curve) : EVP_PKEY_Q_keygen(NULL, NULL, p->type);
        MUST(p->keys[end] && EVP_PKEY_get_octet_string_param(p->keys[end], OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, s->public,
                                                             sizeof(s->public), &len) == 1);
        s->len = (uint16_t)len;
    }
    for (int end = 0; end < FIXED_ENDS; end++) {
        struct hs13_share *s = &p->share[end];
        size_t len = sizeof(s->secret);
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(p->keys[end], NULL);
        MUST(ctx && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, p->keys[1 - end]) == 1 &&
             EVP_PKEY_derive(ctx, s->secret, &len) == 1);
        s->secret_len = (uint16_t)len;
        EVP_PKEY_CTX_free(ctx);
    }
    MUST(memcmp(p->share[0].secret, p->share[1].secret, sizeof(p->share[0].secret)) == 0);
}

static inline void fixed_begin(void) {
    for (size_t i = 0; i < ARRAY_LEN(fixed_pairs); i++)
        fixed_pair_make(&fixed_pairs[i]);
    fixed_ready = true;
}
