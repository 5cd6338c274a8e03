/*
 * Two caches of a few ways a set: one of entries (leaf, chain, key), one of the certificates behind leaves. An
 * object lives as long as there is a reference, so what is dropped here stays good for the handshakes that use it.
 */
#include "tls/certs.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "creds/sign_rule.h"
#include "tls/cert_compress.h"
#include "tls/chain_sigs.h"
#include "tls/hello.h"
#include "tls/sig_scheme.h"
#include "tls/suite.h"

#define WAYS       4
#define CERTS_SETS (CERTS_CACHE_ENTRIES / WAYS)
#define CA_SETS    (CERTS_CACHE_CAS / WAYS)

struct made {
    uint32_t entry;
    uint64_t used; /* by the clock of the cache; 0 = free */
    X509 *leaf;
    STACK_OF(X509) * chain; /* without the leaf */
    EVP_PKEY *key;          /* NULL until the leaf is used */
    struct certs_packed packed[CERT_COMPRESS_WAYS][2];
};

struct made_ca {
    const uint8_t *der; /* equal certificates lie at the same place of the store */
    uint64_t used;
    X509 *x;
};

struct certs {
    struct creds store;
    struct certs_keys keys;
    uint64_t clock;
    struct made made[CERTS_SETS][WAYS];
    struct made_ca cas[CA_SETS][WAYS];
};

/* A response is attached to its leaf. */
struct kept_staple {
    int64_t from, until;
    size_t len;
    uint8_t der[];
};

/* ---- staples ---- */

static bool is_valid_now(int64_t from, int64_t until) {
    int64_t now = (int64_t)time(NULL);
    return now >= from && now < until;
}

static void free_staple(void *parent, void *p, CRYPTO_EX_DATA *ad, int index, long argl, void *argp) {
    free(p);
}

static int staple_index(void) {
    static int index = -1;
    if (index < 0)
        index = X509_get_ex_new_index(0, NULL, NULL, NULL, free_staple);
    return index;
}

/* Without memory for it there is no staple: the certificate is good without. */
static void hang_staple(X509 *leaf, const struct creds_entry *e) {
    if (e->ocsp.len == 0 || e->ocsp.len > INT32_MAX)
        return;
    struct kept_staple *s = malloc(sizeof(*s) + e->ocsp.len);
    if (!s)
        return;
    s->from = e->ocsp_from;
    s->until = e->ocsp_until;
    s->len = e->ocsp.len;
    memcpy(s->der, e->ocsp.p, e->ocsp.len);
    if (X509_set_ex_data(leaf, staple_index(), s) != 1)
        free(s);
}

struct span certs_staple(const X509 *leaf) {
    const struct kept_staple *s = leaf ? X509_get_ex_data(leaf, staple_index()) : NULL;
    return s && is_valid_now(s->from, s->until) ? span_of(s->der, s->len) : span_of(NULL, 0);
}

/* ---- making ---- */

static void made_fini(struct made *m) {
    X509_free(m->leaf);
    sk_X509_pop_free(m->chain, X509_free);
    EVP_PKEY_free(m->key);
    for (int way = 0; way < CERT_COMPRESS_WAYS; way++) {
        free(m->packed[way][false].p);
        free(m->packed[way][true].p);
    }
    memset(m, 0, sizeof(*m));
}

static X509 *parse_cert(struct span der) {
    const uint8_t *p = der.p;
    X509 *x = d2i_X509(NULL, &p, (long)der.len);
    if (x && p == der.p + der.len)
        return x;
    X509_free(x);
    return NULL;
}

/* A reference for the caller. */
static X509 *decoded_ca(struct certs *c, struct span der) {
    struct made_ca *set = c->cas[(uintptr_t)der.p / 16 % CA_SETS], *oldest = set;
    for (struct made_ca *m = set; m < set + WAYS; m++) {
        if (m->used && m->der == der.p) {
            m->used = ++c->clock;
            return X509_up_ref(m->x) == 1 ? m->x : NULL;
        }
        if (m->used < oldest->used)
            oldest = m;
    }
    X509 *x = parse_cert(der);
    if (!x || X509_up_ref(x) != 1) {
        X509_free(x);
        return NULL;
    }
    X509_free(oldest->x);
    *oldest = (struct made_ca){der.p, ++c->clock, x};
    return x;
}

static STACK_OF(X509) * make_chain(struct certs *c, uint32_t entry, uint32_t n) {
    STACK_OF(X509) *chain = sk_X509_new_reserve(NULL, (int)n);
    for (uint32_t i = 1; chain && i < n; i++) {
        X509 *x = decoded_ca(c, creds_cert(&c->store, entry, i).der);
        if (!x || !sk_X509_push(chain, x)) {
            X509_free(x);
            sk_X509_pop_free(chain, X509_free);
            return NULL;
        }
    }
    return chain;
}

static bool make_entry(struct certs *c, uint32_t entry, struct made *m) {
    struct creds_entry e = creds_entry(&c->store, entry);
    made_fini(m);
    m->leaf = parse_cert(creds_cert(&c->store, entry, 0).der);
    m->chain = m->leaf ? make_chain(c, entry, e.nchain) : NULL;
    if (!m->chain) {
        made_fini(m);
        return false;
    }
    hang_staple(m->leaf, &e);
    m->entry = entry;
    return true;
}

/* The entry's objects, valid until the next call. NULL: they are not to be had. */
static struct made *made_of(struct certs *c, uint32_t entry) {
    struct made *set = c->made[entry % CERTS_SETS], *oldest = set;
    for (struct made *m = set; m < set + WAYS; m++) {
        if (m->used && m->entry == entry) {
            m->used = ++c->clock;
            return m;
        }
        if (m->used < oldest->used)
            oldest = m;
    }
    if (!make_entry(c, entry, oldest))
        return NULL;
    oldest->used = ++c->clock;
    return oldest;
}

int certs_open(int fd, const struct certs_keys *keys, struct certs **ret) {
    struct certs *c = calloc(1, sizeof(*c));
    if (!c)
        return ERR_NOMEM;
    int err = creds_map(fd, &c->store);
    if (err) {
        free(c);
        return err;
    }
    c->keys = *keys;
    *ret = c;
    return 0;
}

void certs_free(struct certs *c) {
    if (!c)
        return;
    for (unsigned i = 0; i < CERTS_SETS * WAYS; i++)
        made_fini(&c->made[i / WAYS][i % WAYS]);
    for (unsigned i = 0; i < CA_SETS * WAYS; i++)
        X509_free(c->cas[i / WAYS][i % WAYS].x);
    creds_unmap(&c->store);
    if (c->keys.release)
        c->keys.release(c->keys.ctx);
    free(c);
}

const struct creds *certs_store(const struct certs *c) {
    return &c->store;
}

/* ---- choosing ---- */

enum creds_match certs_lookup(const struct certs *c, uint32_t service, const char *name) {
    uint32_t chosen[CREDS_SLOTS];
    return creds_choose(&c->store, service, name, chosen);
}

int certs_use(struct certs *c, uint32_t service, const char *name, const struct certs_client *client, certs_use_fn use,
              void *ctx) {
    uint32_t chosen[CREDS_SLOTS];
    struct certs_choice one = {.entry = CREDS_NONE};
    if (creds_choose(&c->store, service, name, chosen) == CREDS_NO_MATCH)
        return ERR_CRYPTO;
    bool alone = client && certs_choose(c, service, name, client, &one) == 0;
    for (unsigned s = 0; s < CREDS_SLOTS; s++) {
        if (chosen[s] == CREDS_NONE || (alone && chosen[s] != one.entry))
            continue;
        struct made *m = made_of(c, chosen[s]);
        if (m && !m->key)
            m->key = c->keys.get(c->keys.ctx, &c->store, creds_entry(&c->store, m->entry).key);
        if (!m || !m->key || !use(ctx, m->leaf, m->key, m->chain))
            return ERR_CRYPTO;
    }
    return 0;
}

X509 *certs_entry_leaf(struct certs *c, uint32_t entry) {
    const struct made *m = made_of(c, entry);
    return m ? m->leaf : NULL;
}

struct certs_packed *certs_packed(struct certs *c, uint32_t entry, int way, bool stapled) {
    struct made *m = made_of(c, entry);
    return m ? &m->packed[way][stapled] : NULL;
}

X509 *certs_leaf(struct certs *c, uint32_t service, const char *name) {
    uint32_t chosen[CREDS_SLOTS];
    (void)creds_choose(&c->store, service, name, chosen); /* no match leaves no entry */
    for (unsigned s = 0; s < CREDS_SLOTS; s++) {
        X509 *leaf = chosen[s] == CREDS_NONE ? NULL : certs_entry_leaf(c, chosen[s]);
        if (leaf)
            return leaf;
    }
    return NULL;
}

bool certs_has_sigalg(const struct certs *c, uint32_t service, const char *name, struct span sigalgs, uint16_t version) {
    uint32_t chosen[CREDS_SLOTS];
    (void)creds_choose(&c->store, service, name, chosen); /* no match leaves no entry to ask */
    for (unsigned s = 0; s < CREDS_SLOTS; s++) {
        if (chosen[s] == CREDS_NONE)
            continue;
        enum creds_kind kind = creds_entry(&c->store, chosen[s]).kind;
        for (size_t i = 0; sig_scheme_at(i); i++)
            if (sign_key_fits(kind, sig_scheme_at(i), version <= TLS_1_2) && hello_list_has(sigalgs, sig_scheme_at(i)))
                return true;
    }
    return false;
}

struct certs_client certs_client_of(struct span sigalgs, struct span sigalgs_cert) {
    struct certs_client client = {.chain_sigs = chain_sigs_listed(sigalgs_cert.len ? sigalgs_cert : sigalgs)};
    for (unsigned i = 0; sig_scheme_at(i); i++)
        if (hello_list_has(sigalgs, sig_scheme_at(i)))
            client.schemes |= UINT32_C(1) << i;
    return client;
}

/* How much of an entry's chain a client can verify. */
enum verified { VERIFIES_NOTHING, VERIFIES_LEAF, VERIFIES_CHAIN };

static enum verified verified_by(const struct certs_client *client, const struct creds_entry *e) {
    if (!(e->chain_sigs & ~client->chain_sigs))
        return VERIFIES_CHAIN;
    return e->leaf_sig & ~client->chain_sigs ? VERIFIES_NOTHING : VERIFIES_LEAF;
}

int certs_choose(const struct certs *c, uint32_t service, const char *name, const struct certs_client *client,
                 struct certs_choice *ret) {
    uint32_t chosen[CREDS_SLOTS];
    enum verified best = VERIFIES_NOTHING;
    int err = ERR_NO_SIGALG;
    (void)creds_choose(&c->store, service, name, chosen); /* no match leaves no entry */
    for (unsigned i = 0; sig_scheme_at(i); i++)
        for (unsigned s = 0; s < CREDS_SLOTS; s++) {
            uint16_t scheme = sig_scheme_at(i);
            if (chosen[s] == CREDS_NONE || !(client->schemes & UINT32_C(1) << i))
                continue;
            struct creds_entry e = creds_entry(&c->store, chosen[s]);
            enum verified verified = verified_by(client, &e);
            if (!sign_key_fits(e.kind, scheme, false) || (err == 0 && verified <= best))
                continue;
            bool staple = e.ocsp.len && is_valid_now(e.ocsp_from, e.ocsp_until);
            *ret = (struct certs_choice){chosen[s], e.key, scheme, staple ? e.ocsp : span_of(NULL, 0)};
            best = verified;
            err = 0;
        }
    return err;
}

uint32_t certs_set(const struct certs *c) {
    return c->keys.set;
}

bool certs_signs(const struct certs *c) {
    return c->keys.sign != NULL;
}

int certs_sign(const struct certs *c, uint32_t key, uint16_t scheme, struct span tbs, uint8_t *sig, size_t cap,
               size_t *ret_len) {
    return c->keys.sign ? c->keys.sign(c->keys.ctx, &c->store, key, scheme, tbs, sig, cap, ret_len) : ERR_SIGNER_TIMEOUT;
}
