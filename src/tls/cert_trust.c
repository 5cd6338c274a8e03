#include "tls/cert_trust.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include "base/err.h"

static int verify_chain(X509 *leaf, STACK_OF(X509) * others, struct text *why) {
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    int err = ERR_NOMEM;
    if (store && ctx && X509_STORE_set_default_paths(store) == 1 && X509_STORE_CTX_init(ctx, store, leaf, others) == 1 &&
        X509_STORE_CTX_set_default(ctx, "ssl_server") == 1) {
        err = X509_verify_cert(ctx) == 1 ? 0 : ERR_FORMAT;
        if (err)
            text_addf(why, "certificate %d of the chain: %s", X509_STORE_CTX_get_error_depth(ctx) + 1,
                      X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    } else {
        text_add(why, "the system's CA certificates cannot be read");
    }
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    ERR_clear_error();
    return err;
}

int cert_trust(const struct span *ders, size_t n, struct text *why) {
    STACK_OF(X509) *others = sk_X509_new_null();
    X509 *leaf = NULL;
    bool ok = others != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        const uint8_t *p = ders[i].p;
        X509 *x = d2i_X509(NULL, &p, (long)ders[i].len);
        ok = x && (i == 0 || sk_X509_push(others, x) > 0);
        if (i == 0)
            leaf = x;
        else if (!ok)
            X509_free(x);
    }
    int err = ERR_FORMAT;
    if (ok && leaf)
        err = verify_chain(leaf, others, why);
    else
        text_add(why, "the chain cannot be read");
    X509_free(leaf);
    sk_X509_pop_free(others, X509_free);
    return err;
}
