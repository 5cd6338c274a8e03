#include "acme/alpn_responder.h"

#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "acme/challenge_cert.h"
#include "acme/far_challenges.h"
#include "base/err.h"

static const uint8_t protocol_name[] = "\x0a"
                                       "acme-tls/1";

struct validation {
    SSL *ssl;
};

/* Nobody is expected under this name: refused before anything is made. */
static int check_name(SSL *ssl, int *alert, void *ctx) {
    struct alpn_responder *a = ctx;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    const struct far_challenges *far = a->challenges->far;
    if (name &&
        (challenges_by_name(a->challenges, CHALLENGE_TLS_ALPN_01, span_str(name)) || (far && far_may_be(far, span_str(name)))))
        return SSL_TLSEXT_ERR_OK;
    *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* RFC 8737 3: the one protocol that there is. */
static int choose_alpn(SSL *ssl, const uint8_t **out, uint8_t *out_len, const uint8_t *in, unsigned in_len, void *ctx) {
    (void)ssl;
    (void)ctx;
    if (in_len != sizeof(protocol_name) - 1 || memcmp(in, protocol_name, in_len) != 0)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = in + 1;
    *out_len = in[0];
    return SSL_TLSEXT_ERR_OK;
}

/* -1: it has to be looked for elsewhere, and the handshake waits. */
static int choose_challenge_cert(SSL *ssl, void *ctx) {
    struct alpn_responder *a = ctx;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    struct challenge *own = name ? challenges_by_name(a->challenges, CHALLENGE_TLS_ALPN_01, span_str(name)) : NULL;
    const struct challenge *c = own;
    if (name && !own && a->challenges->far &&
        far_find(a->challenges->far, CHALLENGE_TLS_ALPN_01, span_str(name), &c) == FAR_ASKED)
        return -1;
    X509 *x = c ? challenge_cert(c, a->key) : NULL;
    bool ok = x && SSL_use_certificate(ssl, x) == 1 && SSL_use_PrivateKey(ssl, a->key) == 1;
    X509_free(x);
    if (ok && own)
        own->answered++;
    return ok;
}

static bool begin_validation(struct responder_conn *c) {
    struct validation *h = c->state;
    const struct alpn_responder *a = c->responder->ctx;
    h->ssl = SSL_new(a->ssl_ctx);
    if (!h->ssl || SSL_set_fd(h->ssl, c->fd) != 1)
        return false;
    SSL_set_accept_state(h->ssl);
    return true;
}

static enum responder_step work_handshake(struct responder_conn *c) {
    struct validation *h = c->state;
    ERR_clear_error();
    int done = SSL_do_handshake(h->ssl);
    if (done == 1) {
        (void)SSL_shutdown(h->ssl); /* close_notify, as far as there is room */
        return RESPONDER_DONE;
    }
    switch (SSL_get_error(h->ssl, done)) {
    case SSL_ERROR_WANT_READ:
        return RESPONDER_READS;
    case SSL_ERROR_WANT_X509_LOOKUP:
        return RESPONDER_WAITS;
    case SSL_ERROR_WANT_WRITE:
        return RESPONDER_WRITES;
    default:
        return RESPONDER_DONE;
    }
}

static void end_validation(struct responder_conn *c) {
    struct validation *h = c->state;
    SSL_free(h->ssl);
    ERR_clear_error();
}

static const struct responder_protocol tls = {sizeof(struct validation), begin_validation, work_handshake, end_validation};

int alpn_responder_open(struct alpn_responder *a, struct challenges *challenges, struct loop *loop, unsigned kind,
                        const char *path, struct text *why) {
    a->challenges = challenges;
    a->key = EVP_EC_gen("P-256");
    a->ssl_ctx = SSL_CTX_new(TLS_server_method());
    if (!a->key || !a->ssl_ctx || SSL_CTX_set_min_proto_version(a->ssl_ctx, TLS1_2_VERSION) != 1) {
        text_add(why, "libssl cannot be set up");
        return ERR_CRYPTO;
    }
    SSL_CTX_set_options(a->ssl_ctx, SSL_OP_NO_TICKET);
    (void)SSL_CTX_set_num_tickets(a->ssl_ctx, 0);
    (void)SSL_CTX_set_session_cache_mode(a->ssl_ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_tlsext_servername_callback(a->ssl_ctx, check_name);
    SSL_CTX_set_tlsext_servername_arg(a->ssl_ctx, a);
    SSL_CTX_set_alpn_select_cb(a->ssl_ctx, choose_alpn, a);
    SSL_CTX_set_cert_cb(a->ssl_ctx, choose_challenge_cert, a);
    return responder_open(&a->responder, loop, kind, path, &tls, a, why);
}
