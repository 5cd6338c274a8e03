#include "handshake_subject.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <time.h>

#include "cold_code.h"
#include "hs13_service.h"
#include "signer_subject.h"
#include "tls/hs_bio.h"
#include "tls/hs_libssl_server.h"
#include "tls/kdf_provider.h"
#include "tls/record.h"

#define FLIGHTS_MAX 8

struct subject {
    enum variant variant;
    const struct scenario *scenario;
    uint64_t spent_ns; /* by the server in this handshake */

    EVP_PKEY *key;
    struct certs *certs;
    struct tickets *tickets;
    struct tls_server *product;
    SSL_CTX *ctx; /* of all other variants */

    SSL_CTX *client_ctx;
    SSL_SESSION *session; /* what the client resumes */
    uint8_t peer_share[32];

    /* the handshake at hand */
    SSL *client, *ssl;
    BIO *from_client, *to_client;
    struct hs_bio feed;
    struct buf reply;
    struct handshake *handshake;
    struct cold_code *cold; /* NULL = none */
    struct engine_contexts aead;
    struct hs13_env env;
    struct hs13_shop shop;
    struct hs13 *own;
    struct kdf_secrets secrets;
    char logged[2][2 * HASH_LEN_MAX + 1];
    bool done;
};

static bool is_product(enum variant v) {
    return v == VARIANT_PRODUCT || v == VARIANT_SIGNER;
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the server ---- */

/* What leaving libssl needs at the least: the two secrets are kept. */
static void key_log(const SSL *ssl, const char *line) {
    struct subject *s = SSL_get_app_data(ssl);
    const char *secret = strrchr(line, ' ');
    bool client = strncmp(line, "CLIENT_TRAFFIC", 14) == 0;
    if (client || strncmp(line, "SERVER_TRAFFIC", 14) == 0)
        snprintf(s->logged[client], sizeof(s->logged[0]), "%s", secret + 1);
}

static void server_ctx_new(struct subject *s, X509 *cert) {
    const char *query = s->variant >= VARIANT_LEAN_KDF && kdf_provider_load() ? KDF_PROVIDER_QUERY : NULL;
    s->ctx = SSL_CTX_new_ex(NULL, query, TLS_server_method());
    make_must(s->ctx && SSL_CTX_use_certificate(s->ctx, cert) == 1 && SSL_CTX_use_PrivateKey(s->ctx, s->key) == 1, "server");
    if (s->variant >= VARIANT_KEY_LOG && s->variant < VARIANT_NO_KEY_LOG)
        SSL_CTX_set_keylog_callback(s->ctx, key_log);
    if (s->variant >= VARIANT_ONE_TICKET)
        SSL_CTX_set_num_tickets(s->ctx, 1);
    if (s->variant >= VARIANT_TICKET_KEYS)
        make_must(hs_libssl_use_tickets(s->ctx, s->tickets) == 0, "tickets");
}

static void product_new(struct subject *s) {
    struct tls_policy p = service_policy("web");
    s->product = service_new(&p, s->certs, s->tickets);
    make_must(tls_server_selftest(s->product), "self-test");
}

/* libssl with memory BIOs, or with ours. */
static void libssl_begin(struct subject *s) {
    s->ssl = SSL_new(s->ctx);
    SSL_set_app_data(s->ssl, s);
    if (s->variant >= VARIANT_FEEDING_BIO) {
        memset(&s->feed, 0, sizeof(s->feed));
        s->feed.out = &s->reply;
        BIO *bio = hs_bio_new(&s->feed);
        SSL_set_bio(s->ssl, bio, bio);
    } else {
        SSL_set_bio(s->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    }
    SSL_set_accept_state(s->ssl);
}

static void libssl_step(struct subject *s, struct span in) {
    if (!s->ssl)
        libssl_begin(s);
    if (s->variant < VARIANT_FEEDING_BIO) {
        char *p = NULL;
        BIO_write(SSL_get_rbio(s->ssl), in.p, (int)in.len);
        s->done = SSL_do_handshake(s->ssl) == 1;
        long n = BIO_get_mem_data(SSL_get_wbio(s->ssl), &p);
        make_must(buf_append(&s->reply, p, (size_t)n) == 0, "reply");
        (void)BIO_reset(SSL_get_wbio(s->ssl));
        return;
    }
    kdf_provider_watch(&s->secrets);
    while (in.len && !s->done) {
        size_t len = RECORD_HEADER_LEN + (size_t)(in.p[3] << 8 | in.p[4]);
        hs_bio_feed(&s->feed, span_of(in.p, len));
        in = span_of(in.p + len, in.len - len);
        s->done = SSL_do_handshake(s->ssl) == 1;
    }
    kdf_provider_watch(NULL);
}

static void product_step(struct subject *s, struct span in) {
    static uint8_t scratch[HELLO_MESSAGE_MAX];
    if (!s->handshake) {
        struct span message;
        size_t wire_len;
        int err = 0;
        struct hello hello;
        make_must(hello_find(&(struct hello_scan){0}, in, scratch, &message, &wire_len, &err) == STEP_DONE &&
                      hello_parse(message, &hello) == 0,
                  "hello");
        make_must(tls_server_check(s->product, &hello) == 0, "check");
        make_must(handshake_new(s->product, &hello, &s->reply, &s->handshake) == 0, "handshake");
    }
    enum step step = handshake_step(s->handshake, &in);
    make_must(step == STEP_DONE || step == STEP_WANT_READ, "step");
    s->done = step == STEP_DONE;
}

static void libssl_end(struct subject *s) {
    SSL_set_shutdown(s->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(s->ssl);
    s->ssl = NULL;
}

static void product_end(struct subject *s) {
    struct handshake_result result;
    make_must(handshake_finish(s->handshake, &result) == 0, "finish");
    make_must(result.resumed == (s->session != NULL), "resumption");
    record_layer_wipe(&result.record_layer);
    handshake_free(s->handshake);
    s->handshake = NULL;
}

/* The signature as libssl makes it with the same key. */
static enum hs13_step own_sign(struct subject *s) {
    struct handshake_sign q;
    uint8_t sig[512];
    size_t len = sizeof(sig);
    EVP_PKEY *key = s->shop.keys->keys[0];
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx = NULL;
    hs13_sign_request(s->own, &q);
    make_must(md && EVP_DigestSignInit_ex(md, &ctx, "SHA256", NULL, NULL, key, NULL) == 1, "signature");
    if (q.scheme == 0x0804)
        make_must(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
                      EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1,
                  "padding");
    make_must(EVP_DigestSign(md, sig, &len, q.tbs, q.tbs_len) == 1, "signature");
    EVP_MD_CTX_free(md);
    return hs13_signed(s->own, 0, span_of(sig, len));
}

static void own_step(struct subject *s, struct span in) {
    static uint8_t scratch[HELLO_MESSAGE_MAX];
    enum hs13_step step;
    size_t used = 0;
    if (!s->own) {
        struct span message;
        int err = 0;
        struct hello hello;
        make_must(hello_find(&(struct hello_scan){0}, in, scratch, &message, &used, &err) == STEP_DONE &&
                      hello_parse(message, &hello) == 0,
                  "hello");
        make_must(tls_server_check(s->product, &hello) == 0, "check");
        s->own = hs13_new(&s->env, s->product, &s->reply);
        make_must(s->own != NULL, "handshake");
        step = hs13_begin(s->own, &hello, message);
        if (step == HS13_WANT_SIGN)
            step = own_sign(s);
    } else {
        step = hs13_step(s->own, (uint8_t *)(uintptr_t)in.p, in.len, &used);
    }
    make_must(step == HS13_DONE || step == HS13_WANT_READ, "step");
    s->done = step == HS13_DONE;
}

static void own_end(struct subject *s) {
    struct handshake_result result;
    make_must(hs13_finish(s->own, &result) == 0, "finish");
    make_must(result.resumed == (s->session != NULL), "resumption");
    record_layer_wipe(&result.record_layer);
    hs13_free(s->own);
    s->own = NULL;
}

/* X25519 both ways and what the certificate's key signs. */
static void primitives(struct subject *s) {
    uint8_t secret[32], signature[512];
    size_t secret_len = sizeof(secret), signature_len = sizeof(signature);
    if (s->scenario->version != TLS_1_2 || !s->scenario->resumed) {
        EVP_PKEY *own = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
        EVP_PKEY *peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, s->peer_share, sizeof(s->peer_share));
        EVP_PKEY_CTX *derive = EVP_PKEY_CTX_new(own, NULL);
        make_must(own && peer && derive && EVP_PKEY_derive_init(derive) == 1 && EVP_PKEY_derive_set_peer(derive, peer) == 1 &&
                      EVP_PKEY_derive(derive, secret, &secret_len) == 1,
                  "X25519");
        EVP_PKEY_CTX_free(derive);
        EVP_PKEY_free(own);
        EVP_PKEY_free(peer);
    }
    if (!s->scenario->resumed) {
        EVP_MD_CTX *md = EVP_MD_CTX_new();
        EVP_PKEY_CTX *ctx = NULL;
        make_must(md && EVP_DigestSignInit(md, &ctx, EVP_sha256(), NULL, s->key) == 1, "signature");
        if (EVP_PKEY_is_a(s->key, "RSA"))
            make_must(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1, "padding");
        make_must(EVP_DigestSign(md, signature, &signature_len, s->peer_share, sizeof(s->peer_share)) == 1, "signature");
        EVP_MD_CTX_free(md);
    }
    s->done = true;
}

enum work { WORK_STEP, WORK_END };

/* All that is timed, in one function that callgrind can measure alone. */
__attribute__((noinline)) static void server_work(struct subject *s, enum work work, struct span in) {
    if (s->variant == VARIANT_PRIMITIVES)
        primitives(s);
    else if (s->variant == VARIANT_OWN)
        work == WORK_STEP ? own_step(s, in) : own_end(s);
    else if (is_product(s->variant))
        work == WORK_STEP ? product_step(s, in) : product_end(s);
    else
        work == WORK_STEP ? libssl_step(s, in) : libssl_end(s);
}

static void timed(struct subject *s, enum work work, struct span in) {
    cold_code_run(s->cold);
    uint64_t begin = now_ns();
    server_work(s, work, in);
    s->spent_ns += now_ns() - begin;
}

/* ---- the client, and both together ---- */

static void client_new(struct subject *s) {
    s->client = SSL_new(s->client_ctx);
    s->from_client = BIO_new(BIO_s_mem());
    s->to_client = BIO_new(BIO_s_mem());
    make_must(s->client && s->from_client && s->to_client, "client");
    BIO_set_mem_eof_return(s->to_client, -1);
    SSL_set_bio(s->client, s->to_client, s->from_client);
    SSL_set_connect_state(s->client);
    char name[] = SERVICE_NAME;
    SSL_set_tlsext_host_name(s->client, name);
    make_must(!s->session || SSL_set_session(s->client, s->session) == 1, "session");
}

static void talk(struct subject *s) {
    client_new(s);
    for (int i = 0; i < FLIGHTS_MAX && !s->done; i++) {
        char *p = NULL;
        (void)SSL_do_handshake(s->client); /* a failure shows as a server that is never done */
        long n = BIO_get_mem_data(s->from_client, &p);
        timed(s, WORK_STEP, span_of(p, (size_t)n));
        (void)BIO_reset(s->from_client);
        struct span out = buf_span(&s->reply);
        if (out.len)
            BIO_write(s->to_client, out.p, (int)out.len);
        buf_consume(&s->reply, out.len);
    }
    make_must(s->done, "handshake");
    timed(s, WORK_END, span_of(NULL, 0));
}

uint64_t subject_handshake(struct subject *s) {
    s->done = false;
    s->spent_ns = 0;
    if (s->variant == VARIANT_PRIMITIVES) {
        timed(s, WORK_STEP, span_of(NULL, 0));
        return s->spent_ns;
    }
    talk(s);
    make_must(SSL_do_handshake(s->client) == 1 && SSL_session_reused(s->client) == (s->session != NULL), "client");
    SSL_set_shutdown(s->client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(s->client);
    ERR_clear_error();
    return s->spent_ns;
}

/* One full handshake whose ticket is kept. */
static void session_take(struct subject *s) {
    uint8_t byte;
    talk(s);
    (void)SSL_do_handshake(s->client);
    (void)SSL_read(s->client, &byte, 1); /* takes the tickets of 1.3 */
    s->session = SSL_get1_session(s->client);
    make_must(SSL_SESSION_is_resumable(s->session), "ticket");
    SSL_set_shutdown(s->client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(s->client);
}

/* All variants do the same: one version, one suite, X25519. */
static void client_ctx_new(struct subject *s) {
    char groups[] = "X25519:P-256";
    SSL_CTX *ctx = s->client_ctx = SSL_CTX_new(TLS_client_method());
    make_must(ctx && SSL_CTX_set_min_proto_version(ctx, s->scenario->version) == 1 &&
                  SSL_CTX_set_max_proto_version(ctx, s->scenario->version) == 1 &&
                  SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") == 1 &&
                  SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM") == 1 && SSL_CTX_set1_groups_list(ctx, groups) == 1,
              "client");
}

static void peer_share_new(struct subject *s) {
    size_t len = sizeof(s->peer_share);
    EVP_PKEY *peer = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    make_must(peer && EVP_PKEY_get_raw_public_key(peer, s->peer_share, &len) == 1, "share");
    EVP_PKEY_free(peer);
}

bool subject_can(enum variant variant, const struct scenario *scenario) {
    return variant != VARIANT_OWN || scenario->version == TLS_1_3;
}

struct subject *subject_new(enum variant variant, const struct scenario *scenario, size_t cold_kb) {
    struct subject *s = calloc(1, sizeof(*s));
    make_must(s != NULL, "memory");
    s->variant = variant;
    s->scenario = scenario;
    s->key = make_key(scenario->key);
    s->cold = cold_kb ? cold_code_new(cold_kb) : NULL;
    buf_init(&s->reply, 128 * 1024);
    if (variant == VARIANT_PRIMITIVES) {
        peer_share_new(s);
        return s;
    }
    s->tickets = service_tickets(1);
    if (variant == VARIANT_OWN) {
        engine_contexts_init(&s->aead, &engine_libcrypto);
        make_must(hs13_env_init(&s->env, &s->aead, 64) == 0, "memory");
        s->shop = hs13_shop_new(&scenario->key, 1);
        s->certs = s->shop.certs;
        product_new(s);
    } else if (is_product(variant)) {
        s->certs = variant == VARIANT_SIGNER ? signer_subject_certs(scenario->key) : service_certs(&scenario->key, 1);
        product_new(s);
    } else {
        X509 *cert = make_cert(s->key, &(struct make_spec){.cn = SERVICE_NAME, .san = "DNS:" SERVICE_NAME});
        server_ctx_new(s, cert);
        X509_free(cert);
    }
    client_ctx_new(s);
    if (scenario->resumed)
        session_take(s);
    return s;
}

void subject_free(struct subject *s) {
    SSL_SESSION_free(s->session);
    SSL_CTX_free(s->client_ctx);
    SSL_CTX_free(s->ctx);
    tls_server_free(s->product);
    tickets_free(s->tickets);
    certs_free(s->certs);
    if (s->variant == VARIANT_OWN) {
        hs13_env_fini(&s->env);
        engine_contexts_fini(&s->aead);
    }
    cold_code_free(s->cold);
    EVP_PKEY_free(s->key);
    buf_fini(&s->reply);
    free(s);
}
