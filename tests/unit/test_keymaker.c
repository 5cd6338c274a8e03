/* What the keymaker signs and what it refuses, and which certificates it puts into use. */
#include "keymaker/account.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>

#include <cmocka.h>
#include <jansson.h>
#include <openssl/ecdsa.h>
#include <openssl/hmac.h>

#include "base/base64url.h"
#include "base/err.h"
#include "keymaker/fleet_keys.h"
#include "keymaker/installed.h"
#include "keymaker/jws.h"
#include "keymaker/key_file.h"
#include "make_cert.h"
#include "tls/selfsigned.h"

static char *dir;
static struct accounts accounts;
static const char *names[] = {"www.example.org", "example.org", "192.0.2.7", "2001:db8::7"};
static const char *contacts[] = {"mailto:ops@example.org"};
static struct conf_issuer issuer;
static struct conf_managed cert;
static struct conf_acme conf;
static uint16_t first_issuer;
static char answer[KEYMAKING_BODY_MAX], reason[1024], cert_dir[256];
static struct text why;

#define URL     "https://ca.example/acme/new"
#define ACCOUNT "https://ca.example/acme/account/7"

static int begin(void **state) {
    (void)state;
    dir = make_dir();
    char path[256];
    snprintf(path, sizeof(path), "%s/accounts", dir);
    make_must(mkdir(path, 0700) == 0, path);
    snprintf(cert_dir, sizeof(cert_dir), "%s/web", dir);
    make_must(mkdir(cert_dir, 0700) == 0, cert_dir);
    issuer = (struct conf_issuer){.name = "le", .directory = "https://ca.example/dir", .contact = contacts, .ncontact = 1};
    cert = (struct conf_managed){
        .id = "web", .dir = cert_dir, .names = names, .nnames = ARRAY_LEN(names), .issuers = &first_issuer, .nissuers = 1};
    conf = (struct conf_acme){.dir = dir, .issuers = &issuer, .nissuers = 1, .certs = &cert, .ncerts = 1};
    why = text_of(reason, sizeof(reason));
    memset(&accounts, 0, sizeof(accounts));
    return accounts_init(&accounts, &conf, &why);
}

static int end(void **state) {
    (void)state;
    make_dir_remove(dir);
    return 0;
}

static struct keymaking_request request_of(enum keymaking_op op) {
    struct keymaking_request q = {.op = op, .url = span_str(URL), .nonce = span_str("nonce-1_2")};
    q.account = op == KEYMAKING_ACCOUNT ? span_of(NULL, 0) : span_str(ACCOUNT);
    return q;
}

static int ask(const struct keymaking_request *q) {
    struct text to = text_of(answer, sizeof(answer));
    why = text_of(reason, sizeof(reason));
    return accounts_answer(&accounts, q, &to, &why);
}

/* ---- a reader of JWS that shares nothing with the writer ---- */

static json_t *part(const json_t *jws, const char *name, char *plain, size_t cap) {
    const char *s = json_string_value(json_object_get(jws, name));
    size_t len = 0;
    assert_non_null(s);
    assert_int_equal(base64url_read(span_str(s), (uint8_t *)plain, cap - 1, &len), 0);
    plain[len] = 0;
    return json_loadb(plain, len, 0, NULL);
}

static EVP_PKEY *account_key(void) {
    EVP_PKEY *key = NULL;
    assert_int_equal(key_file_read(make_path(dir, "accounts/le.key"), &key, &why), 0);
    return key;
}

static bool verifies(const json_t *jws, EVP_PKEY *key) {
    char input[80000];
    uint8_t raw[64], *der = NULL;
    size_t len = 0;
    snprintf(input, sizeof(input), "%s.%s", json_string_value(json_object_get(jws, "protected")),
             json_string_value(json_object_get(jws, "payload")));
    assert_int_equal(base64url_read(span_str(json_string_value(json_object_get(jws, "signature"))), raw, 64, &len), 0);
    assert_int_equal(len, 64);
    ECDSA_SIG *sig = ECDSA_SIG_new();
    ECDSA_SIG_set0(sig, BN_bin2bn(raw, 32, NULL), BN_bin2bn(raw + 32, 32, NULL));
    int n = i2d_ECDSA_SIG(sig, &der);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key);
    bool ok = EVP_DigestVerify(ctx, der, (size_t)n, (uint8_t *)input, strlen(input)) == 1;
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);
    ECDSA_SIG_free(sig);
    return ok;
}

/* The payload of the answer, whose header and signature are right. */
static json_t *checked_payload(bool by_jwk) {
    static char header[4096], payload[60000];
    json_t *jws = json_loads(answer, 0, NULL);
    json_t *h = part(jws, "protected", header, sizeof(header));
    EVP_PKEY *key = account_key();
    assert_int_equal(json_object_size(jws), 3);
    assert_int_equal(json_object_size(h), 4);
    assert_string_equal(json_string_value(json_object_get(h, "alg")), "ES256");
    assert_string_equal(json_string_value(json_object_get(h, "url")), URL);
    assert_string_equal(json_string_value(json_object_get(h, "nonce")), "nonce-1_2");
    if (by_jwk)
        assert_string_equal(json_string_value(json_object_get(json_object_get(h, "jwk"), "crv")), "P-256");
    else
        assert_string_equal(json_string_value(json_object_get(h, "kid")), ACCOUNT);
    assert_true(verifies(jws, key));
    json_t *p = part(jws, "payload", payload, sizeof(payload));
    EVP_PKEY_free(key);
    json_decref(h);
    json_decref(jws);
    return p;
}

/* ---- signatures ---- */

static void test_account(void **state) {
    (void)state;
    struct keymaking_request q = request_of(KEYMAKING_ACCOUNT);
    assert_int_equal(ask(&q), 0);
    json_t *p = checked_payload(true);
    assert_true(json_is_true(json_object_get(p, "termsOfServiceAgreed")));
    assert_string_equal(json_string_value(json_array_get(json_object_get(p, "contact"), 0)), contacts[0]);
    assert_null(json_object_get(p, "externalAccountBinding"));
    json_decref(p);
}

static void test_external_account_binding(void **state) {
    (void)state;
    static const char key[] = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"; /* 0123456789abcdef twice */
    char header[1024], jwk[1024], input[4096];
    uint8_t mac[64], expected[64];
    unsigned n = 0;
    size_t len = 0;
    char *file = strdup(make_path(dir, "eab"));
    make_file(file, key, sizeof(key) - 1);
    issuer.eab_kid = "kid-1";
    issuer.eab_key_file = file;
    assert_int_equal(accounts_init(&accounts, &conf, &why), 0);
    struct keymaking_request q = request_of(KEYMAKING_ACCOUNT);
    assert_int_equal(ask(&q), 0);
    json_t *p = checked_payload(true), *eab = json_object_get(p, "externalAccountBinding");
    json_t *h = part(eab, "protected", header, sizeof(header)), *k = part(eab, "payload", jwk, sizeof(jwk));
    assert_string_equal(json_string_value(json_object_get(h, "alg")), "HS256");
    assert_string_equal(json_string_value(json_object_get(h, "kid")), "kid-1");
    assert_string_equal(json_string_value(json_object_get(k, "kty")), "EC");
    snprintf(input, sizeof(input), "%s.%s", json_string_value(json_object_get(eab, "protected")),
             json_string_value(json_object_get(eab, "payload")));
    HMAC(EVP_sha256(), "0123456789abcdef0123456789abcdef", 32, (uint8_t *)input, strlen(input), expected, &n);
    assert_int_equal(base64url_read(span_str(json_string_value(json_object_get(eab, "signature"))), mac, sizeof(mac), &len), 0);
    assert_int_equal(len, n);
    assert_memory_equal(mac, expected, n);
    json_decref(h), json_decref(k), json_decref(p);

    static const char *const bad[] = {"", "short", "not base64url!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        make_file(file, bad[i], strlen(bad[i]));
        why = text_of(reason, sizeof(reason));
        assert_int_not_equal(accounts_init(&accounts, &conf, &why), 0);
        assert_non_null(strstr(reason, file));
    }
    free(file);
}

static void test_payloads(void **state) {
    (void)state;
    struct keymaking_request q = request_of(KEYMAKING_FETCH);
    assert_int_equal(ask(&q), 0);
    assert_null(checked_payload(false)); /* empty, not {} */
    q = request_of(KEYMAKING_CHALLENGE);
    assert_int_equal(ask(&q), 0);
    json_t *p = checked_payload(false);
    assert_int_equal(json_object_size(p), 0);
    json_decref(p);
    uint8_t data[128];
    size_t len = 0;
    const struct keymaking_order o = {.profile = span_str("shortlived"), .replaces = span_str("aki.serial")};
    assert_int_equal(keymaking_pack_order(&o, data, sizeof(data), &len), 0);
    q = request_of(KEYMAKING_ORDER);
    q.data = span_of(data, len);
    assert_int_equal(ask(&q), 0);
    p = checked_payload(false);
    json_t *list = json_object_get(p, "identifiers");
    assert_int_equal(json_array_size(list), ARRAY_LEN(names));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_string_equal(json_string_value(json_object_get(json_array_get(list, i), "value")), names[i]);
        assert_string_equal(json_string_value(json_object_get(json_array_get(list, i), "type")), i < 2 ? "dns" : "ip");
    }
    assert_string_equal(json_string_value(json_object_get(p, "profile")), "shortlived");
    assert_string_equal(json_string_value(json_object_get(p, "replaces")), "aki.serial");
    json_decref(p);
}

static void test_csr(void **state) {
    (void)state;
    uint8_t der[8192];
    size_t len = 0;
    for (unsigned kind = 0; kind < MANAGED_KEYS; kind++) {
        installed_forget_next_key(&cert);
        cert.key = (enum managed_key)kind;
        struct keymaking_request q = request_of(KEYMAKING_FINALIZE);
        assert_int_equal(ask(&q), 0);
        json_t *p = checked_payload(false);
        const char *csr = json_string_value(json_object_get(p, "csr"));
        assert_int_equal(base64url_read(span_str(csr), der, sizeof(der), &len), 0);
        const uint8_t *at = der;
        X509_REQ *r = d2i_X509_REQ(NULL, &at, (long)len);
        EVP_PKEY *key = X509_REQ_get_pubkey(r);
        assert_int_equal(X509_REQ_verify(r, key), 1);
        assert_true(key_file_is(key, cert.key));
        assert_int_equal(X509_NAME_entry_count(X509_REQ_get_subject_name(r)), 0);
        STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(r);
        GENERAL_NAMES *found = X509V3_get_d2i(extensions, NID_subject_alt_name, NULL, NULL);
        assert_int_equal(sk_GENERAL_NAME_num(found), ARRAY_LEN(names));
        GENERAL_NAMES_free(found);
        sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
        X509_REQ_free(r);
        EVP_PKEY *again = NULL; /* asked again, after a crash: the same key */
        assert_int_equal(installed_next_key(&cert, &again, &why), 0);
        assert_int_equal(EVP_PKEY_eq(again, key), 1);
        EVP_PKEY_free(again);
        EVP_PKEY_free(key);
        json_decref(p);
    }
}

/* As many names as a certificate may have, each as long as one may be. */
static void test_the_longest_csr(void **state) {
    (void)state;
    static char longest[CONF_ACME_NAMES_MAX][254];
    static const char *all[CONF_ACME_NAMES_MAX];
    for (size_t i = 0; i < CONF_ACME_NAMES_MAX; i++) {
        memset(longest[i], 'x', 253);
        longest[i][63] = longest[i][127] = longest[i][191] = '.';
        longest[i][0] = (char)('a' + i / 26);
        longest[i][1] = (char)('a' + i % 26);
        all[i] = longest[i];
    }
    cert.names = all;
    cert.nnames = CONF_ACME_NAMES_MAX;
    struct keymaking_request q = request_of(KEYMAKING_FINALIZE);
    cert.key = MANAGED_RSA_4096;
    assert_int_equal(ask(&q), 0);
    json_decref(checked_payload(false));
}

static void test_what_is_not_signed(void **state) {
    (void)state;
    static const char *const urls[] = {"",
                                       "http://ca.example/x",
                                       "https://ca.example/\",\"x\":\"",
                                       "https://ca.example/a b",
                                       "https://ca.example/\\u0041",
                                       "https://ca.example/\n",
                                       "https://ca.example/\xc3\xa4"};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct keymaking_request q = request_of(KEYMAKING_FETCH);
        q.url = span_str(urls[i]);
        assert_int_equal(ask(&q), ERR_FORMAT);
        q = request_of(KEYMAKING_FETCH);
        q.account = span_str(i == 1 ? "" : urls[i]); /* of an account nothing is asked but that it is text */
        assert_int_equal(ask(&q), ERR_FORMAT);
        q = request_of(KEYMAKING_FETCH);
        q.nonce = span_str(i == 1 ? "a\"" : urls[i]);
        assert_int_equal(ask(&q), ERR_FORMAT);
    }
    struct keymaking_request q = request_of(KEYMAKING_ACCOUNT);
    q.account = span_str(ACCOUNT); /* the key alone makes accounts */
    assert_int_equal(ask(&q), ERR_FORMAT);
    uint8_t data[128];
    size_t len = 0;
    const struct keymaking_order o = {.profile = span_str("x\",\"identifiers\":[],\"y\":\"")};
    assert_int_equal(keymaking_pack_order(&o, data, sizeof(data), &len), 0);
    q = request_of(KEYMAKING_ORDER);
    q.data = span_of(data, len);
    assert_int_equal(ask(&q), ERR_FORMAT);
    q = request_of(KEYMAKING_REVOKE);
    q.data = span_str("\x0b");
    assert_int_equal(ask(&q), ERR_FORMAT);
}

static void test_key_change(void **state) {
    (void)state;
    static char inner_header[4096], inner_payload[4096];
    struct keymaking_request q = request_of(KEYMAKING_ROLLOVER);
    assert_int_equal(ask(&q), 0);
    json_t *inner = checked_payload(false);
    json_t *h = part(inner, "protected", inner_header, sizeof(inner_header));
    json_t *p = part(inner, "payload", inner_payload, sizeof(inner_payload));
    EVP_PKEY *next = NULL, *old = account_key();
    assert_int_equal(key_file_read(make_path(dir, "accounts/le.next.key"), &next, &why), 0);
    assert_true(verifies(inner, next));
    assert_null(json_object_get(h, "nonce"));
    assert_string_equal(json_string_value(json_object_get(h, "url")), URL);
    assert_string_equal(json_string_value(json_object_get(p, "account")), ACCOUNT);
    assert_true(json_is_object(json_object_get(p, "oldKey")));
    q = request_of(KEYMAKING_ROLLED_OVER);
    assert_int_equal(ask(&q), 0);
    EVP_PKEY *now = account_key();
    assert_int_equal(EVP_PKEY_eq(now, next), 1);
    assert_int_equal(EVP_PKEY_eq(now, old), 0);
    char *thumbprint = strdup(answer);
    assert_int_equal(strlen(thumbprint), 43);
    assert_int_equal(ask(&q), 0); /* the answer was lost: nothing waits any more, the same key is in force */
    assert_string_equal(answer, thumbprint);
    EVP_PKEY *again = account_key();
    assert_int_equal(EVP_PKEY_eq(again, next), 1);
    q = request_of(KEYMAKING_THUMBPRINT);
    assert_int_equal(ask(&q), 0);
    assert_string_equal(answer, thumbprint);
    free(thumbprint);
    EVP_PKEY_free(now), EVP_PKEY_free(next), EVP_PKEY_free(old), EVP_PKEY_free(again);
    json_decref(h), json_decref(p), json_decref(inner);
}

/* An account is looked for by the key that waits, and nothing else is signed by it alone. */
static void test_a_key_that_waits(void **state) {
    (void)state;
    static char header[4096], payload[4096];
    struct keymaking_request change = request_of(KEYMAKING_ROLLOVER), waits = {.op = KEYMAKING_WAITS},
                             find = request_of(KEYMAKING_FIND);
    EVP_PKEY *next = NULL;
    assert_int_equal(ask(&waits), 0);
    assert_string_equal(answer, ""); /* none */
    find.account = span_of(NULL, 0);
    assert_int_equal(ask(&find), 0);
    assert_string_equal(answer, "");
    assert_int_equal(access(make_path(dir, "accounts/le.next.key"), F_OK), -1);
    assert_int_equal(ask(&change), 0);
    assert_int_equal(key_file_read(make_path(dir, "accounts/le.next.key"), &next, &why), 0);
    assert_int_equal(ask(&waits), 0);
    assert_int_equal(strlen(answer), 43);
    char *thumbprint = strdup(answer);
    assert_int_equal(ask(&find), 0);
    json_t *jws = json_loads(answer, 0, NULL);
    json_t *h = part(jws, "protected", header, sizeof(header)), *p = part(jws, "payload", payload, sizeof(payload));
    assert_true(verifies(jws, next));
    assert_true(json_is_object(json_object_get(h, "jwk")));
    assert_string_equal(payload, "{\"onlyReturnExisting\":true}");
    find.account = span_str(ACCOUNT);
    assert_int_equal(ask(&find), ERR_FORMAT);
    assert_int_equal(ask(&change), 0); /* once more: the same one, the issuer may have it already */
    assert_int_equal(ask(&waits), 0);
    assert_string_equal(answer, thumbprint);
    free(thumbprint);
    EVP_PKEY_free(next);
    json_decref(h), json_decref(p), json_decref(jws);
}

static void test_thumbprint_is_of_the_key(void **state) {
    (void)state;
    char first[64];
    struct keymaking_request q = request_of(KEYMAKING_THUMBPRINT);
    assert_int_equal(ask(&q), 0);
    assert_int_equal(strlen(answer), 43);
    memcpy(first, answer, 44);
    assert_int_equal(ask(&q), 0);
    assert_string_equal(answer, first);
}

/* ---- putting into use ---- */

static EVP_PKEY *ca_key;
static X509 *ca;

static char *pem_of(X509 *a, X509 *b) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *p = NULL;
    PEM_write_bio_X509(bio, a);
    if (b)
        PEM_write_bio_X509(bio, b);
    long len = BIO_get_mem_data(bio, &p);
    char *copy = strndup(p, (size_t)len);
    BIO_free(bio);
    return copy;
}

#define SAN "DNS:www.example.org,DNS:example.org,IP:192.0.2.7,IP:2001:db8::7"

static void make_ca(void) {
    if (ca)
        return;
    ca_key = make_key("EC:P-256");
    ca = make_cert(ca_key, &(struct make_spec){.cn = "ca", .ca = true});
}

/* A chain for KEY (NULL: the one of the order). */
static char *chain_for(EVP_PKEY *key, struct make_spec spec) {
    EVP_PKEY *own = NULL;
    make_ca();
    if (!spec.issuer) {
        spec.issuer = ca;
        spec.issuer_key = ca_key;
    }
    assert_int_equal(installed_next_key(&cert, &own, &why), 0);
    X509 *x = make_cert(key ? key : own, &spec);
    char *pem = pem_of(x, ca);
    X509_free(x);
    EVP_PKEY_free(own);
    return pem;
}

static int put(const char *pem) {
    why = text_of(reason, sizeof(reason));
    return installed_put(&cert, span_str(pem), &why);
}

static struct keymaking_cert inspect(void) {
    static uint8_t ari[KEYMAKING_ARI_MAX];
    struct keymaking_cert c;
    installed_inspect(&cert, ari, &c);
    return c;
}

/* The one that serves until an issuer's is there. */
static void test_our_own_certificate_is_no_issuers(void **state) {
    (void)state;
    int made = 0;
    why = text_of(reason, sizeof(reason));
    assert_int_equal(selfsigned_ensure(make_path(cert_dir, "0"), "a.example.org", 0, &made, &why), 0);
    assert_int_equal(symlink("self-signed.crt", make_path(cert_dir, "0/fullchain.pem")), 0);
    assert_int_equal(symlink("0", make_path(cert_dir, "current")), 0);
    assert_int_equal(symlink("current/fullchain.pem", make_path(cert_dir, "fullchain.pem")), 0);
    struct keymaking_cert c = inspect();
    assert_true(c.not_after > c.not_before); /* it was read */
    assert_false(c.from_issuer);
    assert_int_equal(c.ari.len, 0);
}

static void test_a_chain_is_put_into_use(void **state) {
    (void)state;
    assert_false(inspect().from_issuer);
    for (unsigned i = 1; i <= 4; i++) {
        char link[32] = "", version[32];
        char *pem = chain_for(NULL, (struct make_spec){.cn = "x", .san = SAN});
        assert_int_equal(put(pem), 0);
        assert_true(readlink(make_path(cert_dir, "current"), link, sizeof(link) - 1) > 0);
        snprintf(version, sizeof(version), "%u", i);
        assert_string_equal(link, version);
        struct keymaking_cert c = inspect();
        assert_true(c.from_issuer && c.names_right && c.not_after > c.not_before);
        EVP_PKEY *key = NULL;
        assert_int_equal(key_file_read(make_path(cert_dir, "key.pem"), &key, &why), 0);
        EVP_PKEY_free(key);
        struct stat st;
        assert_int_equal(stat(make_path(cert_dir, "key.pem"), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_not_equal(access(make_path(cert_dir, "next.key"), F_OK), 0);
        assert_int_equal(put(pem), 0); /* the answer was lost, it is asked once more */
        assert_true(readlink(make_path(cert_dir, "current"), link, sizeof(link) - 1) > 0);
        assert_string_equal(link, version);
        free(pem);
    }
    assert_int_not_equal(access(make_path(cert_dir, "2"), F_OK), 0); /* only the one before stays */
    assert_int_equal(access(make_path(cert_dir, "3/key.pem"), F_OK), 0);
}

static void refused(char *pem, const char *because) {
    assert_int_equal(put(pem), ERR_FORMAT);
    if (!strstr(reason, because))
        fail_msg("\"%s\" is not about \"%s\"", reason, because);
    assert_false(inspect().from_issuer);
    free(pem);
}

static void test_chains_that_are_refused(void **state) {
    (void)state;
    EVP_PKEY *other = make_key("EC:P-256");
    X509 *other_ca = make_cert(other, &(struct make_spec){.cn = "other ca", .ca = true});
    refused(chain_for(other, (struct make_spec){.cn = "x", .san = SAN}), "another key");
    refused(chain_for(NULL, (struct make_spec){.cn = "x", .san = "DNS:www.example.org"}), "other names");
    refused(chain_for(NULL, (struct make_spec){.cn = "x", .san = SAN ",DNS:evil.example"}), "other names");
    refused(chain_for(NULL,
                      (struct make_spec){.cn = "x", .san = "DNS:www.example.org,DNS:example.org,IP:192.0.2.7,IP:2001:db8::8"}),
            "other names");
    refused(chain_for(NULL, (struct make_spec){.cn = "x", .san = SAN, .begins_s = -9000, .ends_s = -60}), "expired");
    refused(chain_for(NULL, (struct make_spec){.cn = "x", .san = SAN, .issuer = other_ca, .issuer_key = other}), "not a chain");
    refused(strdup("no certificate"), "issuer");
    refused(strdup(""), "issuer");
    EVP_PKEY *own = NULL;
    assert_int_equal(installed_next_key(&cert, &own, &why), 0);
    X509 *self = make_cert(own, &(struct make_spec){.cn = "x", .san = SAN});
    refused(pem_of(self, NULL), "self-signed");
    X509_free(self), X509_free(other_ca), EVP_PKEY_free(other), EVP_PKEY_free(own);
}

/* A clock that is a day behind: the certificate is not valid yet for us, and right for everybody else. */
static void test_a_clock_that_is_behind(void **state) {
    (void)state;
    char *pem = chain_for(NULL, (struct make_spec){.cn = "x", .san = SAN, .begins_s = 86400, .ends_s = 90 * 86400});
    assert_int_equal(put(pem), 0);
    free(pem);
}

/* One that nobody would take for days does not take the place of one that everybody takes; of any other it does. */
static void test_a_certificate_of_next_week(void **state) {
    (void)state;
    char *now = chain_for(NULL, (struct make_spec){.cn = "x", .san = SAN, .begins_s = -60, .ends_s = 86400});
    assert_int_equal(put(now), 0);
    char *late = chain_for(NULL, (struct make_spec){.cn = "x", .san = SAN, .begins_s = 7 * 86400, .ends_s = 90 * 86400});
    int64_t until = inspect().not_after;
    assert_int_equal(put(late), ERR_FORMAT);
    assert_non_null(strstr(reason, "not valid before tomorrow"));
    assert_int_equal(inspect().not_after, until);
    free(late);
    assert_int_equal(unlink(make_path(cert_dir, "current")), 0); /* nothing is in use */
    late = chain_for(NULL, (struct make_spec){.cn = "x", .san = SAN, .begins_s = 7 * 86400, .ends_s = 90 * 86400});
    assert_int_equal(put(late), 0);
    free(now), free(late);
}

static void test_other_names_are_noticed(void **state) {
    (void)state;
    char *pem = chain_for(NULL, (struct make_spec){.cn = "x", .san = SAN});
    assert_int_equal(put(pem), 0);
    cert.nnames--;
    assert_false(inspect().names_right);
    cert.nnames++;
    cert.key = MANAGED_RSA_2048;
    assert_false(inspect().names_right);
    free(pem);
}

/* No room at any moment: what was in use stays, and the same chain is taken when there is room again. */
static void test_a_full_disk(void **state) {
    (void)state;
    char *first = chain_for(NULL, (struct make_spec){.cn = "x", .san = SAN});
    assert_int_equal(put(first), 0);
    int64_t before = inspect().not_after;
    char *second = chain_for(NULL, (struct make_spec){.cn = "x", .san = SAN, .begins_s = -60, .ends_s = 9000});
    struct rlimit all, none = {.rlim_cur = 16};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &all), 0);
    none.rlim_max = all.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    int err = put(second);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
    assert_int_equal(err, ERR_SYSTEM);
    assert_non_null(strstr(reason, "cannot be written"));
    assert_int_equal(inspect().not_after, before);
    assert_int_equal(put(second), 0);
    assert_int_not_equal(inspect().not_after, before);
    free(first), free(second);
}

static void test_revocation_is_of_the_one_in_use(void **state) {
    (void)state;
    struct keymaking_request q = request_of(KEYMAKING_REVOKE);
    q.data = span_str("\x01");
    assert_int_not_equal(ask(&q), 0); /* there is none */
    char *pem = chain_for(NULL, (struct make_spec){.cn = "x", .san = SAN});
    assert_int_equal(put(pem), 0);
    assert_int_equal(ask(&q), 0);
    json_t *p = checked_payload(false);
    assert_int_equal(json_integer_value(json_object_get(p, "reason")), 1);
    assert_true(strlen(json_string_value(json_object_get(p, "certificate"))) > 300);
    json_decref(p);
    free(pem);
}

/* ---- a fleet ---- */

static struct fleet_keys shared;
static uint8_t sealed[KEYMAKING_DATA_MAX], opened[KEYMAKING_DATA_MAX];

static void share_by(const char *key) {
    static char path[256];
    static struct conf whole;
    snprintf(path, sizeof(path), "%s/storage.key", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(key, 1, 32, f), 32);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0600), 0);
    whole = (struct conf){.acme = conf, .store = {.socket = "/run/redis", .cluster = "c", .key_file = path}};
    why.len = 0;
    assert_int_equal(fleet_keys_init(&shared, &whole, &why), 0);
    shared.conf = &conf;
}

/* OP about VERSION with DATA; the answer is in TO. */
static int ask_shared(enum keymaking_op op, uint64_t version, struct span data, uint8_t *to, size_t *ret_len) {
    static uint8_t body[KEYMAKING_BODY_MAX];
    for (unsigned i = 0; i < 8; i++)
        body[i] = (uint8_t)(version >> (56 - 8 * i));
    if (data.len)
        memcpy(body + 8, data.p, data.len);
    const struct keymaking_request q = {.op = op, .data = span_of(body, 8 + data.len)};
    why.len = 0;
    return fleet_keys_answer(&shared, &q, to, KEYMAKING_DATA_MAX, ret_len, &why);
}

static void test_an_order_key_goes_to_another_instance(void **state) {
    (void)state;
    size_t len = 0, none = 0;
    EVP_PKEY *was = NULL, *is = NULL;
    share_by("0123456789abcdef0123456789abcdef");
    assert_int_equal(ask_shared(KEYMAKING_SEAL_KEY, 1, span_of(NULL, 0), sealed, &len), 0);
    assert_null(memmem(sealed, len, "PRIVATE", 7));
    assert_int_equal(installed_next_key(&cert, &was, &why), 0);
    installed_forget_next_key(&cert);
    assert_int_equal(ask_shared(KEYMAKING_OPEN_KEY, 2, span_of(sealed, len), opened, &none), ERR_CRYPTO);  /* another version */
    assert_int_equal(ask_shared(KEYMAKING_OPEN_CERT, 1, span_of(sealed, len), opened, &none), ERR_CRYPTO); /* another object */
    for (size_t i = 0; i < len; i += 1 + i / 16) {
        sealed[i] ^= 0x40;
        assert_int_equal(ask_shared(KEYMAKING_OPEN_KEY, 1, span_of(sealed, len), opened, &none), ERR_CRYPTO);
        sealed[i] ^= 0x40;
    }
    for (size_t cut = 0; cut < 40; cut++)
        assert_int_equal(ask_shared(KEYMAKING_OPEN_KEY, 1, span_of(sealed, cut), opened, &none), ERR_CRYPTO);
    assert_int_equal(ask_shared(KEYMAKING_OPEN_KEY, 1, span_of(sealed, len), opened, &none), 0);
    assert_int_equal(installed_next_key(&cert, &is, &why), 0);
    assert_int_equal(EVP_PKEY_eq(was, is), 1);
    share_by("another key, also of 32 bytes...");
    assert_int_equal(ask_shared(KEYMAKING_OPEN_KEY, 1, span_of(sealed, len), opened, &none), ERR_CRYPTO);
    assert_non_null(strstr(reason, "another storage_key_file"));
    EVP_PKEY_free(was);
    EVP_PKEY_free(is);
}

static void test_a_certificate_goes_to_another_instance(void **state) {
    (void)state;
    size_t len = 0, old_len = 0, none = 0;
    EVP_PKEY *key = NULL, *other = NULL;
    static uint8_t old[KEYMAKING_DATA_MAX];
    struct conf_issuer two[] = {issuer, issuer};
    uint16_t ordered[] = {1, 0}, turned[] = {0, 1};
    conf.issuers = two;
    conf.nissuers = cert.nissuers = 2;
    cert.issuers = ordered;
    two[1].name = "not it";
    share_by("0123456789abcdef0123456789abcdef");
    assert_int_equal(installed_next_key(&cert, &key, &why), 0);
    char *pem = chain_for(NULL, (struct make_spec){.san = SAN});
    assert_int_equal(ask_shared(KEYMAKING_SEAL_CERT, 2, span_str(pem), old, &old_len), 0);
    assert_int_equal(ask_shared(KEYMAKING_SEAL_CERT, 3, span_str(pem), sealed, &len), 0);
    installed_forget_next_key(&cert);
    assert_int_equal(ask_shared(KEYMAKING_SEAL_CERT, 4, span_str(pem), opened, &none), ERR_NOT_FOUND); /* nobody has its key */
    assert_non_null(strstr(reason, "next.key"));
    assert_int_equal(installed_next_key(&cert, &other, &why), 0);
    assert_int_equal(ask_shared(KEYMAKING_SEAL_CERT, 4, span_str(pem), opened, &none), ERR_FORMAT); /* not that key's */
    for (unsigned again = 0; again < 2; again++) {
        assert_int_equal(ask_shared(KEYMAKING_OPEN_CERT, 3, span_of(sealed, len), opened, &none), 0);
        assert_true(span_eq(span_of(opened, none), span_str(again ? "here" : "le"))); /* who has issued what is in use */
        cert.issuers = turned; /* another instance has other names for them, and another order of the sections */
        two[1].name = "here";
    }
    struct keymaking_cert c = inspect();
    assert_true(c.from_issuer && c.names_right);
    assert_int_equal(c.version, 3);
    assert_int_equal(ask_shared(KEYMAKING_OPEN_CERT, 2, span_of(old, old_len), opened, &none), ERR_FORMAT);
    assert_non_null(strstr(reason, "version 3 was taken before"));
    assert_int_equal(inspect().version, 3);
    EVP_PKEY_free(other);
    assert_int_equal(installed_next_key(&cert, &other, &why), 0);
    char *younger = chain_for(NULL, (struct make_spec){.san = SAN, .begins_s = 60, .ends_s = 90 * 86400});
    assert_int_equal(put(younger), 0); /* ordered without the store: who has issued the older one is of no interest */
    assert_int_equal(ask_shared(KEYMAKING_OPEN_CERT, 3, span_of(sealed, len), opened, &none), 0);
    assert_int_equal(none, 0);
    free(younger);
    free(pem);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}

static void test_an_account_goes_to_another_instance(void **state) {
    (void)state;
    size_t len = 0, n = 0;
    char path[256];
    share_by("0123456789abcdef0123456789abcdef");
    const struct keymaking_request q = request_of(KEYMAKING_THUMBPRINT);
    assert_int_equal(ask(&q), 0);
    char *thumbprint = strdup(answer);
    assert_int_equal(ask_shared(KEYMAKING_SEAL_ACCOUNT, 5, span_str(ACCOUNT), sealed, &len), 0);
    snprintf(path, sizeof(path), "%s/accounts/le.key", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(ask_shared(KEYMAKING_OPEN_ACCOUNT, 5, span_of(sealed, len), opened, &n), 0);
    assert_true(span_eq(span_of(opened, n), span_str(ACCOUNT)));
    assert_int_equal(ask(&q), 0);
    assert_string_equal(answer, thumbprint);
    free(thumbprint);
    assert_int_equal(ask_shared(KEYMAKING_SEAL_ACCOUNT, 4, span_str(ACCOUNT), sealed, &len), 0);
    assert_int_equal(ask_shared(KEYMAKING_OPEN_ACCOUNT, 4, span_of(sealed, len), opened, &n), ERR_FORMAT); /* older */
    assert_int_equal(ask_shared(KEYMAKING_SEAL_ACCOUNT, 0, span_str(ACCOUNT), sealed, &len), ERR_FORMAT);
}

/* A key that waits is of the account before the fleet's. The issuer may have it, and still it takes no place of the fleet's. */
static void test_a_key_that_waits_and_the_fleet(void **state) {
    (void)state;
    size_t len = 0, n = 0;
    const struct keymaking_request thumbprint = request_of(KEYMAKING_THUMBPRINT), change = request_of(KEYMAKING_ROLLOVER),
                                   rolled_over = request_of(KEYMAKING_ROLLED_OVER), waits = request_of(KEYMAKING_WAITS);
    share_by("0123456789abcdef0123456789abcdef");
    assert_int_equal(ask(&change), 0);
    assert_int_equal(ask_shared(KEYMAKING_SEAL_ACCOUNT, 1, span_str(ACCOUNT), sealed, &len), 0);
    assert_int_equal(ask(&change), ERR_UNSUPPORTED); /* others have the key from now on */
    assert_non_null(strstr(reason, "one of a fleet"));
    assert_int_equal(ask(&thumbprint), 0);
    char *fleets = strdup(answer);
    assert_int_equal(ask_shared(KEYMAKING_OPEN_ACCOUNT, 1, span_of(sealed, len), opened, &n), 0);
    assert_int_equal(ask(&waits), 0);
    assert_string_equal(answer, "");
    assert_int_equal(ask(&rolled_over), 0); /* asked before the account was taken */
    assert_string_equal(answer, fleets);
    free(fleets);
}

/* The issuer has taken the key after the account was shared: what the store has is older. */
static void test_a_change_that_was_late(void **state) {
    (void)state;
    size_t len = 0, n = 0;
    const struct keymaking_request change = request_of(KEYMAKING_ROLLOVER), rolled_over = request_of(KEYMAKING_ROLLED_OVER);
    share_by("0123456789abcdef0123456789abcdef");
    assert_int_equal(ask(&change), 0);
    assert_int_equal(ask_shared(KEYMAKING_SEAL_ACCOUNT, 1, span_str(ACCOUNT), sealed, &len), 0);
    assert_int_equal(ask(&rolled_over), 0);
    EVP_PKEY *now = account_key();
    assert_int_equal(ask_shared(KEYMAKING_OPEN_ACCOUNT, 1, span_of(sealed, len), opened, &n), ERR_FORMAT);
    EVP_PKEY *still = account_key();
    assert_int_equal(EVP_PKEY_eq(now, still), 1);
    EVP_PKEY_free(now), EVP_PKEY_free(still);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(account),
        CASE(external_account_binding),
        CASE(payloads),
        CASE(csr),
        CASE(the_longest_csr),
        CASE(what_is_not_signed),
        CASE(key_change),
        CASE(a_key_that_waits),
        CASE(thumbprint_is_of_the_key),
        CASE(our_own_certificate_is_no_issuers),
        CASE(a_chain_is_put_into_use),
        CASE(chains_that_are_refused),
        CASE(a_clock_that_is_behind),
        CASE(a_certificate_of_next_week),
        CASE(other_names_are_noticed),
        CASE(a_full_disk),
        CASE(revocation_is_of_the_one_in_use),
        CASE(an_order_key_goes_to_another_instance),
        CASE(a_certificate_goes_to_another_instance),
        CASE(an_account_goes_to_another_instance),
        CASE(a_key_that_waits_and_the_fleet),
        CASE(a_change_that_was_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
