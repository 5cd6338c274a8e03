/* One case: a client that follows a script, our side, and what became of it. After cmocka.h. */
#pragma once

#include "hs13_services.h"

static inline int end_case(void **state) {
    (void)state;
    hs13_conn_close(&conn);
    raw_close(&rc);
    assert_int_equal(env.states.used, 0);
    return 0;
}

/* A usual hello with an X25519 share, not sent yet. */
static inline void begin_case(const struct tls_server *with) {
    end_case(NULL);
    hs13_conn_open(&conn, &env, with, &shop);
    raw_open(&rc, &contexts);
    raw_hello_usual(&hello);
    raw_share(&rc, &hello, 0x001d);
}

/* What the client has sent reaches our side, and our answer it. */
static inline enum hs13_step exchange_flights(void) {
    last = hs13_conn_step(&conn, &rc.sent);
    raw_hear(&rc, &conn.out);
    return last;
}

static inline enum hs13_step say_hello(void) {
    raw_hello(&rc, &hello);
    return exchange_flights();
}

/* Up to our flight, with a retry for P-256 before it when RETRY. */
static inline void greet_us(const struct tls_server *with, bool retry) {
    begin_case(with);
    if (retry) {
        raw_set(&hello, EXT_SHARE, RAW_LIT("\0\0"));
        assert_int_equal(say_hello(), HS13_WANT_READ);
        assert_true(rc.retry);
        raw_share(&rc, &hello, rc.retry_group);
    }
    assert_int_equal(say_hello(), HS13_WANT_READ);
    assert_true(rc.flight_done);
}

static inline void expect_done(void) {
    struct handshake_result r;
    assert_int_equal(last, HS13_DONE);
    assert_int_equal(rc.alerts, 0);
    assert_int_equal(hs13_finish(conn.h, &r), 0);
    assert_true(record_layer_valid(&r.record_layer));
    assert_memory_equal(r.record_layer.in.key, rc.out.key, sizeof(rc.out.key));
    assert_memory_equal(r.record_layer.out.key, rc.in.key, sizeof(rc.in.key));
    assert_int_equal(r.record_layer.out.seq, rc.in.seq);
    assert_int_equal(r.record_layer.in.seq, rc.out.seq);
}

static inline void shake_hands(void) {
    assert_int_equal(say_hello(), HS13_WANT_READ);
    raw_finish(&rc);
    exchange_flights();
    expect_done();
}

/* Failed for ERR, and the client has read one alert under LEVEL's keys. More bytes change nothing (S7). */
static inline void expect_refusal(int err, int alert, enum raw_level level) {
    struct handshake_result r;
    if (last != HS13_FAILED || hs13_conn_error(&conn) != err || (conn.h && rc.alert != alert))
        fail_msg("step %d, error %s, alert %d; expected %s, alert %d", (int)last, err_name(hs13_conn_error(&conn)), rc.alert,
                 err_name(err), alert);
    assert_int_equal(err_alert(err), alert);
    if (!conn.h) /* before there was a handshake the caller sends the alert */
        return;
    assert_int_equal(rc.alerts, 1);
    assert_int_equal(rc.alerted, level);
    assert_int_equal(hs13_finish(conn.h, &r), ERR_LEAVE);
    raw_plain(&rc, CONTENT_HANDSHAKE, RAW_LIT("\x14\0\0\0"));
    assert_int_equal(hs13_conn_step(&conn, &rc.sent), HS13_FAILED);
    assert_int_equal(buf_len(&conn.out), 0);
}

static inline void show_certificate(X509 *cert) {
    static uint8_t message[64 * 1024];
    uint8_t *der = NULL;
    struct span s = span_of(NULL, 0);
    if (cert) {
        int len = i2d_X509(cert, &der);
        s = span_of(der, (size_t)len);
    }
    raw_message(&rc, span_of(message, write_chain(message, sizeof(message), &s, cert ? 1 : 0, span_of(NULL, 0))));
    OPENSSL_free(der);
}

static inline void prove(EVP_PKEY *key) {
    uint8_t message[1024];
    raw_message(&rc, span_of(message, make_proof(key, 0x0403, "SHA256", false, false, message)));
}
