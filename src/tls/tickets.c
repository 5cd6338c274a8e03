#include "tls/tickets.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "base/secret.h"
#include "tls/keysched.h"

#define TICKET_NAME_LEN 16
#define TICKET_KEY_LEN  32

/* Lives in locked memory. */
struct tickets {
    uint8_t name[TICKET_NAME_LEN];
    uint8_t aes_key[TICKET_KEY_LEN];
    uint8_t hmac_key[TICKET_KEY_LEN];
};

/* HKDF-Extract (RFC 5869 2.2) without salt: every byte of the secret counts, not only as many as a hash has. */
static bool extract(const uint8_t secret[static TICKETS_SECRET_LEN], uint8_t ret[static HASH_LEN_MAX]) {
    static const uint8_t salt[32];
    size_t len = 0;
    return EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, salt, sizeof(salt), secret, TICKETS_SECRET_LEN, ret, HASH_LEN_MAX,
                     &len) != NULL &&
           len == hash_len(HASH_SHA256);
}

struct tickets *tickets_new(const uint8_t secret[static TICKETS_SECRET_LEN]) {
    struct tickets *t = secret_alloc(sizeof(*t), NULL);
    if (!t)
        return NULL;
    struct span none = {NULL, 0};
    uint8_t prk[HASH_LEN_MAX];
    bool ok = extract(secret, prk) &&
              keysched_expand_label(HASH_SHA256, prk, "ticket name", none, t->name, sizeof(t->name)) == 0 &&
              keysched_expand_label(HASH_SHA256, prk, "ticket aes", none, t->aes_key, sizeof(t->aes_key)) == 0 &&
              keysched_expand_label(HASH_SHA256, prk, "ticket hmac", none, t->hmac_key, sizeof(t->hmac_key)) == 0;
    secret_wipe(prk, sizeof(prk));
    if (ok)
        return t;
    tickets_free(t);
    return NULL;
}

void tickets_free(struct tickets *t) {
    secret_free(t, sizeof(*t));
}

static int mac_begin(const struct tickets *t, EVP_MAC_CTX *mac) {
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_init(mac, t->hmac_key, sizeof(t->hmac_key), params);
}

/* libssl's contract: -1 failed, 0 ticket not ours (a full handshake follows), 1 ready, 2 ready and a new ticket is due. */
static int ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal) {
    const struct tickets *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    if (seal) {
        memcpy(name, t->name, TICKET_NAME_LEN);
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1)
            return -1;
    } else if (memcmp(name, t->name, TICKET_NAME_LEN) != 0) {
        return 0;
    }
    if (EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, t->aes_key, iv, seal) != 1 || mac_begin(t, mac) != 1)
        return -1;
    return 1;
}

int tickets_attach(struct tickets *t, SSL_CTX *ctx) {
    if (SSL_CTX_set_app_data(ctx, t) != 1 || SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key) != 1)
        return ERR_CRYPTO;
    SSL_CTX_set_timeout(ctx, TICKETS_LIFETIME_S);
    return 0;
}
