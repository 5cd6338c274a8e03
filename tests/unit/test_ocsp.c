/* Fetched OCSP responses: what is asked, and when. (What holds is in test_ocsp_file.c, the fetching itself in
 * tests/e2e/test_ocsp.py.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

#include "acme/staples.h"
#include "base/err.h"
#include "make_cert.h"
#include "ocsp/ocsp.h"

#define HOUR INT64_C(3600)
#define DAY  (24 * HOUR)
#define NOW  INT64_C(1790000000)

static void test_when_it_is_fetched_again(void **state) {
    (void)state;
    for (uint64_t random = 0; random < 1000000; random += 1009) {
        int64_t at = staples_refresh(NOW, NOW + 7 * DAY, NOW, random);
        assert_in_range(at, NOW + 7 * DAY / 2, NOW + 7 * DAY * 6 / 10 + 1);           /* its middle, not all at once */
        assert_int_equal(staples_refresh(NOW, NOW + 7 * DAY, NOW - DAY, random), at); /* a clock that goes back */
    }
    assert_int_not_equal(staples_refresh(NOW, NOW + 7 * DAY, NOW, 1), staples_refresh(NOW, NOW + 7 * DAY, NOW, 2));
    assert_int_equal(staples_refresh(NOW - 6 * DAY, NOW + DAY, NOW, 0), NOW + HOUR); /* an old one of a cache */
    assert_int_equal(staples_refresh(NOW - DAY, NOW + 800, NOW, 0), NOW + 100);
    assert_int_equal(staples_refresh(NOW - DAY, NOW, NOW, 0), NOW + 1);
    assert_int_equal(staples_refresh(NOW - DAY, NOW - 9, NOW, 0), NOW + 1);
    assert_int_equal(staples_refresh(NOW, NOW, NOW + 1, 7), NOW + 2);
}

static void test_pauses_after_failures(void **state) {
    (void)state;
    assert_int_equal(staples_pause(5, 0, 0), 5);
    assert_int_equal(staples_pause(HOUR, 7 * DAY, 0), HOUR);
    assert_int_equal(staples_pause(1280, 80, 0), 10); /* an eighth of what is left */
    assert_int_equal(staples_pause(1280, 3, 0), 1);
    for (uint64_t random = 0; random < 100000; random += 97)
        assert_in_range(staples_pause(HOUR, 0, random), HOUR, HOUR + HOUR / 4);
}

static X509 *ca, *leaf;
static EVP_PKEY *key;

static int make_all(void **state) {
    (void)state;
    key = make_key("EC:P-256");
    ca = make_cert(key, &(struct make_spec){.cn = "CA", .ca = true});
    leaf = make_cert(key, &(struct make_spec){.cn = "a", .issuer = ca, .issuer_key = key});
    return 0;
}

static int free_all(void **state) {
    (void)state;
    X509_free(leaf);
    X509_free(ca);
    EVP_PKEY_free(key);
    return 0;
}

static void test_the_request(void **state) {
    (void)state;
    const struct ocsp_subject s = {leaf, ca, NULL, "a.pem"};
    uint8_t *der = NULL;
    size_t len = 0;
    assert_int_equal(ocsp_request(&s, &der, &len), 0);
    const uint8_t *p = der;
    OCSP_REQUEST *q = d2i_OCSP_REQUEST(NULL, &p, (long)len);
    assert_non_null(q);
    assert_ptr_equal(p, der + len);
    assert_int_equal(OCSP_request_onereq_count(q), 1);
    OCSP_CERTID *ours = OCSP_cert_to_id(EVP_sha1(), leaf, ca);
    assert_int_equal(OCSP_id_cmp(OCSP_onereq_get0_id(OCSP_request_onereq_get0(q, 0)), ours), 0);
    assert_int_equal(OCSP_request_is_signed(q), 0);
    assert_int_equal(OCSP_REQUEST_get_ext_count(q), 0);
    OCSP_CERTID_free(ours);
    OCSP_REQUEST_free(q);
    OPENSSL_free(der);
}

static int responder_of(const char *access, char to[static OCSP_URL_MAX]) {
    X509 *x = make_cert(key, &(struct make_spec){.cn = "x", .issuer = ca, .issuer_key = key});
    if (access)
        make_extension(x, NID_info_access, access);
    int err = ocsp_responder(x, to);
    X509_free(x);
    return err;
}

static void test_who_is_asked(void **state) {
    (void)state;
    char url[OCSP_URL_MAX], longest[OCSP_URL_MAX + 64] = "OCSP;URI:http://a/";
    assert_int_equal(responder_of(NULL, url), ERR_NOT_FOUND);
    assert_int_equal(responder_of("caIssuers;URI:http://a.example/ca.der", url), ERR_NOT_FOUND);
    assert_int_equal(responder_of("OCSP;URI:http://o.example/x?y", url), 0);
    assert_string_equal(url, "http://o.example/x?y");
    assert_int_equal(responder_of("OCSP;URI:HTTP://o.example", url), 0);
    assert_int_equal(responder_of("OCSP;URI:https://o.example/", url), ERR_NOT_FOUND);
    assert_int_equal(responder_of("OCSP;URI:ldap://o.example/", url), ERR_NOT_FOUND);
    assert_int_equal(responder_of("OCSP;URI:file:///etc/passwd", url), ERR_NOT_FOUND);
    assert_int_equal(responder_of("OCSP;URI:http://o.example/a b", url), ERR_NOT_FOUND);
    assert_int_equal(responder_of("OCSP;URI:http://", url), ERR_NOT_FOUND);
    assert_int_equal(responder_of("OCSP;URI:ldap://o.example/,OCSP;URI:http://second.example/", url), 0);
    assert_string_equal(url, "http://second.example/");
    memset(longest + strlen(longest), 'x', OCSP_URL_MAX - strlen("http://a/") - 1);
    assert_int_equal(responder_of(longest, url), 0);
    longest[strlen(longest)] = 'x';
    assert_int_equal(responder_of(longest, url), ERR_NOT_FOUND);
}

static void test_who_issued_it(void **state) {
    (void)state;
    X509 *other = make_cert(key, &(struct make_spec){.cn = "Other", .ca = true});
    STACK_OF(X509) *others = sk_X509_new_null();
    assert_null(ocsp_issuer(leaf, others));
    assert_ptr_equal(ocsp_issuer(ca, others), ca);
    assert_true(sk_X509_push(others, other) == 1);
    assert_null(ocsp_issuer(leaf, others));
    assert_true(sk_X509_push(others, ca) == 2); /* chains in the wrong order are served, too */
    assert_ptr_equal(ocsp_issuer(leaf, others), ca);
    sk_X509_free(others);
    X509_free(other);
}

static void test_names_of_files(void **state) {
    (void)state;
    char name[OCSP_FILE_NAME_MAX];
    assert_int_equal(ocsp_file_name(span_str("abc"), name), 0);
    assert_string_equal(name, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad.ocsp");
}

static void test_an_answer_without_an_end(void **state) {
    (void)state;
    assert_int_equal(ocsp_fetched_until(&(struct ocsp_answer){.from = NOW, .until = NOW + 9 * DAY}), NOW + 9 * DAY);
    assert_int_equal(ocsp_fetched_until(&(struct ocsp_answer){.from = NOW}), NOW + DAY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_when_it_is_fetched_again),
        cmocka_unit_test(test_pauses_after_failures),
        cmocka_unit_test(test_the_request),
        cmocka_unit_test(test_who_is_asked),
        cmocka_unit_test(test_who_issued_it),
        cmocka_unit_test(test_names_of_files),
        cmocka_unit_test(test_an_answer_without_an_end),
    };
    return cmocka_run_group_tests(tests, make_all, free_all);
}
