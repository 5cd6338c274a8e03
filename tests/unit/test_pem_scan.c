/* Blocks of PEM files: what is one, what looks like one and is reported, what is ignored. */
#include "tls/pem_scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

#define BEGIN "-----BEGIN CERTIFICATE-----\n"
#define END   "-----END CERTIFICATE-----\n"
#define BLOCK BEGIN "AAEC\n" END

static char said[512];

/* The outcome of all of TEXT: the number of blocks, or -1 with SAID. */
static int blocks_of(const char *text, size_t len) {
    struct text why = text_of(said, sizeof(said));
    struct pem_scan s = pem_scan_of(span_of(text, len), "x.pem");
    struct pem_block b;
    enum step step;
    int n = 0;
    while ((step = pem_scan_next(&s, &b, &why)) == STEP_DONE) {
        uint8_t der[64];
        size_t der_len;
        n++;
        assert_int_equal(b.n, n);
        if (pem_block_decode(&b, "x.pem", der, &der_len, &why) < 0)
            return -1;
        assert_int_equal(der_len, 3);
        assert_memory_equal(der, "\0\1\2", 3);
    }
    return step == STEP_EOF ? n : -1;
}

static void blocks_are_read_in_every_usual_dress(void **state) {
    static const struct {
        const char *text;
        int n;
    } cases[] = {
        {"", 0},
        {"nothing here\n", 0},
        {BLOCK, 1},
        {BLOCK BLOCK, 2},
        {BEGIN "AAEC\n-----END CERTIFICATE-----", 1}, /* no end of line at the end */
        {"subject=CN = begin certificate of something\n" BLOCK "Bag Attributes\n" BLOCK, 2},
        {"#-----BEGIN CERTIFICATE-----\n#AAEC\n # -----END CERTIFICATE-----\n" BLOCK, 1}, /* taken out */
        {"\xef\xbb\xbf" BLOCK "\xef\xbb\xbf" BLOCK, 2},                                   /* byte order marks */
        {"-----BEGIN CERTIFICATE-----\r\nAAEC\r\n-----END CERTIFICATE-----\r\n", 1},      /* CR LF */
        {"-----BEGIN CERTIFICATE-----\rAAEC\r-----END CERTIFICATE-----\r", 1},            /* CR alone */
        {"  -----BEGIN CERTIFICATE-----\n  AAEC\n  -----END CERTIFICATE-----  \n", 1},
        {"-----BEGIN CERTIFICATE-----\t \nAA\nEC\n\n-----END CERTIFICATE-----\n", 1},
        {"-----BEGIN SOMETHING NEW-----\nAAEC\n-----END SOMETHING NEW-----\n", 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (blocks_of(cases[i].text, strlen(cases[i].text)) != cases[i].n)
            fail_msg("case %zu: %s", i, said);
}

static void what_looks_like_a_block_is_reported(void **state) {
    static const struct {
        const char *text, *phrase;
    } cases[] = {
        {BLOCK "----BEGIN CERTIFICATE-----\nAAEC\n" END,
         "x.pem: block 2 (line 4) cannot be read: found \"----BEGIN CERTIFICATE-----\""},
        {BLOCK "-----BEGIN CERTIFICATE----\nAAEC\n" END, "block 2 (line 4)"},
        {"\xc2\xa0" BLOCK, "block 1 (line 1) cannot be read: found \"\\xc2\\xa0-----BEGIN CERTIFICATE-----\""},
        {"-----begin certificate-----\nAAEC\n-----end certificate-----\n", "block 1 (line 1)"},
        {"-----Begin Certificate-----\nAAEC\n", "block 1 (line 1)"},
        {"-----BEGINCERTIFICATE-----\nAAEC\n", "block 1 (line 1)"},
        {"-----BEGIN  X509 CERTIFICATE-----\nAAEC\n", "block 1 (line 1)"},
        {"\xe2\x80\x94\xe2\x80\x93-BEGIN CERTIFICATE-\xe2\x80\x94\nAAEC\n", "block 1 (line 1)"}, /* dashes of an editor */
        {"BEGIN CERTIFICATE\nAAEC\n", "block 1 (line 1)"},
        {"------BEGIN CERTIFICATE------\nAAEC\n", "block 1 (line 1)"},
        {"-----BEGIN X509 CRL--\n", "block 1 (line 1)"},
        {"----- BEGIN RSA PRIVATE KEY -----\n", "block 1 (line 1)"},
        {"-----END CERTIFICATE-----\n" BLOCK, "block 1 (line 1)"}, /* its begin was lost */
        {BLOCK "> -----BEGIN CERTIFICATE-----\n> AAEC\n> -----END CERTIFICATE-----\n",
         "x.pem: block 2 (line 4) cannot be read: found \"> -----BEGIN CERTIFICATE-----\""},
        {"issuer=CN = x" BLOCK, "block 1 (line 1) cannot be read: found \"issuer=CN = x-----BEGIN CERTIFICATE-----\""},
        {BEGIN "AAEC-----END CERTIFICATE-----\n" END, "found \"AAEC-----END CERTIFICATE-----\" in it"},
        {"-----END CERTIFICATE----------BEGIN CERTIFICATE-----\n", "block 1 (line 1)"},
        {"text\n" BEGIN "AAEC\n", "block 1 (line 2) cannot be read: found no end, expected \"-----END CERTIFICATE-----\""},
        {BEGIN "AAEC\n" BLOCK, "block 1 (line 1) cannot be read: found \"-----BEGIN CERTIFICATE-----\" in it"},
        {BEGIN "AAEC\n-----END PRIVATE KEY-----\n", "found \"-----END PRIVATE KEY-----\" in it"},
        {BEGIN "AAEC\n----END CERTIFICATE-----\n", "found \"----END CERTIFICATE-----\" in it"},
        {BEGIN "AA\xc2\xa0"
               "EC\n" END,
         "block 1 (line 1) cannot be read: expected base64"},
        {BEGIN "AAECA\n" END, "expected base64"},
        {BEGIN END, "expected base64"},
        {BEGIN, "block 1 (line 1) cannot be read: found no end"},
        {"-----BEGIN CERTIFICATE-----", "block 1 (line 1) cannot be read: found no end"},
        {BEGIN "Proc-Type: 4,ENCRYPTED\n\nAAEC\n" END, "expected base64"},
        {"\xff\xfe-\0-\0", "found text in UTF-16, expected ASCII"},
        {"\xfe\xff", "found text in UTF-16, expected ASCII"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(blocks_of(cases[i].text, strlen(cases[i].text)), -1);
        if (!strstr(said, cases[i].phrase))
            fail_msg("case %zu: %s", i, said);
    }
}

static void labels_give_kinds(void **state) {
    static const struct {
        const char *label;
        enum pem_kind kind;
    } cases[] = {
        {"CERTIFICATE", PEM_CERTIFICATE},
        {"X509 CERTIFICATE", PEM_CERTIFICATE},
        {"TRUSTED CERTIFICATE", PEM_TRUSTED},
        {"PRIVATE KEY", PEM_KEY},
        {"ENCRYPTED PRIVATE KEY", PEM_KEY},
        {"EC PRIVATE KEY", PEM_KEY},
        {"OPENSSH PRIVATE KEY", PEM_KEY},
        {"EC PARAMETERS", PEM_PARAMETERS},
        {"X509 CRL", PEM_CRL},
        {"PKCS7", PEM_OTHER},
        {"CERTIFICATE REQUEST", PEM_OTHER},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[200];
        snprintf(text, sizeof(text), "-----BEGIN %s-----\nAAEC\n-----END %s-----\n", cases[i].label, cases[i].label);
        assert_int_equal(blocks_of(text, strlen(text)), 1);
        assert_true(pem_scan_has(span_str(text), cases[i].kind));
        assert_false(pem_scan_has(span_str(text), (cases[i].kind + 1) % (PEM_OTHER + 1)));
        struct pem_scan s = pem_scan_of(span_str(text), "x.pem");
        struct pem_block b;
        struct text why = text_of(said, sizeof(said));
        assert_int_equal(pem_scan_next(&s, &b, &why), STEP_DONE);
        char again[400];
        assert_true(PEM_TEXT_CAP(&b) <= sizeof(again));
        assert_int_equal(pem_block_text(&b, again), strlen(text));
        assert_string_equal(again, text);
        pem_block_unused(&b, "x.pem", &why);
        assert_non_null(strstr(said, "x.pem: block 1 (line 1), \""));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_read_in_every_usual_dress),
        cmocka_unit_test(what_looks_like_a_block_is_reported),
        cmocka_unit_test(labels_give_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
