/* Private keys read by hand: the usual forms as libcrypto writes them, and nothing that is cut, longer or bent. */
#include "tls/key_der.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/err.h>

#include "make_cert.h"

static const char *const types[] = {"RSA:2048", "EC:P-256", "EC:P-384", "ED25519"};
#define TYPES ARRAY_LEN(types)

static EVP_PKEY *keys[TYPES];

struct sample {
    char form[32];
    uint8_t *der;
    size_t len;
    uint8_t point[100];
    size_t point_len;
    uint8_t *spki;
    size_t spki_len;
};

static int make_all(void **state) {
    (void)state;
    for (size_t i = 0; i < TYPES; i++)
        keys[i] = make_key(types[i]);
    return 0;
}

static int free_all(void **state) {
    (void)state;
    for (size_t i = 0; i < TYPES; i++)
        EVP_PKEY_free(keys[i]);
    return 0;
}

/* OLD: PKCS#1 or SEC1; otherwise PKCS#8. */
static struct sample sample(size_t type, bool old) {
    struct sample s = {.der = NULL};
    char *name = NULL, *header = NULL;
    long len = 0;
    BIO *bio = BIO_new(BIO_s_mem());
    int ok = old ? PEM_write_bio_PrivateKey_traditional(bio, keys[type], NULL, NULL, 0, NULL, NULL)
                 : PEM_write_bio_PKCS8PrivateKey(bio, keys[type], NULL, NULL, 0, NULL, NULL);
    make_must(ok == 1 && PEM_read_bio(bio, &name, &header, &s.der, &len) == 1, types[type]);
    snprintf(s.form, sizeof(s.form), "%s", name);
    s.len = (size_t)len;
    OPENSSL_free(name);
    OPENSSL_free(header);
    BIO_free(bio);
    int spki_len = i2d_PUBKEY(keys[type], &s.spki);
    s.spki_len = (size_t)spki_len;
    if (type == 3) {
        s.point_len = sizeof(s.point);
        make_must(EVP_PKEY_get_raw_public_key(keys[type], s.point, &s.point_len) == 1, "point");
    } else if (type > 0) {
        make_must(
            EVP_PKEY_get_octet_string_param(keys[type], OSSL_PKEY_PARAM_PUB_KEY, s.point, sizeof(s.point), &s.point_len) == 1,
            "point");
    }
    return s;
}

static void sample_free(struct sample *s) {
    OPENSSL_free(s->der);
    OPENSSL_free(s->spki);
}

static bool reads(const struct sample *s, struct key_der *ret) {
    return key_der_read(s->form, span_of(s->der, s->len), ret);
}

static bool is(const struct sample *s, const struct key_der *k) {
    return key_der_is(k, span_of(s->point, s->point_len), span_of(s->spki, s->spki_len));
}

static void the_usual_forms(void **state) {
    (void)state;
    static const char *const names[] = {OSSL_PKEY_PARAM_RSA_N,         OSSL_PKEY_PARAM_RSA_E,
                                        OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_FACTOR1,
                                        OSSL_PKEY_PARAM_RSA_FACTOR2,   OSSL_PKEY_PARAM_RSA_EXPONENT1,
                                        OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1};
    for (size_t t = 0; t < TYPES; t++)
        for (int old = 0; old < (t == 3 ? 1 : 2); old++) {
            struct sample s = sample(t, old);
            struct key_der k;
            if (!reads(&s, &k))
                fail_msg("%s, %s", types[t], s.form);
            assert_int_equal(k.kind, t);
            assert_true(is(&s, &k));
            for (size_t i = 0; i < (t == 0 ? KEY_DER_NUMBERS : 1) && t < 3; i++) {
                BIGNUM *got = BN_bin2bn(k.numbers[i].p, (int)k.numbers[i].len, NULL), *wanted = NULL;
                assert_int_equal(EVP_PKEY_get_bn_param(keys[t], t == 0 ? names[i] : OSSL_PKEY_PARAM_PRIV_KEY, &wanted), 1);
                assert_int_equal(BN_cmp(got, wanted), 0);
                BN_free(got);
                BN_free(wanted);
            }
            sample_free(&s);
        }
}

static void other_keys_are_distinguished(void **state) {
    (void)state;
    struct key_der k;
    for (size_t a = 0; a < TYPES; a++)
        for (size_t b = 0; b < TYPES; b++) {
            struct sample x = sample(a, false), y = sample(b, false);
            assert_true(reads(&x, &k));
            assert_int_equal(key_der_is(&k, span_of(x.point, x.point_len), span_of(y.spki, y.spki_len)), a == b);
            sample_free(&x);
            sample_free(&y);
        }
    struct sample s = sample(1, false);
    assert_true(reads(&s, &k));
    assert_false(key_der_is(&k, span_of(NULL, 0), span_of(s.spki, s.spki_len)));
    s.point[5] ^= 1;
    assert_false(is(&s, &k));
    sample_free(&s);
}

static void cut_and_longer_ones(void **state) {
    (void)state;
    struct key_der k;
    for (size_t t = 0; t < TYPES; t++)
        for (int old = 0; old < (t == 3 ? 1 : 2); old++) {
            struct sample s = sample(t, old);
            uint8_t *copy = malloc(s.len + 1);
            for (size_t len = 0; len < s.len; len++) { /* in memory of exactly that size, for the sanitizer */
                uint8_t *exact = malloc(MAX(len, (size_t)1));
                memcpy(exact, s.der, len);
                assert_false(key_der_read(s.form, span_of(exact, len), &k));
                free(exact);
            }
            memcpy(copy, s.der, s.len);
            copy[s.len] = 0;
            assert_false(key_der_read(s.form, span_of(copy, s.len + 1), &k));
            free(copy);
            sample_free(&s);
        }
}

/* Each byte of the key and of the public key bent: never read as the right one with another secret number. */
static void bent_bytes(void **state) {
    (void)state;
    struct key_der k, right;
    for (size_t t = 0; t < TYPES; t++) {
        struct sample s = sample(t, false);
        for (size_t i = 0; i < s.spki_len; i++) {
            assert_true(reads(&s, &right));
            s.spki[i] ^= 0x10;
            assert_false(is(&s, &right));
            s.spki[i] ^= 0x10;
        }
        unsigned refused = 0;
        for (size_t i = 0; i < s.len; i++) {
            s.der[i] ^= 0x81;
            refused += !reads(&s, &k);
            s.der[i] ^= 0x81;
        }
        assert_true(refused >= 12); /* the frame around the numbers */
        sample_free(&s);
    }
}

static void other_forms_are_left_to_others(void **state) {
    (void)state;
    struct key_der k;
    struct sample s = sample(1, false);
    static const char *const forms[] = {"ENCRYPTED PRIVATE KEY", "CERTIFICATE", "EC PARAMETERS", "DSA PRIVATE KEY", "",
                                        "RSA PRIVATE KEY"};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++)
        assert_false(key_der_read(forms[i], span_of(s.der, s.len), &k));
    sample_free(&s);
    static const char *const foreign[] = {"EC:P-521", "ED448", "X25519", "EC:secp256k1"};
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++) {
        EVP_PKEY *key = make_key(foreign[i]);
        PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
        uint8_t *der = NULL;
        int len = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
        assert_true(len > 0);
        assert_false(key_der_read("PRIVATE KEY", span_of(der, (size_t)len), &k));
        OPENSSL_free(der);
        PKCS8_PRIV_KEY_INFO_free(info);
        EVP_PKEY_free(key);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_usual_forms),
        cmocka_unit_test(other_keys_are_distinguished),
        cmocka_unit_test(cut_and_longer_ones),
        cmocka_unit_test(bent_bytes),
        cmocka_unit_test(other_forms_are_left_to_others),
    };
    return cmocka_run_group_tests(tests, make_all, free_all);
}
