#include "tls/selftest_own.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <unistd.h>

#include "base/err.h"
#include "base/secret.h"
#include "creds/creds_write.h"
#include "tls/selftest_talk.h"

#define SERVICE_TEST "self-test"
#define VALID_S      3600

/* What the client asks for, and what becomes of it. */
struct trial {
    const char *suite, *groups;
    uint16_t suite_id, group;
    bool resumed; /* by the ticket of the trial before */
};

static const struct trial trials[] = {
    {"TLS_AES_128_GCM_SHA256", "X25519", 0x1301, 0x001d, false},
    {"TLS_AES_128_GCM_SHA256", "P-384:X25519", 0x1301, 0x001d, true}, /* P-384 is not of this service: a retry */
    {"TLS_CHACHA20_POLY1305_SHA256", "P-256", 0x1303, 0x0017, false},
    {"TLS_AES_256_GCM_SHA384", "P-384:P-256", 0x1302, 0x0017, false},
    {"TLS_AES_256_GCM_SHA384", "X25519", 0x1302, 0x001d, true},
};

/* The secrets of the client's key log. */
static struct kept_secrets {
    uint8_t client[HASH_LEN_MAX], server[HASH_LEN_MAX];
    SSL_SESSION *session; /* of its last ticket */
} kept;

static void on_secret(const SSL *ssl, const char *line) {
    static const char to_server[] = "CLIENT_TRAFFIC_SECRET_0 ", to_client[] = "SERVER_TRAFFIC_SECRET_0 ";
    (void)ssl;
    bool ours = strncmp(line, to_client, sizeof(to_client) - 1) == 0;
    const char *hex = strrchr(line, ' ');
    size_t len = 0;
    if (hex && (ours || strncmp(line, to_server, sizeof(to_server) - 1) == 0))
        (void)OPENSSL_hexstr2buf_ex(ours ? kept.server : kept.client, HASH_LEN_MAX, &len, hex + 1, '\0'); /* else zeros */
}

static int on_session(SSL *ssl, SSL_SESSION *session) {
    (void)ssl;
    SSL_SESSION_free(kept.session);
    kept.session = session;
    return 1; /* the reference is ours */
}

/* ---- a service ---- */

static int sign(void *ctx, const struct creds *store, uint32_t key, uint16_t scheme, struct span tbs, uint8_t *sig, size_t cap,
                size_t *ret_len) {
    (void)store, (void)key, (void)scheme; /* there is one */
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

static X509 *make_cert(EVP_PKEY *key) {
    X509 *x = X509_new();
    if (x && X509_set_version(x, X509_VERSION_3) == 1 && X509_gmtime_adj(X509_getm_notBefore(x), 0) &&
        X509_gmtime_adj(X509_getm_notAfter(x), VALID_S) && X509_set_pubkey(x, key) == 1 && X509_sign(x, key, EVP_sha256()) > 0)
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
                                          .cert_file = SERVICE_TEST,
                                          .key_file = SERVICE_TEST,
                                          .issuer = "",
                                          .serial = ""};
        if (creds_add_service(w, SERVICE_TEST) < 0 || creds_add_entry(w, &e, &entry) < 0 || creds_seal(w, digest, &fd) < 0)
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
    const struct certs_keys keys = {.sign = sign, .release = release_key, .ctx = key};
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

static struct tls_server *make_service(struct certs *certs, struct tickets *tickets) {
    static const uint16_t suites[] = {0x1301, 0x1302, 0x1303}, groups[] = {0x001d, 0x0017};
    char line[256];
    struct text why = text_of(line, sizeof(line));
    const struct tls_policy p = {.name = SERVICE_TEST,
                                 .min_version = TLS_1_3,
                                 .suites = suites,
                                 .nsuites = ARRAY_LEN(suites),
                                 .groups = groups,
                                 .ngroups = ARRAY_LEN(groups),
                                 .own_tls13 = true};
    return certs && tickets ? tls_server_new(&p, certs, tickets, &why) : NULL;
}

/* ---- trials ---- */

static bool prepare(const struct trial *trial, struct selftest_talk *t) {
    if (!selftest_talk_open(t))
        return false;
    SSL_CTX_set_keylog_callback(t->ctx, on_secret);
    SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(t->ctx, on_session);
    return SSL_set_ciphersuites(t->client, trial->suite) == 1 &&
           SSL_set1_groups_list(t->client, (uintptr_t)trial->groups) == 1 &&
           (!trial->resumed || (kept.session && SSL_set_session(t->client, kept.session) == 1));
}

/* The ticket is read, as data would be; there is none. */
static bool take_ticket(struct selftest_talk *t) {
    char nothing;
    return selftest_talk_deliver(t) && SSL_is_init_finished(t->client) && SSL_read(t->client, &nothing, 1) <= 0 &&
           SSL_get_error(t->client, -1) == SSL_ERROR_WANT_READ;
}

static bool agrees(const struct trial *trial, const struct selftest_talk *t, const struct handshake_result *r) {
    size_t len = hash_len(suite_by_id(r->suite)->hash);
    return r->own && r->suite == trial->suite_id && r->group == trial->group && r->resumed == trial->resumed &&
           SSL_session_reused(t->client) == trial->resumed && secret_eq(r->record_layer.in.secret, kept.client, len) &&
           secret_eq(r->record_layer.out.secret, kept.server, len);
}

static bool try(const struct trial *trial, const struct tls_server *s) {
    struct selftest_talk t;
    struct handshake_result r;
    bool good = prepare(trial, &t) && selftest_talk_begin(&t, s) && selftest_talk_on(&t) && take_ticket(&t) &&
                handshake_finish(t.server, &r) == 0;
    if (good) {
        good = agrees(trial, &t, &r);
        record_layer_wipe(&r.record_layer);
    }
    selftest_talk_close(&t);
    return good;
}

bool selftest_own(void) {
    struct certs *certs = make_certs();
    struct tickets *tickets = make_tickets();
    struct tls_server *s = make_service(certs, tickets);
    bool good = s != NULL;
    for (size_t i = 0; i < ARRAY_LEN(trials) && good; i++)
        good = try(&trials[i], s);
    SSL_SESSION_free(kept.session);
    secret_wipe(&kept, sizeof(kept));
    tls_server_free(s);
    tickets_free(tickets);
    certs_free(certs);
    ERR_clear_error();
    return good;
}
