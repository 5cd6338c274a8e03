/*
 * A libssl client over memory, and a record layer of ours that is its server once the handshake is done: what one says, the
 * other must make of it. After cmocka.h.
 */
#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

#include "base/err.h"
#include "tls/record_layer.h"

static struct engine_contexts contexts;

/* One connection: CLIENT is libssl, RECORD_LAYER is ours; bytes pass through two memory BIOs that belong to CLIENT. */
static SSL *client;
static BIO *from_client, *to_client;
static struct record_layer record_layer;

static uint8_t wire[512 * 1024], out[2 * RECORD_WIRE_MAX];
static uint8_t data[300 * 1024], got[300 * 1024];

static inline void talk_setup(void) {
    engine_contexts_init(&contexts, engine_find("auto"));
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + (i >> 9));
}

static inline void talk_teardown(void) {
    engine_contexts_fini(&contexts);
}

/* A client that is about to begin its handshake. */
static inline void client_new(SSL_CTX *ctx) {
    client = SSL_new(ctx);
    to_client = BIO_new(BIO_s_mem());
    from_client = BIO_new(BIO_s_mem());
    assert_true(client && to_client && from_client);
    BIO_set_mem_eof_return(to_client, -1);
    SSL_set_bio(client, to_client, from_client);
    SSL_set_connect_state(client);
}

/* Makes the client offer one version and one suite. */
static inline void client_offers(const struct suite *s) {
    assert_int_equal(SSL_set_min_proto_version(client, s->version), 1);
    assert_int_equal(SSL_set_max_proto_version(client, s->version), 1);
    if (s->version == TLS_1_3)
        assert_int_equal(SSL_set_ciphersuites(client, s->openssl_name), 1);
    else
        assert_int_equal(SSL_set_cipher_list(client, s->openssl_name), 1);
}

static inline void disconnect(void) {
    SSL_free(client);
    client = NULL;
    ERR_clear_error();
}

/* Reads what the client has sent until nothing is left; the plain bytes go to GOT. */
static inline enum step record_layer_take(size_t *ret_len, int *ret_err) {
    int n = BIO_read(from_client, wire, sizeof wire);
    size_t len = n > 0 ? (size_t)n : 0, off = 0, plain = 0;
    struct record_layer_opened opened;
    enum step step;
    do {
        step = record_layer_open(&record_layer, &contexts, wire + off, len - off, &opened);
        for (unsigned i = 0; i < opened.niov; i++) {
            memcpy(got + plain, opened.iov[i].iov_base, opened.iov[i].iov_len);
            plain += opened.iov[i].iov_len;
        }
        off += opened.consumed;
    } while (step == STEP_DONE);
    if (step == STEP_WANT_READ)
        assert_int_equal(off, len);
    *ret_len = plain;
    *ret_err = opened.err;
    return step;
}

static inline void client_sends(size_t len) {
    size_t n = 0;
    int err;
    assert_int_equal(SSL_write(client, data, (int)len), (int)len);
    assert_int_equal(record_layer_take(&n, &err), STEP_WANT_READ);
    assert_int_equal(n, len);
    assert_memory_equal(got, data, len);
}

/* Control first, then LEN bytes in records of at most out_max. */
static inline void record_layer_sends(size_t len) {
    const struct suite *with = record_layer_suite(&record_layer);
    struct record_run run;
    size_t n;
    assert_int_equal(record_layer_control(&record_layer, &contexts, out, &n), 0);
    if (n > 0)
        assert_int_equal(BIO_write(to_client, out, (int)n), (int)n);
    assert_int_equal(record_run_begin(&run, &contexts, with, &record_layer.out, true), 0);
    for (size_t off = 0; off < len;) {
        size_t part = MIN(len - off, (size_t)record_layer.out_max);
        memcpy(out + record_prefix(with), data + off, part);
        assert_int_equal(record_seal(&run, CONTENT_APPLICATION_DATA, out, part, &n), 0);
        assert_int_equal(BIO_write(to_client, out, (int)n), (int)n);
        off += part;
    }
}

static inline void client_takes(size_t len) {
    size_t off = 0;
    while (off < len) {
        int n = SSL_read(client, got + off, (int)(sizeof got - off));
        assert_true(n > 0);
        off += (size_t)n;
    }
    assert_int_equal(off, len);
    assert_memory_equal(got, data, len);
}

static inline void both_ways(size_t len) {
    client_sends(len);
    record_layer_sends(len);
    client_takes(len);
}
