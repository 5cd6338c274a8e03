/*
 * Our own handshake as its driver runs it, with keys at hand: for tests, fuzzers and benches. MUST and make_must() stop the
 * program; nothing here needs cmocka.
 */
#pragma once

#include "base/err.h"
#include "hs_service.h"
#include "tls/hello_find.h"
#include "tls/hs13.h"

/* Certificates of SERVICE_NAME, whose keys can be asked for. */
struct hs13_shop {
    struct certs *certs;
    struct shop_keys *keys; /* CERTS has them */
};

static inline struct hs13_shop hs13_shop_new(const char *const *key_types, size_t n) {
    char *dir = make_dir();
    struct shop *shop = shop_new();
    char sentence[512];
    for (size_t i = 0; i < n; i++) {
        struct text why = text_of(sentence, sizeof(sentence));
        EVP_PKEY *key = make_key(key_types[i]);
        X509 *cert = make_cert(key, &(struct make_spec){.cn = SERVICE_NAME, .san = "DNS:" SERVICE_NAME ",DNS:*." SERVICE_NAME});
        const char *path = make_path(dir, "pair.pem");
        make_pem(path, cert, NULL, NULL, key);
        make_must(shop_add_files(shop, path, path, &why) == 0, sentence);
        X509_free(cert);
        EVP_PKEY_free(key);
    }
    make_dir_remove(dir);
    struct shop_keys *keys = shop->keys;
    return (struct hs13_shop){shop_leave(shop), keys};
}

static inline size_t hs13_shop_sign(const struct hs13_shop *shop, const struct handshake_sign *q, uint8_t sig[static 1024]) {
    size_t len = 0;
    make_must(certs_sign(shop->certs, q->key, q->scheme, span_of(q->tbs, q->tbs_len), sig, 1024, &len) == 0, "signature");
    return len;
}

/* One connection of ours. */
struct hs13_conn {
    struct hs13_env *env;
    const struct tls_server *server;
    const struct hs13_shop *shop; /* signs at once; NULL: the caller does */
    const struct key_log *log;    /* NULL = none */
    struct hs13 *h;
    struct buf out;
    struct hello_scan scan;
    int err; /* before there was an H */
};

static inline void hs13_conn_open(struct hs13_conn *c, struct hs13_env *env, const struct tls_server *s,
                                  const struct hs13_shop *shop) {
    *c = (struct hs13_conn){.env = env, .server = s, .shop = shop};
    buf_init(&c->out, 512 * 1024);
}

static inline void hs13_conn_close(struct hs13_conn *c) {
    hs13_free(c->h);
    c->h = NULL;
    buf_fini(&c->out);
}

/* The hello itself, as the handshaker judges it; USED bytes of IN are it. */
static inline enum hs13_step hs13_conn_meet(struct hs13_conn *c, struct span in, size_t *ret_used) {
    static uint8_t scratch[HELLO_MESSAGE_MAX];
    struct span message;
    struct hello hello;
    *ret_used = 0;
    enum step step = hello_find(&c->scan, in, scratch, &message, ret_used, &c->err);
    if (step == STEP_WANT_READ)
        return HS13_WANT_READ;
    if (step == STEP_DONE)
        c->err = hello_parse(message, &hello);
    if (step == STEP_DONE && c->err == 0)
        c->err = tls_server_check(c->server, &hello);
    if (c->err)
        return HS13_FAILED;
    c->h = hs13_new(c->env, c->server, &c->out, c->log);
    make_must(c->h != NULL, "handshake");
    return hs13_begin(c->h, &hello, message);
}

/* All that IN leads to; what is not used of it stays. */
static inline enum hs13_step hs13_conn_step(struct hs13_conn *c, struct buf *in) {
    size_t used = 0;
    enum hs13_step step = HS13_WANT_READ;
    if (!c->h) {
        step = hs13_conn_meet(c, buf_span(in), &used);
        buf_consume(in, used);
    }
    if (c->h && step == HS13_WANT_READ && buf_len(in)) {
        struct span s = buf_span(in);
        step = hs13_step(c->h, (uint8_t *)(uintptr_t)s.p, s.len, &used);
        buf_consume(in, used);
    }
    if (step == HS13_WANT_SIGN && c->shop) {
        struct handshake_sign q;
        uint8_t sig[1024];
        hs13_sign_request(c->h, &q);
        step = hs13_signed(c->h, 0, span_of(sig, hs13_shop_sign(c->shop, &q, sig)));
    }
    return step;
}

/* Why it failed; ALERT is ours or theirs. */
static inline int hs13_conn_error(const struct hs13_conn *c) {
    uint8_t alert;
    return c->h ? hs13_error(c->h, &alert) : c->err;
}
