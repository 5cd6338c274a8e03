/*
 * Memory that runs out in the middle of our own handshake (S7): each allocation of our side fails, ours and libcrypto's, alone,
 * with the next one, and with all that follow. Whatever that ends, ends with one alert that the client can read, or none;
 * nobody gets in without his proof, nothing is left behind, and the next handshake is a good one.
 */
#include "tls/hs13.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <openssl/crypto.h>
#include <openssl/err.h>

#include "hs13_cases.h"
#include "tls/hs13_state.h"

static struct {
    bool armed;     /* our side is at work */
    unsigned at, n; /* the first to fail, and how many; 0 = none */
    unsigned calls;
} shortage;

static bool fails(void) {
    if (!shortage.armed)
        return false;
    shortage.calls++;
    return shortage.at && shortage.calls >= shortage.at && shortage.calls - shortage.at < shortage.n;
}

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_malloc(size_t n) {
    return fails() ? NULL : __real_malloc(n);
}

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size) {
    return fails() ? NULL : __real_calloc(n, size);
}

void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n) {
    return fails() ? NULL : __real_realloc(p, n);
}

/* What libcrypto allocates by. */
static void *crypto_malloc(size_t n, const char *file, int line) {
    (void)file;
    (void)line;
    return malloc(n);
}

static void *crypto_realloc(void *p, size_t n, const char *file, int line) {
    (void)file;
    (void)line;
    return realloc(p, n);
}

static void crypto_free(void *p, const char *file, int line) {
    (void)file;
    (void)line;
    free(p);
}

static EVP_PKEY *client_key;
static X509 *client_cert;
static struct raw_client owner; /* of a ticket */

/* What the client has sent reaches our side, which may run short; what it answers reaches the client. */
static enum hs13_step exchange_short(void) {
    uint8_t sig[1024];
    shortage.armed = true;
    last = hs13_conn_step(&conn, &rc.sent);
    shortage.armed = false;
    if (last == HS13_WANT_SIGN) {
        struct handshake_sign q;
        hs13_sign_request(conn.h, &q);
        size_t len = hs13_shop_sign(&shop, &q, sig);
        shortage.armed = true;
        last = hs13_signed(conn.h, 0, span_of(sig, len));
        shortage.armed = false;
    }
    raw_hear(&rc, &conn.out);
    return last;
}

enum kind { FULL, RETRIED, CERTIFIED, RESUMED, KINDS };

static void begin_kind(enum kind kind) {
    begin_case(kind == CERTIFIED ? strict : server);
    conn.shop = NULL;
    if (kind == RETRIED)
        raw_set(&hello, EXT_SHARE, RAW_LIT("\0\0"));
    if (kind == RESUMED)
        raw_offer_ticket(&rc, &hello, span_of(owner.ticket, owner.ticket_len), owner.ticket_psk, HASH_SHA256);
}

/* The whole conversation as far as our side goes on. */
static void converse(enum kind kind) {
    begin_kind(kind);
    raw_hello(&rc, &hello);
    if (exchange_short() == HS13_WANT_READ && rc.retry) {
        raw_share(&rc, &hello, rc.retry_group);
        raw_hello(&rc, &hello);
        exchange_short();
    }
    if (last != HS13_WANT_READ)
        return;
    assert_true(rc.flight_done);
    if (rc.cert_requested) {
        show_certificate(client_cert);
        if (exchange_short() != HS13_WANT_READ)
            return;
        prove(client_key);
        if (exchange_short() != HS13_WANT_READ)
            return;
    }
    raw_finish(&rc);
    exchange_short();
}

/* The shortage is no fault of the client's; but of a certificate libcrypto does not always say that memory was what it lacked.
 */
static void expect_an_end_in_order(enum kind kind, unsigned at) {
    static const struct hs13_scratch nothing;
    struct handshake_result r;
    assert_memory_equal(env.scratch->share.secret, nothing.share.secret, sizeof(nothing.share.secret));
    assert_memory_equal(&env.scratch->ticket, &nothing.ticket, sizeof(nothing.ticket));
    if (last == HS13_DONE) {
        assert_int_equal(rc.alerts, 0);
        assert_int_equal(hs13_finish(conn.h, &r), 0);
        assert_int_equal(r.client != NULL, kind == CERTIFIED);
        assert_memory_equal(r.record_layer.in.key, rc.out.key, sizeof(rc.out.key));
        return;
    }
    int err = hs13_conn_error(&conn);
    if (last != HS13_FAILED || (kind != CERTIFIED && err != ERR_NOMEM && err != ERR_CRYPTO))
        fail_msg("allocation %u of kind %d: step %d, error %s", at, (int)kind, (int)last, err_name(err));
    assert_true(rc.alerts == 0 || rc.alert == err_alert(err));
    assert_int_equal(hs13_finish(conn.h, &r), ERR_LEAVE);
}

static void every_shortage_of(enum kind kind, unsigned n) {
    unsigned calls = 0;
    for (unsigned at = 0; at <= calls; at++) {
        shortage.n = n;
        shortage.at = at;
        shortage.calls = 0;
        converse(kind);
        if (at == 0) {
            assert_int_equal(last, HS13_DONE);
            calls = shortage.calls;
        }
        expect_an_end_in_order(kind, at);
        ERR_clear_error();
    }
    assert_true(calls >= 10);
    shortage.at = 0;
    converse(kind);
    assert_int_equal(last, HS13_DONE);
    assert_int_equal(rc.resumed, kind == RESUMED);
}

static void a_handshake_ends_in_order_at_each_allocation(void **state) {
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        every_shortage_of((enum kind)kind, 1);
}

static void and_when_the_next_fails_too(void **state) {
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        if (kind != CERTIFIED) /* thousands, all in libcrypto's reading of certificates */
            every_shortage_of((enum kind)kind, 2);
}

static void and_without_memory_from_there_on(void **state) {
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        every_shortage_of((enum kind)kind, UINT_MAX);
}

/* ---- an AEAD that fails ---- */

static const struct engine *sound;
static unsigned seals, seal_fails_at, seals_fail;

static int seal_or_fail(void *ctx, const uint8_t nonce[static AEAD_NONCE_LEN], struct span aad, uint8_t *p, size_t len,
                        uint8_t tag[static AEAD_TAG_LEN]) {
    int err = sound->seal(ctx, nonce, aad, p, len, tag); /* the bytes may be sealed already */
    seals++;
    return seals >= seal_fails_at && seals - seal_fails_at < seals_fail ? ERR_CRYPTO : err;
}

/* Whole records of the handshake and nothing else: how many there are. */
static unsigned whole_records(struct span s) {
    unsigned n = 0;
    struct rd r = rd_of(s);
    for (; rd_left(&r); n++) {
        uint8_t type = rd_u8(&r);
        assert_in_range(type, CONTENT_CHANGE_CIPHER_SPEC, CONTENT_APPLICATION_DATA);
        assert_int_equal(rd_u16(&r), TLS_1_2);
        assert_true(rd_vec16(&r).len > 0);
        assert_false(r.bad);
    }
    return n;
}

/* A record that could not be sealed is not sent: neither its content, nor a second one under its number. */
static void a_record_that_is_not_sealed_is_not_sent(void **state) {
    (void)state;
    static struct engine failing;
    sound = contexts.engine;
    failing = *sound;
    failing.seal = seal_or_fail;
    for (seals_fail = 1; seals_fail <= 2; seals_fail++) /* the second one is that of the alert */
        for (seal_fails_at = 1; seal_fails_at <= 3; seal_fails_at++) {
            begin_case(server);
            raw_hello(&rc, &hello);
            seals = 0;
            contexts.engine = &failing;
            last = hs13_conn_step(&conn, &rc.sent);
            contexts.engine = sound;
            assert_int_equal(last, seal_fails_at == 3 ? HS13_WANT_READ : HS13_FAILED);
            /* ServerHello and ChangeCipherSpec, up to Certificate, up to Finished, alert */
            assert_int_equal(whole_records(buf_span(&conn.out)),
                             2 + (seal_fails_at - 1) + (seals_fail == 1 && last == HS13_FAILED));
        }
}

static int faults_setup(void **state) {
    cases_setup(state);
    client_key = make_key("EC:P-256");
    client_cert = issue(client_key, "robot");
    greet_us(server, false);
    raw_finish(&rc);
    exchange_flights();
    memcpy(owner.ticket, rc.ticket, owner.ticket_len = rc.ticket_len);
    memcpy(owner.ticket_psk, rc.ticket_psk, sizeof(owner.ticket_psk));
    return end_case(state);
}

static int faults_teardown(void **state) {
    X509_free(client_cert);
    EVP_PKEY_free(client_key);
    return cases_teardown(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_handshake_ends_in_order_at_each_allocation, end_case),
        cmocka_unit_test_teardown(and_when_the_next_fails_too, end_case),
        cmocka_unit_test_teardown(and_without_memory_from_there_on, end_case),
        cmocka_unit_test_teardown(a_record_that_is_not_sealed_is_not_sent, end_case),
    };
    if (CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free) != 1) /* it has allocated already */
        return 1;
    return cmocka_run_group_tests(tests, faults_setup, faults_teardown);
}
