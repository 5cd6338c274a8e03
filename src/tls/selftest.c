/*
 * One TLS 1.3 handshake with ourselves in memory, before clients come: does our provider give the secrets of libssl's key log?
 * With a key of its own, made for it: the real ones are with the signer, which need not be there yet.
 */
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "tls/hs_libssl.h"
#include "tls/selftest_talk.h"

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

/* Whatever clients need here, this one is ourselves. */
static bool use_no_rules(SSL *ssl) {
    SSL_set_cert_cb(ssl, NULL, NULL);
    SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
    return use_own_cert(ssl);
}

void tls_server_spare_selftest(struct tls_server *s) {
    SSL_CTX_set_keylog_callback(s->ctx, NULL);
}

bool tls_server_selftest(struct tls_server *s) {
    struct selftest_talk t;
    bool own = s->own_tls13;
    s->own_tls13 = false; /* it is libssl's handshake that is tested */
    bool agree = selftest_talk_open(&t) && selftest_talk_begin(&t, s) && use_no_rules(hs_libssl_of(t.server)->ssl) &&
                 selftest_talk_on(&t) && hs_libssl_secrets_agree(hs_libssl_of(t.server));
    if (agree)
        tls_server_spare_selftest(s);
    s->own_tls13 = own;
    selftest_talk_close(&t);
    return agree;
}
