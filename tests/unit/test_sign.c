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

static void test_request_comes_back(void **state) {
    (void)state;
    uint8_t tbs[SIGN_TBS_MAX], body[SIGN_REQUEST_MAX];
    for (size_t len = 1; len <= SIGN_TBS_MAX; len++) {
        memset(tbs, (int)len, len);
        const struct sign_request r = {0x01020304, 0xfffffffe, 9999, 0x0403, span_of(tbs, len)};
        struct sign_request back;
        size_t n = 0;
        assert_int_equal(sign_pack_request(&r, body, &n), 0);
        const struct ipc_msg m = {.type = SIGN_REQUEST, .body = span_of(body, n)};
        const struct ipc_rule *rule = rule_of(sign_to_signer, SIGN_REQUEST);
        assert_true(n >= rule->min_len && n <= rule->max_len);
        assert_int_equal(sign_read_request(&m, &back), 0);
        assert_int_equal(back.number, r.number);
        assert_int_equal(back.set, r.set);
        assert_int_equal(back.key, r.key);
        assert_int_equal(back.scheme, r.scheme);
        assert_true(span_eq(back.tbs, r.tbs));
    }
}

static void test_request_limits(void **state) {
    (void)state;
    uint8_t tbs[SIGN_TBS_MAX + 1] = {0}, body[SIGN_REQUEST_MAX + 1] = {0};
    const struct sign_request r = {.tbs = span_of(tbs, sizeof(tbs))};
    struct sign_request back;
    size_t n = 0;
    assert_int_equal(sign_pack_request(&r, body, &n), ERR_LIMIT);
    for (size_t len = 0; len <= sizeof(body); len++) {
        const struct ipc_msg m = {.type = SIGN_REQUEST, .body = span_of(body, len)};
        assert_int_equal(sign_read_request(&m, &back), len >= 15 && len <= SIGN_REQUEST_MAX ? 0 : ERR_FORMAT);
    }
    const struct ipc_msg other = {.type = SIGN_DONE, .body = span_of(body, 64)};
    assert_int_equal(sign_read_request(&other, &back), ERR_FORMAT);
}

static void test_answer_comes_back(void **state) {
    (void)state;
    uint8_t sig[SIGN_SIGNATURE_MAX + 1], body[SIGN_ANSWER_MAX];
    memset(sig, 0x30, sizeof(sig));
    struct sign_answer a = {.number = 7, .signature = span_of(sig, SIGN_SIGNATURE_MAX)}, back;
    size_t n = 0;
    assert_int_equal(sign_pack_answer(&a, body, &n), 0);
    assert_int_equal(n, SIGN_ANSWER_MAX);
    struct ipc_msg m = {.type = SIGN_DONE, .body = span_of(body, n)};
    assert_int_equal(sign_read_answer(&m, &back), 0);
    assert_int_equal(back.number, 7);
    assert_int_equal(back.err, 0);
    assert_true(span_eq(back.signature, a.signature));

    a.signature.len++;
    assert_int_equal(sign_pack_answer(&a, body, &n), ERR_LIMIT);

    a = (struct sign_answer){.number = 8, .err = ERR_NOT_FOUND};
    assert_int_equal(sign_pack_answer(&a, body, &n), 0);
    m = (struct ipc_msg){.type = SIGN_REFUSED, .body = span_of(body, n)};
    assert_int_equal(sign_read_answer(&m, &back), 0);
    assert_int_equal(back.number, 8);
    assert_int_equal(back.err, ERR_NOT_FOUND);
}

static void test_broken_answers(void **state) {
    (void)state;
    uint8_t body[SIGN_ANSWER_MAX + 1] = {0};
    struct sign_answer back;
    for (size_t len = 0; len <= sizeof(body); len++) {
        struct ipc_msg m = {.type = SIGN_DONE, .body = span_of(body, len)};
        assert_int_equal(sign_read_answer(&m, &back), len >= 5 && len <= SIGN_ANSWER_MAX ? 0 : ERR_FORMAT);
        m.type = SIGN_REFUSED; /* reason 0 is none */
        assert_int_equal(sign_read_answer(&m, &back), ERR_FORMAT);
    }
    body[5] = 1; /* a number of no error */
    struct ipc_msg m = {.type = SIGN_REFUSED, .body = span_of(body, 6)};
    assert_int_equal(sign_read_answer(&m, &back), ERR_FORMAT);
    m.type = SIGN_REQUEST;
    assert_int_equal(sign_read_answer(&m, &back), ERR_FORMAT);
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
        cmocka_unit_test(test_request_comes_back),
        cmocka_unit_test(test_request_limits),
        cmocka_unit_test(test_answer_comes_back),
        cmocka_unit_test(test_broken_answers),
        cmocka_unit_test(test_tls13_shape),
        cmocka_unit_test(test_tls12_shape),
        cmocka_unit_test(test_no_bytes_have_both_shapes),
        cmocka_unit_test(test_plain_digests_are_not_signed),
        cmocka_unit_test(test_schemes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
