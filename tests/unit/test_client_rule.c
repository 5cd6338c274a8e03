/* Rules of who may come in: what they take, what they must not take, and what is refused in a configuration. */
#include "creds/client_rule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

static bool takes(const char *rule, const char *kind_and_value) {
    char said[256];
    struct text why = text_of(said, sizeof(said));
    struct client_rule r;
    const char *value = NULL;
    enum identity_source by = identity_source_prefix(kind_and_value, &value);
    assert_int_not_equal(by, IDENTITY_NOTHING);
    if (client_rule_read(rule, &r, &why) != 0)
        fail_msg("%s: %s", rule, said);
    return client_rule_takes(&r, by, span_str(value));
}

struct row {
    const char *rule, *name;
    bool taken;
};

static void check_rows(const struct row *rows, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (takes(rows[i].rule, rows[i].name) != rows[i].taken)
            fail_msg("%s %s %s", rows[i].rule, rows[i].taken ? "must take" : "must not take", rows[i].name);
}

static void hosts(void **state) {
    static const struct row rows[] = {
        {"dns:a.example.org", "dns:a.example.org", true},
        {"dns:a.example.org", "dns:A.Example.ORG", true},
        {"dns:A.example.org.", "dns:a.example.org", true},
        {"dns:a.example.org", "dns:a.example.org.", true},
        {"dns:a.example.org", "dns:aa.example.org", false},
        {"dns:a.example.org", "dns:a.example.orgs", false},
        {"dns:a.example.org", "dns:x.a.example.org", false},
        {"dns:a.example.org", "dns:", false},
        {"dns:*.example.org", "dns:a.example.org", true},
        {"dns:*.example.org", "dns:a-b_c.EXAMPLE.org", true},
        {"dns:*.example.org", "dns:example.org", false},
        {"dns:*.example.org", "dns:.example.org", false},
        {"dns:*.example.org", "dns:a.b.example.org", false},
        {"dns:*.example.org", "dns:*.example.org", false}, /* a wildcard of a certificate is no host */
        {"dns:a.example.org", "dns:*.example.org", false},
        {"dns:*.example.org", "dns:a.example.org.evil.net", false},
        {"dns:*.example.org", "dns:evil/a.example.org", false},
        {"dns:*.org", "dns:example.org", true},
        {"dns:localhost", "dns:localhost", true},
        {"dns:a.example.org", "cn:a.example.org", false}, /* kinds are never mixed */
        {"dns:a.example.org", "uri:a.example.org", false},
    };
    check_rows(rows, sizeof(rows) / sizeof(rows[0]));
}

static void uris(void **state) {
    static const struct row rows[] = {
        {"uri:spiffe://example.org/ns/a", "uri:spiffe://example.org/ns/a", true},
        {"uri:spiffe://example.org/ns/a", "uri:spiffe://example.org/ns/A", false},
        {"uri:spiffe://example.org/ns/a", "uri:spiffe://example.org/ns/a/", false},
        {"uri:spiffe://example.org/ns/a/", "uri:spiffe://example.org/ns/a", false},
        {"uri:spiffe://example.org/ns/a/", "uri:spiffe://example.org/ns/a/", true},
        {"uri:spiffe://example.org/ns/a", "uri:spiffe://example.org/ns", false},
        {"uri:spiffe://example.org/ns/a", "uri:spiffe://example.org/ns/a/b", false},
        {"uri:spiffe://example.org", "uri:spiffe://example.org", true},
        {"uri:spiffe://example.org", "uri:spiffe://example.org/a", false},
        {"uri:spiffe://example.org/ns/*", "uri:spiffe://example.org/ns/prod", true},
        {"uri:spiffe://example.org/ns/*", "uri:spiffe://example.org/ns/prod/sa/web", true}, /* at the end: all below */
        {"uri:spiffe://example.org/ns/*", "uri:spiffe://example.org/ns/", false},
        {"uri:spiffe://example.org/ns/*", "uri:spiffe://example.org/ns", false},
        {"uri:spiffe://example.org/ns/*", "uri:spiffe://example.org.evil.net/ns/prod", false},
        {"uri:spiffe://example.org/ns/*", "uri:spiffe://evil.net/spiffe://example.org/ns/prod", false},
        {"uri:spiffe://example.org/*", "uri:spiffe://example.org/a", true},
        {"uri:spiffe://example.org/ns/*/sa/web", "uri:spiffe://example.org/ns/prod/sa/web", true},
        {"uri:spiffe://example.org/ns/*/sa/web", "uri:spiffe://example.org/ns/a/b/sa/web", false},
        {"uri:spiffe://example.org/ns/*/sa/web", "uri:spiffe://example.org/ns//sa/web", false},
        {"uri:spiffe://example.org/ns/*/sa/web", "uri:spiffe://example.org/ns/prod/sa/web2", false},
        {"uri:spiffe://example.org/ns/*/sa/*", "uri:spiffe://example.org/ns/prod/sa/web/2", true},
        {"uri:spiffe://example.org/ns/pre-*-end/x", "uri:spiffe://example.org/ns/pre-1-end/x", true},
        {"uri:spiffe://example.org/ns/pre-*-end/x", "uri:spiffe://example.org/ns/pre--end/x", false},
        {"uri:spiffe://example.org/ns/pre-*", "uri:spiffe://example.org/ns/pre-1/x", true},
        {"uri:spiffe://example.org/ns/pre-*", "uri:spiffe://example.org/ns/pr", false},
        {"uri:urn:uuid:*", "uri:urn:uuid:6e8bc430", true},
        {"uri:urn:uuid:1", "uri:", false},
    };
    check_rows(rows, sizeof(rows) / sizeof(rows[0]));
}

static void subjects(void **state) {
    static const struct row rows[] = {
        {"cn:robot", "cn:robot", true},       {"cn:robot", "cn:Robot", false}, {"cn:robot", "cn:robot2", false},
        {"cn:robot", "ou:robot", false},      {"cn:*", "cn:robot", false},     {"cn:*", "cn:*", true},
        {"cn:a b:c", "cn:a b:c", true},       {"ou:ops", "ou:ops", true},      {"ou:ops", "cn:ops", false},
        {"ou:\xc3\xa9", "ou:\xc3\xa9", true}, {"ou:ops", "ou:", false},
    };
    check_rows(rows, sizeof(rows) / sizeof(rows[0]));
}

/* A zero byte does not end a name. */
static void bytes_behind_a_zero_count(void **state) {
    static const struct {
        const char *rule;
        enum identity_source by;
        struct span value;
    } rows[] = {
        {"cn:robot", IDENTITY_CN, {(const uint8_t *)"robot\0x", 7}},
        {"dns:a.org", IDENTITY_DNS, {(const uint8_t *)"a.org\0.evil", 11}},
        {"uri:x://a/b", IDENTITY_URI, {(const uint8_t *)"x://a/b\0c", 9}},
    };
    char said[256];
    for (size_t i = 0; i < 3; i++) {
        struct text why = text_of(said, sizeof(said));
        struct client_rule r;
        assert_int_equal(client_rule_read(rows[i].rule, &r, &why), 0);
        assert_false(client_rule_takes(&r, rows[i].by, rows[i].value));
    }
}

static void public_keys(void **state) {
    static const char *const rules[] = {
        "spki-sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "spki-sha256:000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
        "spki-sha256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    };
    uint8_t digest[32];
    char said[256];
    for (size_t i = 0; i < sizeof(digest); i++)
        digest[i] = (uint8_t)i;
    for (size_t i = 0; i < 3; i++) {
        struct text why = text_of(said, sizeof(said));
        struct client_rule r;
        assert_int_equal(client_rule_read(rules[i], &r, &why), 0);
        assert_true(client_rule_takes(&r, IDENTITY_SPKI, span_of(digest, 32)));
        assert_false(client_rule_takes(&r, IDENTITY_SPKI, span_of(digest, 31)));
        digest[31] ^= 1;
        assert_false(client_rule_takes(&r, IDENTITY_SPKI, span_of(digest, 32)));
        digest[31] ^= 1;
    }
}

static void what_is_no_rule_is_refused(void **state) {
    static const char *const bad[] = {
        "",
        "robot",
        "dns",
        "DNS:a.org",
        "email:a@b",
        "dns:",
        "cn:",
        "dns:*",
        "dns:*.",
        "dns:*.*.org",
        "dns:a.*.org",
        "dns:a*.org",
        "dns:.a.org",
        "dns:a..org",
        "dns:\xc3\xa9.org",
        "dns:a b.org",
        "uri:example",
        "uri::x",
        "uri:*",
        "uri:spiffe://*/ns/a",
        "uri:spiffe://exam*.org/ns",
        "uri:sp*ffe://example.org/ns",
        "uri:spiffe://example.org/ns/a*b*",
        "uri:spiffe://example.org/ns/**",
        "uri:spiffe://example.org/a b",
        "uri:spiffe://example.org/\xc3\xa9",
        "spki-sha256:",
        "spki-sha256:00",
        "spki-sha256:g00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "spki-sha256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=", /* bits behind the last byte */
        "spki-sha256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        "spki-sha256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8A",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char said[256];
        struct text why = text_of(said, sizeof(said));
        struct client_rule r;
        if (client_rule_read(bad[i], &r, &why) != ERR_FORMAT || why.len == 0)
            fail_msg("\"%s\" must be refused with a word why", bad[i]);
    }
}

static void length_is_bounded(void **state) {
    char long_rule[CLIENT_RULE_MAX + 2], said[256];
    struct text why = text_of(said, sizeof(said));
    struct client_rule r;
    memset(long_rule, 'a', sizeof(long_rule));
    memcpy(long_rule, "cn:", 3);
    long_rule[CLIENT_RULE_MAX + 1] = 0;
    assert_int_equal(client_rule_read(long_rule, &r, &why), ERR_FORMAT);
    long_rule[CLIENT_RULE_MAX] = 0;
    assert_int_equal(client_rule_read(long_rule, &r, &why), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts),
        cmocka_unit_test(uris),
        cmocka_unit_test(subjects),
        cmocka_unit_test(bytes_behind_a_zero_count),
        cmocka_unit_test(public_keys),
        cmocka_unit_test(what_is_no_rule_is_refused),
        cmocka_unit_test(length_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
