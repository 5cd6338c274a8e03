#include "tls/selftest_service.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <unistd.h>

#include "base/err.h"
#include "base/secret.h"
#include "creds/creds_write.h"

#define SELFTEST_SERVICE_VALID_S 3600

static EVP_PKEY *get_selftest_key(void *ctx, const struct creds *store, uint32_t key) {
    (void)store, (void)key; /* there is one */
    return EVP_PKEY_up_ref(ctx) == 1 ? ctx : NULL;
}

static int sign(void *ctx, const struct creds *store, uint32_t key, uint16_t scheme, struct span tbs, uint8_t *sig, size_t cap,
                size_t *ret_len) {
    (void)store, (void)key, (void)scheme;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    *ret_len = cap;
    bool done = md && EVP_DigestSignInit_ex(md, NULL, "SHA256", NULL, NULL, ctx, NULL) == 1 &&
                EVP_DigestSign(md, sig, ret_len, tbs.p, tbs.len) == 1;
    EVP_MD_CTX_free(md);
    return done ? 0 : ERR_SIGNER_REFUSED;
}

static void release_key(void *ctx) {
    EVP_PKEY_free(ctx);
}

static void digest(struct span bytes, uint8_t ret[static CREDS_DIGEST_LEN]) {
    MUST(EVP_Digest(bytes.p, bytes.len, ret, NULL, EVP_sha256(), NULL) == 1);
}

/* The least that libssl takes for a certificate; the client does not look at it. */
static X509 *make_cert(EVP_PKEY *key) {
    X509 *x = X509_new();
    if (x && X509_set_version(x, X509_VERSION_3) == 1 && X509_gmtime_adj(X509_getm_notBefore(x), 0) &&
        X509_gmtime_adj(X509_getm_notAfter(x), SELFTEST_SERVICE_VALID_S) && X509_set_pubkey(x, key) == 1 &&
        X509_sign(x, key, EVP_sha256()) > 0)
        return x;
    X509_free(x);
    return NULL;
}

/* A store with one certificate. -1 without it. */
static int make_store(X509 *x) {
    uint8_t *der = NULL, *spki = NULL;
    int der_len = i2d_X509(x, &der), spki_len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &spki), fd = -1;
    uint32_t entry;
    struct creds_writer *w = creds_writer_new();
    if (w && der_len > 0 && spki_len > 0) {
        const struct creds_cert leaf = {span_of(der, (size_t)der_len), INT64_MIN, INT64_MIN};
        const struct creds_new_entry e = {.kind = CREDS_EC_P256,
                                          .chain = &leaf,
                                          .nchain = 1,
                                          .spki = span_of(spki, (size_t)spki_len),
                                          .cert_file = SELFTEST_SERVICE,
                                          .key_file = SELFTEST_SERVICE,
                                          .issuer = "",
                                          .serial = ""};
        if (creds_add_service(w, SELFTEST_SERVICE) < 0 || creds_add_entry(w, &e, &entry) < 0 || creds_seal(w, digest, &fd) < 0)
            fd = -1;
    }
    creds_writer_free(w);
    OPENSSL_free(der);
    OPENSSL_free(spki);
    return fd;
}

static struct certs *make_certs(void) {
    struct certs *certs = NULL;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = key ? make_cert(key) : NULL;
    int fd = x ? make_store(x) : -1;
    const struct certs_keys keys = {.get = get_selftest_key, .sign = sign, .release = release_key, .ctx = key};
    if (fd < 0 || certs_open(fd, &keys, &certs) < 0)
        EVP_PKEY_free(key);
    if (fd >= 0)
        close(fd);
    X509_free(x);
    return certs;
}

static struct tickets *make_tickets(void) {
    uint8_t secret[TICKETS_SECRET_MIN];
    struct tickets *t = RAND_bytes(secret, sizeof(secret)) == 1 ? tickets_new(&(struct span){secret, sizeof(secret)}, 1) : NULL;
    secret_wipe(secret, sizeof(secret));
    return t;
}

bool selftest_service_open(struct selftest_service *s, const struct tls_policy *p) {
    char line[256];
    struct text why = text_of(line, sizeof(line));
    *s = (struct selftest_service){.certs = make_certs(), .tickets = make_tickets()};
    if (s->certs && s->tickets)
        s->server = tls_server_new(p, s->certs, s->tickets, &why);
    return s->server != NULL;
}

void selftest_service_close(struct selftest_service *s) {
    tls_server_free(s->server);
    tickets_free(s->tickets);
    certs_free(s->certs);
}
