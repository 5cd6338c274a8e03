/*
 * One TLS 1.3 handshake with ourselves in memory, before clients come: does our provider give the secrets of libssl's key log?
 * With a key of its own, made for it: the real ones are with the signer, which need not be there yet.
 */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/err.h"
#include "tls/handshake_internal.h"

#define ROUNDS_MAX 8 /* flights, far more than a handshake has */

struct talk {
    SSL *client;
    BIO *to_server, *to_client;
    struct buf out; /* the server's bytes */
    struct handshake *server;
    uint8_t scratch[HELLO_MESSAGE_MAX];
};

/* The client's bytes so far; borrowed from the BIO. */
static struct span said(const struct talk *t) {
    char *p = NULL;
    long n = BIO_get_mem_data(t->to_server, &p);
    return span_of(p, n > 0 ? (size_t)n : 0);
}

/* The least that libssl takes for a certificate; the client does not look at it. */
static bool use_own_cert(SSL *ssl) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    bool ok = key && x && X509_set_version(x, X509_VERSION_3) == 1 && X509_gmtime_adj(X509_getm_notBefore(x), 0) &&
              X509_gmtime_adj(X509_getm_notAfter(x), 60) && X509_set_pubkey(x, key) == 1 &&
              X509_sign(x, key, EVP_sha256()) > 0 && SSL_use_cert_and_key(ssl, x, key, NULL, 1) == 1;
    X509_free(x);
    EVP_PKEY_free(key);
    return ok;
}

static bool begin_talk(struct talk *t, const struct tls_server *s) {
    struct span message;
    size_t wire_len = 0;
    int err = 0;
    struct hello hello;
    (void)SSL_do_handshake(t->client); /* wants to read now; a failure shows as a missing hello */
    if (hello_find(&(struct hello_scan){0}, said(t), t->scratch, &message, &wire_len, &err) != STEP_DONE ||
        hello_parse(message, &hello) < 0)
        return false;
    if (handshake_new(s, &hello, &t->out, &t->server) < 0)
        return false;
    SSL_set_cert_cb(handshake_ssl(t->server), NULL, NULL);
    SSL_set_verify(handshake_ssl(t->server), SSL_VERIFY_NONE, NULL); /* whatever clients need here, this one is ourselves */
    return use_own_cert(handshake_ssl(t->server));
}

/* Both sides in turn until the server is done. */
static bool finish_talk(struct talk *t) {
    for (int i = 0; i < ROUNDS_MAX; i++) {
        struct span in = said(t);
        enum step step = handshake_step(t->server, &in);
        (void)BIO_reset(t->to_server);
        if (step != STEP_WANT_READ)
            return step == STEP_DONE;
        struct span out = buf_span(&t->out);
        if (BIO_write(t->to_client, out.p, (int)out.len) != (int)out.len)
            return false;
        buf_consume(&t->out, out.len);
        (void)SSL_do_handshake(t->client); /* a failure shows as a server that is not done */
    }
    return false;
}

static bool client_new(struct talk *t, SSL_CTX **ret_ctx) {
    *ret_ctx = SSL_CTX_new(TLS_client_method());
    t->client = *ret_ctx ? SSL_new(*ret_ctx) : NULL;
    t->to_server = BIO_new(BIO_s_mem());
    t->to_client = BIO_new(BIO_s_mem());
    if (!t->client || !t->to_server || !t->to_client || SSL_set_min_proto_version(t->client, TLS1_3_VERSION) != 1) {
        BIO_free(t->to_server);
        BIO_free(t->to_client);
        return false;
    }
    SSL_set_bio(t->client, t->to_client, t->to_server); /* owned by the client now */
    SSL_set_connect_state(t->client);
    return true;
}

bool tls_server_selftest(struct tls_server *s) {
    static struct talk t; /* large, and one at a time */
    SSL_CTX *ctx = NULL;
    bool own = s->own_tls13;
    t.server = NULL;
    s->own_tls13 = false; /* it is libssl's handshake that is tested */
    buf_init(&t.out, 256 * 1024);
    bool agree = client_new(&t, &ctx) && begin_talk(&t, s) && finish_talk(&t) && handshake_secrets_agree(t.server);
    if (agree)
        SSL_CTX_set_keylog_callback(s->ctx, NULL);
    s->own_tls13 = own;
    handshake_free(t.server);
    buf_fini(&t.out);
    SSL_free(t.client);
    SSL_CTX_free(ctx);
    t.client = NULL;
    ERR_clear_error();
    return agree;
}
