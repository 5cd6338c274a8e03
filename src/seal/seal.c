#include "seal/seal.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "base/err.h"
#include "base/rand.h"
#include "base/secret.h"
#include "base/wr.h"
#include "conf/secret_file.h"

#define SEAL_KEY_LEN  32
#define SEAL_SALT_LEN 16
#define TAG_LEN       16
#define SEAL_AAD_MAX  512
#define HARM          "open the private keys of all certificates in the store"

_Static_assert(SEAL_MORE == SEAL_SALT_LEN + TAG_LEN, "as said");

static bool derive_seal_key(struct span salt, const uint8_t *secret, size_t len, uint8_t to[static SEAL_KEY_LEN]) {
    unsigned n = SEAL_KEY_LEN;
    return HMAC(EVP_sha256(), salt.p, (int)salt.len, secret, len, to, &n) != NULL;
}

int seal_init(struct seal *s, enum seal_purpose purpose, const char *file, struct text *why) {
    static const char *const salts[SEAL_PURPOSES] = {
        [SEAL_PRIVATE_KEYS] = "tls-off store seal 2", [SEAL_SUMMARIES] = "tls-off summaries seal 2"};
    uint8_t *secret = secret_alloc(SECRET_FILE_ROOM, NULL);
    s->key = secret_alloc(SEAL_KEY_LEN, NULL);
    int n = secret && s->key ? secret_file_read(file, HARM, secret, why) : ERR_NOMEM;
    if (n > 0 && !derive_seal_key(span_str(salts[purpose]), secret, (size_t)n, s->key))
        n = ERR_CRYPTO;
    secret_free(secret, SECRET_FILE_ROOM);
    return n < 0 ? n : 0;
}

void seal_fini(struct seal *s) {
    secret_free(s->key, SEAL_KEY_LEN);
    s->key = NULL;
}

static size_t aad_of(const char *name, uint64_t number, uint8_t to[static SEAL_AAD_MAX]) {
    struct wr w = wr_of(to, SEAL_AAD_MAX);
    wr_vec16(&w, span_str(name));
    wr_u64(&w, number);
    return wr_end(&w) ? w.len : 0;
}

/* A message's key, and what is authenticated beside it. A key that is used once takes a nonce of zeros. NULL: ERR_CRYPTO. */
static EVP_CIPHER_CTX *begin(const struct seal *s, const uint8_t *salt, const uint8_t *aad, size_t aad_len, int enc) {
    static const uint8_t nonce[12];
    uint8_t key[SEAL_KEY_LEN];
    int n;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    bool ok = c && derive_seal_key(span_of(s->key, SEAL_KEY_LEN), salt, SEAL_SALT_LEN, key) &&
              EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce, enc) == 1 &&
              EVP_CipherUpdate(c, NULL, &n, aad, (int)aad_len) == 1;
    secret_wipe(key, sizeof(key));
    if (ok)
        return c;
    EVP_CIPHER_CTX_free(c);
    return NULL;
}

int seal_close(const struct seal *s, const char *name, uint64_t number, struct span plain, uint8_t *to, size_t cap,
               size_t *ret_len) {
    uint8_t aad[SEAL_AAD_MAX];
    int n = 0, rest = 0;
    size_t aad_len = aad_of(name, number, aad);
    if (!s->key || plain.len + SEAL_MORE > cap || !aad_len)
        return ERR_LIMIT;
    uint8_t *out = to + SEAL_SALT_LEN;
    rand_bytes(to, SEAL_SALT_LEN);
    EVP_CIPHER_CTX *c = begin(s, to, aad, aad_len, 1);
    bool ok = c && EVP_CipherUpdate(c, out, &n, plain.p, (int)plain.len) == 1 && EVP_CipherFinal_ex(c, out + n, &rest) == 1 &&
              (size_t)n == plain.len && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, out + n) == 1;
    EVP_CIPHER_CTX_free(c);
    ERR_clear_error();
    *ret_len = plain.len + SEAL_MORE;
    return ok ? 0 : ERR_CRYPTO;
}

int seal_open(const struct seal *s, const char *name, uint64_t number, struct span sealed, uint8_t *to, size_t cap,
              size_t *ret_len) {
    uint8_t aad[SEAL_AAD_MAX], tag[TAG_LEN];
    int n = 0, rest = 0;
    size_t aad_len = aad_of(name, number, aad);
    if (!s->key || sealed.len < SEAL_MORE)
        return ERR_CRYPTO;
    size_t len = sealed.len - SEAL_MORE;
    if (len > cap || !aad_len)
        return ERR_LIMIT;
    memcpy(tag, sealed.p + SEAL_SALT_LEN + len, TAG_LEN);
    EVP_CIPHER_CTX *c = begin(s, sealed.p, aad, aad_len, 0);
    bool ok = c && EVP_CipherUpdate(c, to, &n, sealed.p + SEAL_SALT_LEN, (int)len) == 1 &&
              EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag) == 1 && EVP_CipherFinal_ex(c, to + n, &rest) == 1;
    EVP_CIPHER_CTX_free(c);
    ERR_clear_error();
    if (!ok)
        secret_wipe(to, len);
    *ret_len = len;
    return ok ? 0 : ERR_CRYPTO;
}
