/* The signing protocol: what is packed comes back, the cut or overlong is refused, and only two kinds of bytes are signed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "base/err.h"
#include "creds/sign_rule.h"
#include "sign_samples.h"
#include "wire/sign.h"

static const struct ipc_rule *rule_of(const struct ipc_rule *rules, uint16_t type) {
    while (rules->type && rules->type != type)
        rules++;
    return rules->type ? rules : NULL;
}

static struct span packed_requests(uint8_t *to, size_t cap, const struct sign_request *q, unsigned n) {
    struct wr w = wr_of(to, cap);
    for (unsigned i = 0; i < n; i++)
        sign_put_request(&w, &q[i]);
    return wr_end(&w) ? wr_written(&w) : span_of(NULL, 0);
}

static void test_requests_come_back(void **state) {
    (void)state;
    uint8_t tbs[SIGN_TBS_MAX], body[SIGN_REQUESTS_MAX];
    const struct ipc_rule *rule = rule_of(sign_to_signer, SIGN_REQUESTS);
    memset(tbs, 0x5a, sizeof(tbs));
    for (size_t len = 1; len <= SIGN_TBS_MAX; len++)
        for (unsigned n = 1; n <= SIGN_BATCH_MAX; n++) {
            struct sign_request q[SIGN_BATCH_MAX], back[SIGN_BATCH_MAX];
            unsigned got = 0;
            for (unsigned i = 0; i < n; i++)
                q[i] = (struct sign_request){0x0102030405060708 + i, 0xfffffffe, 9999 + i, 0x0403, span_of(tbs, len)};
            const struct ipc_msg m = {.type = SIGN_REQUESTS, .body = packed_requests(body, sizeof(body), q, n)};
            assert_true(m.body.len >= rule->min_len && m.body.len <= rule->max_len);
            assert_int_equal(sign_read_requests(&m, back, &got), 0);
            assert_int_equal(got, n);
            for (unsigned i = 0; i < n; i++) {
                assert_int_equal(back[i].number, q[i].number);
                assert_int_equal(back[i].set, q[i].set);
                assert_int_equal(back[i].key, q[i].key);
                assert_int_equal(back[i].scheme, q[i].scheme);
                assert_true(span_eq(back[i].tbs, q[i].tbs));
            }
        }
}

static void test_request_limits(void **state) {
    (void)state;
    static uint8_t body[SIGN_REQUESTS_MAX + SIGN_REQUEST_LEN];
    uint8_t tbs[SIGN_TBS_MAX + 1] = {0};
    struct sign_request q[SIGN_BATCH_MAX + 1], back[SIGN_BATCH_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i <= SIGN_BATCH_MAX; i++)
        q[i] = (struct sign_request){.number = i, .tbs = span_of(tbs, 1)};
    struct ipc_msg m = {.type = SIGN_REQUESTS, .body = packed_requests(body, sizeof(body), q, SIGN_BATCH_MAX + 1)};
    assert_int_equal(sign_read_requests(&m, back, &n), ERR_FORMAT); /* seventeen */
    struct span two = packed_requests(body, sizeof(body), q, 2);
    for (size_t len = 0; len <= two.len; len++) {
        m.body = span_of(body, len);
        assert_int_equal(sign_read_requests(&m, back, &n), len == two.len || len == two.len / 2 ? 0 : ERR_FORMAT);
    }
    m = (struct ipc_msg){.type = SIGN_ANSWERS, .body = two};
    assert_int_equal(sign_read_requests(&m, back, &n), ERR_FORMAT);
    q[0].tbs = span_of(tbs, sizeof(tbs));
    assert_int_equal(packed_requests(body, sizeof(body), q, 1).len, 0);
    q[0].tbs.len = 0;
    assert_int_equal(packed_requests(body, sizeof(body), q, 1).len, 0);
    assert_int_equal(packed_requests(body, two.len - 1, q + 1, 2).len, 0);
}

static void test_answers_come_back(void **state) {
    (void)state;
    static uint8_t sig[SIGN_SIGNATURE_MAX + 1], body[SIGN_ANSWERS_MAX];
    struct sign_answer back[SIGN_BATCH_MAX];
    struct wr w = wr_of(body, sizeof(body));
    unsigned n = 0;
    memset(sig, 0x30, sizeof(sig));
    for (unsigned i = 0; i < SIGN_BATCH_MAX; i++)
        sign_put_answer(&w, &(struct sign_answer){.number = i,
                                                  .err = i % 3 == 1 ? ERR_NOT_FOUND : 0,
                                                  .signature = span_of(sig, i % 2 ? SIGN_SIGNATURE_MAX : 1 + i)});
    assert_true(wr_end(&w));
    assert_true(w.len <= rule_of(sign_to_handshaker, SIGN_ANSWERS)->max_len);
    const struct ipc_msg m = {.type = SIGN_ANSWERS, .body = wr_written(&w)};
    assert_int_equal(sign_read_answers(&m, back, &n), 0);
    assert_int_equal(n, SIGN_BATCH_MAX);
    for (unsigned i = 0; i < SIGN_BATCH_MAX; i++) {
        assert_int_equal(back[i].number, i);
        assert_int_equal(back[i].err, i % 3 == 1 ? ERR_NOT_FOUND : 0);
        assert_int_equal(back[i].signature.len, i % 3 == 1 ? 0 : i % 2 ? SIGN_SIGNATURE_MAX : 1 + i);
    }
    for (size_t len = 0; len <= sizeof(sig); len += sizeof(sig)) { /* none, and one that is too long */
        w = wr_of(body, sizeof(body));
        sign_put_answer(&w, &(struct sign_answer){.signature = span_of(sig, len)});
        assert_false(wr_end(&w));
    }
}

static void test_broken_answers(void **state) {
    (void)state;
    static uint8_t body[SIGN_ANSWER_LEN + 1];
    struct sign_answer back[SIGN_BATCH_MAX];
    unsigned n = 0;
    for (size_t len = 0; len < sizeof(body); len++) /* a signature of LEN - 12 bytes, and of one more, and of one less */
        for (int more = -1; more <= 1; more++) {
            size_t said = len + (size_t)more - 12;
            body[10] = (uint8_t)(said >> 8);
            body[11] = (uint8_t)said;
            const struct ipc_msg m = {.type = SIGN_ANSWERS, .body = span_of(body, len)};
            assert_int_equal(sign_read_answers(&m, back, &n), len > 12 && more == 0 ? 0 : ERR_FORMAT);
        }
    static const struct {
        uint8_t reason, len;
    } bad[] = {{0, 0}, {250, 0}, {1, 1}}; /* neither signature nor reason; a number of no error; both */
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        body[8] = 0;
        body[9] = bad[i].reason;
        body[10] = 0;
        body[11] = bad[i].len;
        const struct ipc_msg m = {.type = SIGN_ANSWERS, .body = span_of(body, 12u + bad[i].len)};
        assert_int_equal(sign_read_answers(&m, back, &n), ERR_FORMAT);
    }
    const struct ipc_msg m = {.type = SIGN_REQUESTS, .body = span_of(body, 13)};
    assert_int_equal(sign_read_answers(&m, back, &n), ERR_FORMAT);
}

static void test_tls13_shape(void **state) {
    (void)state;
    uint8_t tbs[SIGN_TBS_MAX];
    for (size_t hash = 0; hash <= 64; hash++) {
        size_t n = sample_tls13(tbs, hash);
        assert_int_equal(sign_shape(span_of(tbs, n)), hash == 32 || hash == 48 ? SIGN_SHAPE_TLS13 : SIGN_SHAPE_NONE);
    }
    size_t n = sample_tls13(tbs, 32);
    for (size_t i = 0; i < n; i++) { /* each byte but those of the hash must be as it is */
        tbs[i] ^= 0x40;
        assert_int_equal(sign_shape(span_of(tbs, n)), i < n - 32 ? SIGN_SHAPE_NONE : SIGN_SHAPE_TLS13);
        tbs[i] ^= 0x40;
    }
    for (size_t len = 0; len < n; len++)
        assert_int_equal(sign_shape(span_of(tbs, len)), SIGN_SHAPE_NONE);
    memcpy(tbs + 64, "TLS 1.3, client CertificateVerify", 33);
    assert_int_equal(sign_shape(span_of(tbs, n)), SIGN_SHAPE_NONE);
}

static void test_tls12_shape(void **state) {
    (void)state;
    static const struct {
        uint16_t group;
        uint8_t len;
    } good[] = {{0x0017, 65}, {0x0018, 97}, {0x0019, 133}, {0x001d, 32}, {0x001e, 56}};
    uint8_t tbs[SIGN_TBS_MAX];
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        for (unsigned len = 0; len <= 140; len++) {
            size_t n = sample_tls12(tbs, good[i].group, (uint8_t)len);
            assert_int_equal(sign_shape(span_of(tbs, n)), len == good[i].len ? SIGN_SHAPE_TLS12 : SIGN_SHAPE_NONE);
        }
        size_t n = sample_tls12(tbs, good[i].group, good[i].len);
        assert_int_equal(sign_shape(span_of(tbs, n - 1)), SIGN_SHAPE_NONE);
        tbs[n] = 0;
        assert_int_equal(sign_shape(span_of(tbs, n + 1)), SIGN_SHAPE_NONE);
        tbs[64] = 1; /* explicit_prime */
        assert_int_equal(sign_shape(span_of(tbs, n)), SIGN_SHAPE_NONE);
    }
    size_t n = sample_tls12(tbs, 0x0017, 65);
    tbs[68] = 2; /* a compressed point */
    assert_int_equal(sign_shape(span_of(tbs, n)), SIGN_SHAPE_NONE);
    n = sample_tls12(tbs, 0x0016, 65); /* secp256k1 */
    assert_int_equal(sign_shape(span_of(tbs, n)), SIGN_SHAPE_NONE);
}

/* The randoms are free, so one might hope to smuggle the other kind into them. */
static void test_no_bytes_have_both_shapes(void **state) {
    (void)state;
    uint8_t tbs[SIGN_TBS_MAX];
    size_t n = sample_tls12(tbs, 0x001d, 32);
    memset(tbs, ' ', 64);
    assert_int_equal(sign_shape(span_of(tbs, n)), SIGN_SHAPE_TLS12);
    n = sample_tls13(tbs, 32);
    assert_int_not_equal(tbs[64], 3);
}

static void test_plain_digests_are_not_signed(void **state) {
    (void)state;
    uint8_t tbs[SIGN_TBS_MAX] = {0};
    for (size_t len = 0; len <= sizeof(tbs); len++)
        assert_int_equal(sign_shape(span_of(tbs, len)), SIGN_SHAPE_NONE);
}

static void test_schemes(void **state) {
    (void)state;
    /* what each kind signs in 1.2 (1), in 1.3 (2); everything else by none */
    static const struct {
        uint16_t scheme;
        unsigned fits[CREDS_KINDS];
    } rows[] = {
        {0x0804, {[CREDS_RSA] = 3}},
        {0x0805, {[CREDS_RSA] = 3}},
        {0x0806, {[CREDS_RSA] = 3}},
        {0x0401, {[CREDS_RSA] = 1}},
        {0x0501, {[CREDS_RSA] = 1}},
        {0x0601, {[CREDS_RSA] = 1}},
        {0x0403, {[CREDS_EC_P256] = 3, [CREDS_EC_P384] = 1}},
        {0x0503, {[CREDS_EC_P256] = 1, [CREDS_EC_P384] = 3}},
        {0x0603, {[CREDS_EC_P256] = 1, [CREDS_EC_P384] = 1}},
        {0x0807, {[CREDS_ED25519] = 3}},
    };
    for (unsigned scheme = 0; scheme <= 0xffff; scheme++)
        for (unsigned kind = 0; kind < CREDS_KINDS; kind++) {
            unsigned wanted = 0, got = 0;
            for (size_t i = 0; i < ARRAY_LEN(rows); i++)
                if (rows[i].scheme == scheme)
                    wanted = rows[i].fits[kind];
            got |= sign_scheme_fits((enum creds_kind)kind, (uint16_t)scheme, SIGN_SHAPE_TLS12) ? 1 : 0;
            got |= sign_scheme_fits((enum creds_kind)kind, (uint16_t)scheme, SIGN_SHAPE_TLS13) ? 2 : 0;
            assert_int_equal(got, wanted);
            assert_false(sign_scheme_fits((enum creds_kind)kind, (uint16_t)scheme, SIGN_SHAPE_NONE));
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_come_back),
        cmocka_unit_test(test_request_limits),
        cmocka_unit_test(test_answers_come_back),
        cmocka_unit_test(test_broken_answers),
        cmocka_unit_test(test_tls13_shape),
        cmocka_unit_test(test_tls12_shape),
        cmocka_unit_test(test_no_bytes_have_both_shapes),
        cmocka_unit_test(test_plain_digests_are_not_signed),
        cmocka_unit_test(test_schemes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
