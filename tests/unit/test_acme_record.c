/* Records of dns-persist-01 as operators publish them, and the look at name servers' answers. */
#include "cli/acme_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/dns_txt.h"

#define THUMBPRINT "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"

static void assert_value(struct acme_record r, const char *wanted) {
    char value[1024];
    struct text t = text_of(value, sizeof(value));
    acme_record_value(&r, &t);
    assert_string_equal(value, wanted);
}

/* The vector of draft-ietf-acme-dns-persist-02, 10.2. */
static void test_values(void **state) {
    (void)state;
    struct acme_record r = {.domain = "authority.example",
                            .account = "https://ca.example/acct/123",
                            .thumbprint = THUMBPRINT,
                            .hash_prefix = "https://ca.example/account-hash/",
                            .name = "example.com"};
    assert_value(r, "authority.example; "
                    "accounturi=https://ca.example/account-hash/sha-256/5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw");
    r.name = "*"; /* the vector of its other form */
    assert_value(r, "authority.example; "
                    "accounturi=https://ca.example/account-hash/sha-256/NpDnSwUthQK8zCgFdefYxAdAVPnygMLbs9US6oO-5ug");
    r.hash_prefix = ""; /* -01 */
    r.wildcard = true;
    assert_value(r, "authority.example; accounturi=https://ca.example/acct/123; policy=wildcard");
}

static void test_quotes(void **state) {
    (void)state;
    char value[601], quoted[700], wanted[700];
    struct text t = text_of(quoted, sizeof(quoted));
    acme_record_quote("a; b", &t);
    assert_string_equal(quoted, "\"a; b\"");
    memset(value, 'x', 600);
    value[600] = 0;
    t = text_of(quoted, sizeof(quoted));
    acme_record_quote(value, &t);
    (void)snprintf(wanted, sizeof(wanted), "\"%.255s\" \"%.255s\" \"%.90s\"", value, value, value);
    assert_string_equal(quoted, wanted);
}

/* One question; a CNAME, a text of two strings, one of none, an address. */
static const uint8_t answer[] = "\x12\x34\x81\x80\x00\x01\x00\x04\x00\x00\x00\x00"
                                "\x01"
                                "a\x03"
                                "org\x00\x00\x10\x00\x01"
                                "\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x02\xc0\x0c"
                                "\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x3c\x00\x07\x03"
                                "abc\x02"
                                "de"
                                "\x01"
                                "b\x00\x00\x10\x00\x01\x00\x00\x00\x3c\x00\x01\x00"
                                "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x01";
#define ANSWER_LEN (sizeof(answer) - 1)

static char texts[64];

static void note_text(void *ctx, struct span text) {
    (void)ctx;
    size_t n = strlen(texts);
    (void)snprintf(texts + n, sizeof(texts) - n, "[%.*s]", (int)text.len, (const char *)text.p);
}

static void test_answers(void **state) {
    (void)state;
    texts[0] = 0;
    assert_true(dns_txt_read(span_of(answer, ANSWER_LEN), note_text, NULL));
    assert_string_equal(texts, "[abcde][]");
    for (size_t n = 0; n < ANSWER_LEN; n++)
        assert_false(dns_txt_read(span_of(answer, n), note_text, NULL));
    uint8_t bad[ANSWER_LEN];
    memcpy(bad, answer, sizeof(bad));
    bad[12 + 11 + 14 + 12] = 9; /* a string beyond its record */
    assert_false(dns_txt_read(span_of(bad, sizeof(bad)), note_text, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
