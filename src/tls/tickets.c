#include "tls/tickets.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/rand.h"
#include "base/secret.h"
#include "base/wr.h"
#include "tls/engine.h"
#include "tls/keysched.h"
#include "tls/sha2.h"

#define TICKET_KEY_LEN   32
#define TICKETS_SALT_LEN 32
#define TICKETS_HEAD_LEN (TICKETS_NAME_LEN + TICKETS_SALT_LEN)
#define HOUR_US          (3600ull * 1000 * 1000)

/* The keys of one hour. The name is all that a ticket shows of them. */
struct hour_keys {
    uint8_t name[TICKETS_NAME_LEN];
    uint8_t aes_key[TICKET_KEY_LEN];
    uint8_t hmac_key[TICKET_KEY_LEN];
    uint8_t own_name[TICKETS_NAME_LEN]; /* of our own handshake's */
    uint8_t own_key[TICKET_KEY_LEN];    /* HASH_SHA256 */
};

enum { BEFORE, NOW, NEXT, HOURS };

struct secret_keys {
    uint8_t prk[HASH_LEN_MAX]; /* HKDF-Extract of the secret */
    struct hour_keys hours[HOURS];
};

/* Lives in locked memory. */
struct tickets {
    struct secret_keys secrets[TICKETS_SECRETS];
    size_t n;
    bool derived;
    uint64_t hour; /* since 1970, of hours[NOW], once derived */
};

/* HKDF-Expand-Label with the hour as its context. */
static bool derive_hour_keys(const uint8_t *prk, uint64_t hour, struct hour_keys *ret) {
    uint8_t number[8];
    struct wr w = wr_of(number, sizeof(number));
    wr_u64(&w, hour);
    struct span context = wr_written(&w);
    return keysched_expand_label(HASH_SHA256, prk, "ticket name", context, ret->name, sizeof(ret->name)) == 0 &&
           keysched_expand_label(HASH_SHA256, prk, "ticket aes", context, ret->aes_key, sizeof(ret->aes_key)) == 0 &&
           keysched_expand_label(HASH_SHA256, prk, "ticket hmac", context, ret->hmac_key, sizeof(ret->hmac_key)) == 0 &&
           keysched_expand_label(HASH_SHA256, prk, "own ticket name", context, ret->own_name, sizeof(ret->own_name)) == 0 &&
           keysched_expand_label(HASH_SHA256, prk, "own ticket key", context, ret->own_key, sizeof(ret->own_key)) == 0;
}

/* Derives the keys around the present hour, once an hour. False when the library failed; the next ticket tries again. */
static bool follow_clock(struct tickets *t) {
    uint64_t hour = clock_wall_us() / HOUR_US;
    if (t->derived && hour == t->hour)
        return true;
    t->derived = false;
    for (size_t s = 0; s < t->n; s++)
        for (unsigned i = 0; i < HOURS; i++)
            if (!derive_hour_keys(t->secrets[s].prk, hour + i - NOW, &t->secrets[s].hours[i]))
                return false;
    t->hour = hour;
    t->derived = true;
    return true;
}

static bool lengths_are_right(const struct span *secrets, size_t n) {
    if (n == 0 || n > TICKETS_SECRETS)
        return false;
    for (size_t i = 0; i < n; i++)
        if (secrets[i].len < TICKETS_SECRET_MIN || secrets[i].len > TICKETS_SECRET_MAX)
            return false;
    return true;
}

struct tickets *tickets_new(const struct span *secrets, size_t n) {
    static const uint8_t salt[32]; /* HKDF-Extract (RFC 5869 2.2): every byte of the secret counts, however many there are */
    struct tickets *t = lengths_are_right(secrets, n) ? secret_alloc(sizeof(*t), NULL) : NULL;
    if (!t)
        return NULL;
    for (t->n = 0; t->n < n; t->n++)
        sha2_hmac(HASH_SHA256, span_of(salt, sizeof(salt)), &secrets[t->n], 1, t->secrets[t->n].prk);
    if (follow_clock(t))
        return t;
    tickets_free(t);
    return NULL;
}

bool tickets_use(struct tickets *t, const struct span *secrets, size_t n) {
    struct tickets *next = tickets_new(secrets, n);
    if (!next)
        return false;
    *t = *next;
    tickets_free(next);
    return true;
}

void tickets_free(struct tickets *t) {
    secret_free(t, sizeof(*t));
}

bool tickets_may_renew(int64_t full_s, int64_t now_s) {
    int64_t age_s = now_s - full_s;
    return age_s >= -TICKETS_CLOCK_SKEW_S && age_s < TICKETS_RENEWED_MAX_S;
}

/* ---- as bytes ---- */

static struct engine_contexts aead = {.engine = &engine_libcrypto}; /* for the life of the process */

void tickets_forget(void) {
    engine_contexts_forget(&aead);
}

/* A working context with the key of the one ticket that has this SALT; NULL when the library failed. */
static void *load_ticket_key(const struct hour_keys *k, const uint8_t *salt, bool seal) {
    uint8_t key[AEAD_KEY_MAX];
    struct span context = span_of(salt, TICKETS_SALT_LEN);
    void *ctx = NULL;
    if (keysched_expand_label(HASH_SHA256, k->own_key, "one ticket", context, key, sizeof(key)) == 0)
        ctx = engine_contexts_load(&aead, AEAD_AES_256_GCM, seal, key);
    secret_wipe(key, sizeof(key));
    return ctx;
}

static const uint8_t only_nonce[AEAD_NONCE_LEN]; /* a key seals one ticket */

int tickets_seal(struct tickets *t, uint8_t *ticket, size_t len) {
    if (!follow_clock(t))
        return ERR_CRYPTO;
    const struct hour_keys *k = &t->secrets[0].hours[NOW];
    uint8_t *salt = ticket + TICKETS_NAME_LEN, *data = ticket + TICKETS_HEAD_LEN;
    memcpy(ticket, k->own_name, TICKETS_NAME_LEN);
    rand_bytes(salt, TICKETS_SALT_LEN);
    void *ctx = load_ticket_key(k, salt, true);
    return ctx ? engine_libcrypto.seal(ctx, only_nonce, span_of(ticket, TICKETS_HEAD_LEN), data, len, data + len) : ERR_CRYPTO;
}

int tickets_open(struct tickets *t, struct span ticket, uint8_t *to, size_t cap, size_t *ret_len) {
    const struct hour_keys *k = NULL;
    if (ticket.len < TICKETS_SEALED_MORE || ticket.len - TICKETS_SEALED_MORE > cap)
        return ERR_NOT_FOUND;
    if (!follow_clock(t))
        return ERR_CRYPTO;
    for (unsigned i = 0; i < t->n * HOURS && !k; i++) {
        const struct hour_keys *of = &t->secrets[i / HOURS].hours[i % HOURS];
        k = memcmp(of->own_name, ticket.p, TICKETS_NAME_LEN) == 0 ? of : NULL;
    }
    if (!k)
        return ERR_NOT_FOUND;
    size_t len = ticket.len - TICKETS_SEALED_MORE;
    void *ctx = load_ticket_key(k, ticket.p + TICKETS_NAME_LEN, false);
    memcpy(to, ticket.p + TICKETS_HEAD_LEN, len);
    int err = ctx ? engine_libcrypto.open(ctx, only_nonce, span_of(ticket.p, TICKETS_HEAD_LEN), to, len,
                                          ticket.p + TICKETS_HEAD_LEN + len)
                  : ERR_CRYPTO;
    if (err == 0)
        *ret_len = len;
    return err == ERR_BAD_MAC ? ERR_NOT_FOUND : err;
}

/* ---- in libssl's container ---- */

static int mac_begin(const struct hour_keys *k, EVP_MAC_CTX *mac) {
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_init(mac, k->hmac_key, sizeof(k->hmac_key), params);
}

static const struct hour_keys *keys_named(const struct tickets *t, const uint8_t name[static TICKETS_NAME_LEN]) {
    for (unsigned i = 0; i < t->n * HOURS; i++)
        if (memcmp(t->secrets[i / HOURS].hours[i % HOURS].name, name, TICKETS_NAME_LEN) == 0)
            return &t->secrets[i / HOURS].hours[i % HOURS];
    return NULL;
}

enum tickets_key tickets_container(struct tickets *t, uint8_t name[static TICKETS_NAME_LEN], uint8_t *iv,
                                   EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, bool seal) {
    if (!follow_clock(t))
        return TICKETS_KEY_FAILED;
    const struct hour_keys *present = &t->secrets[0].hours[NOW], *k = seal ? present : keys_named(t, name);
    if (!k)
        return TICKETS_KEY_NONE;
    if (seal) {
        memcpy(name, k->name, TICKETS_NAME_LEN);
        rand_bytes(iv, (size_t)EVP_CIPHER_get_iv_length(EVP_aes_256_cbc()));
    }
    if (EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->aes_key, iv, seal) != 1 || mac_begin(k, mac) != 1)
        return TICKETS_KEY_FAILED;
    return k == present ? TICKETS_KEY_PRESENT : TICKETS_KEY_OTHER;
}
