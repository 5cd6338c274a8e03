#include "signer/keyring.h"
#include "creds/sign_rule.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tls/secure_heap.h"
#include "tls/sha2.h"
#include "wire/control_creds.h"

struct keyset {
    bool used;
    uint32_t set;
    uint32_t n, taken;
    struct key_parts *keys;
};

/* A key open as libcrypto's object, ready for one scheme. */
struct open_key {
    EVP_PKEY *key; /* NULL = unused */
    EVP_PKEY_CTX *ctx;
    uint32_t set, index;
    uint16_t scheme; /* of CTX; 0 = none yet */
};

struct keyring {
    struct keyset present, previous, next;
    struct creds store; /* of the next set */
    EVP_MD *md[3];      /* SHA-256, 384, 512 */
    EVP_MD_CTX *whole;  /* Ed25519 signs whole messages */
    struct open_key open[KEYRING_OPEN];
};

struct keyring *keyring_new(void) {
    static const char *const names[] = {"SHA256", "SHA384", "SHA512"};
    struct keyring *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->whole = EVP_MD_CTX_new();
    bool ok = r->whole != NULL;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        r->md[i] = EVP_MD_fetch(NULL, names[i], NULL);
        ok = ok && r->md[i];
    }
    if (ok)
        return r;
    keyring_free(r);
    return NULL;
}

static void close_key(struct open_key *o) {
    EVP_PKEY_CTX_free(o->ctx);
    EVP_PKEY_free(o->key);
    *o = (struct open_key){.key = NULL};
}

static void keyset_fini(struct keyring *r, struct keyset *s) {
    for (size_t i = 0; i < KEYRING_OPEN && s->used; i++)
        if (r->open[i].key && r->open[i].set == s->set)
            close_key(&r->open[i]);
    for (uint32_t i = 0; i < s->n; i++)
        key_parts_fini(&s->keys[i]);
    free(s->keys);
    *s = (struct keyset){.used = false};
}

void keyring_free(struct keyring *r) {
    if (!r)
        return;
    keyset_fini(r, &r->present);
    keyset_fini(r, &r->previous);
    keyset_fini(r, &r->next);
    for (size_t i = 0; i < ARRAY_LEN(r->md); i++)
        EVP_MD_free(r->md[i]);
    EVP_MD_CTX_free(r->whole);
    free(r);
}

/* ---- sets ---- */

int keyring_begin(struct keyring *r, uint32_t set, const struct creds *store) {
    uint32_t n = creds_keys(store);
    keyring_drop(r);
    if (n > KEYRING_MAX)
        return ERR_LIMIT;
    struct key_parts *keys = calloc(MAX(n, 1u), sizeof(*keys));
    if (!keys)
        return ERR_NOMEM;
    r->store = *store;
    r->next = (struct keyset){.used = true, .set = set, .n = n, .keys = keys};
    return 0;
}

int keyring_take(struct keyring *r, uint32_t index, int fd, int pass_fd, struct text *why) {
    struct keyset *s = &r->next;
    if (!s->used || index >= s->n || s->keys[index].bytes)
        return ERR_NOT_FOUND;
    const struct creds_key wanted = creds_key(&r->store, index);
    int err = key_load(fd, wanted.pass_file ? pass_fd : -1, &wanted, &s->keys[index], why);
    s->taken += err == 0;
    secure_heap_wipe_stack();
    return err;
}

bool keyring_whole(const struct keyring *r) {
    return r->next.used && r->next.taken == r->next.n;
}

void keyring_commit(struct keyring *r) {
    MUST(keyring_whole(r));
    if (r->present.used && control_creds_change(r->present.set) == control_creds_change(r->next.set)) { /* its attempt failed */
        keyset_fini(r, &r->present);
    } else {
        keyset_fini(r, &r->previous);
        r->previous = r->present;
    }
    r->present = r->next;
    r->next = (struct keyset){.used = false};
}

bool keyring_has(const struct keyring *r) {
    return r->present.used;
}

void keyring_drop(struct keyring *r) {
    keyset_fini(r, &r->next);
}

/* ---- signing ---- */

static const struct keyset *keyring_find(const struct keyring *r, uint32_t set) {
    if (r->present.used && r->present.set == set)
        return &r->present;
    return r->previous.used && r->previous.set == set ? &r->previous : NULL;
}

/* The hash of a scheme: 0, 1, 2 = SHA-256, 384, 512. */
static unsigned scheme_hash(uint16_t scheme) {
    return scheme >> 8 == 8 ? scheme - 0x0804u : (scheme >> 8) - 4u;
}

static bool is_pss(uint16_t scheme) {
    return scheme >> 8 == 8;
}

static int open_for(struct keyring *r, struct open_key *o, enum creds_kind kind, uint16_t scheme) {
    EVP_PKEY_CTX_free(o->ctx);
    o->scheme = 0;
    o->ctx = EVP_PKEY_CTX_new_from_pkey(NULL, o->key, NULL);
    if (!o->ctx || EVP_PKEY_sign_init(o->ctx) != 1)
        return ERR_CRYPTO;
    if (kind == CREDS_RSA &&
        EVP_PKEY_CTX_set_rsa_padding(o->ctx, is_pss(scheme) ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING) != 1)
        return ERR_CRYPTO;
    if (EVP_PKEY_CTX_set_signature_md(o->ctx, r->md[scheme_hash(scheme)]) != 1 ||
        (is_pss(scheme) && EVP_PKEY_CTX_set_rsa_pss_saltlen(o->ctx, RSA_PSS_SALTLEN_DIGEST) != 1))
        return ERR_CRYPTO;
    o->scheme = scheme;
    return 0;
}

/* Finds or opens a key; another one that was in its place is closed. NULL when out of memory. */
static struct open_key *open_key(struct keyring *r, const struct key_parts *p, uint32_t set, uint32_t index) {
    struct open_key *o = &r->open[index % KEYRING_OPEN];
    if (o->key && o->set == set && o->index == index)
        return o;
    close_key(o);
    o->key = key_parts_open(p);
    o->set = set;
    o->index = index;
    return o->key ? o : NULL;
}

static int digest_tbs(const struct keyring *r, unsigned hash, struct span tbs, uint8_t to[static EVP_MAX_MD_SIZE],
                      size_t *ret_len) {
    unsigned len = 0;
    if (hash == 2) {
        if (EVP_Digest(tbs.p, tbs.len, to, &len, r->md[2], NULL) != 1)
            return ERR_CRYPTO;
        *ret_len = len;
        return 0;
    }
    union sha2 s;
    unsigned id = hash ? HASH_SHA384 : HASH_SHA256;
    sha2_begin(id, &s);
    sha2_add(id, &s, tbs.p, tbs.len);
    sha2_end(id, &s, to);
    *ret_len = hash_len(id);
    return 0;
}

static int sign_digest(struct keyring *r, struct open_key *o, enum creds_kind kind, const struct sign_request *q, uint8_t *sig,
                       size_t *ret_len) {
    uint8_t hash[EVP_MAX_MD_SIZE];
    size_t hash_len = 0, len = SIGN_SIGNATURE_MAX;
    int err = o->scheme == q->scheme ? 0 : open_for(r, o, kind, q->scheme);
    if (err == 0)
        err = digest_tbs(r, scheme_hash(q->scheme), q->tbs, hash, &hash_len);
    if (err == 0 && EVP_PKEY_sign(o->ctx, sig, &len, hash, hash_len) != 1)
        err = ERR_CRYPTO;
    if (err == 0)
        *ret_len = len;
    return err;
}

static int sign_whole(struct keyring *r, struct open_key *o, const struct sign_request *q, uint8_t *sig, size_t *ret_len) {
    size_t len = SIGN_SIGNATURE_MAX;
    int err = ERR_CRYPTO;
    if (EVP_DigestSignInit_ex(r->whole, NULL, NULL, NULL, NULL, o->key, NULL) == 1 &&
        EVP_DigestSign(r->whole, sig, &len, q->tbs.p, q->tbs.len) == 1)
        err = 0;
    (void)EVP_MD_CTX_reset(r->whole); /* lets go of the key; cannot fail */
    if (err == 0)
        *ret_len = len;
    return err;
}

int keyring_sign(struct keyring *r, const struct sign_request *q, uint8_t sig[static SIGN_SIGNATURE_MAX], size_t *ret_len) {
    const struct keyset *s = keyring_find(r, q->set);
    if (!s)
        return ERR_NOT_FOUND;
    if (q->key >= s->n)
        return ERR_FORMAT;
    const struct key_parts *p = &s->keys[q->key];
    enum sign_shape shape = sign_shape(q->tbs);
    if (shape == SIGN_SHAPE_NONE)
        return ERR_FORMAT;
    if (!sign_scheme_fits(p->kind, q->scheme, shape))
        return ERR_UNSUPPORTED;
    struct open_key *o = open_key(r, p, q->set, q->key);
    if (!o)
        return ERR_NOMEM;
    int err = p->kind == CREDS_ED25519 ? sign_whole(r, o, q, sig, ret_len) : sign_digest(r, o, p->kind, q, sig, ret_len);
    if (err < 0) {
        close_key(o); /* begins again next time */
        ERR_clear_error();
    }
    secure_heap_wipe_stack();
    return err;
}
