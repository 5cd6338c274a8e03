/* Which certificate a client of TLS 1.3 is sent, by what it says it can verify (RFC 8446 4.2.3, 4.4.2.2), by both paths; and
 * the sets that decide it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "hs13_raw.h"
#include "tls/chain_sigs.h"

#define PSS256   "\x08\x04"
#define ECDSA256 "\x04\x03"
#define ED25519  "\x08\x07"
#define RSA256   "\x04\x01"
#define SHA1     "\x02\x01\x02\x03"
#define GREASE   "\x0a\x0a"
#define LIST(s)  span_of(s, sizeof(s) - 1)
#define NOT_SENT span_of(NULL, 0)

static struct engine_contexts contexts;
static struct tickets *tickets;
static struct raw_client rc;
static struct raw_hello hello;

static int setup(void **state) {
    (void)state;
    engine_contexts_init(&contexts, engine_find("auto"));
    tickets = service_tickets(1);
    return handshake_own_begin(64) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    tickets_free(tickets);
    engine_contexts_fini(&contexts);
    return 0;
}

/* ---- both paths ---- */

static enum cert_key shown(struct span flight) {
    struct rd r = rd_of(flight);
    while (rd_left(&r)) {
        uint8_t type = rd_u8(&r);
        struct rd body = rd_of(rd_vec24(&r));
        if (type != MSG_CERTIFICATE)
            continue;
        (void)rd_vec8(&body);
        struct rd list = rd_of(rd_vec24(&body));
        struct span der = rd_vec24(&list);
        const uint8_t *p = der.p;
        X509 *leaf = d2i_X509(NULL, &p, (long)der.len);
        enum cert_key key = (enum cert_key)cert_alg_of(leaf).key;
        X509_free(leaf);
        return key;
    }
    return CERT_KEY_NONE;
}

/* The key of the certificate that S sends to this client; CERT_KEY_NONE: it refuses with handshake_failure. */
static enum cert_key sent_by(const struct tls_server *s, struct span sigalgs, struct span sigalgs_cert) {
    static uint8_t scratch[HELLO_MESSAGE_MAX], list[64];
    struct buf out;
    struct hello h;
    struct handshake *hs;
    struct span message;
    size_t wire_len;
    int err = 0;
    raw_open(&rc, &contexts);
    rc.any_version = true;
    buf_init(&out, 512 * 1024);
    raw_hello_usual(&hello);
    raw_share(&rc, &hello, 0x001d);
    struct wr w = wr_of(list, sizeof(list));
    wr_vec16(&w, sigalgs);
    raw_set(&hello, EXT_SIGALGS, wr_written(&w));
    w = wr_of(list, sizeof(list));
    wr_vec16(&w, sigalgs_cert);
    if (sigalgs_cert.len)
        raw_add(&hello, EXT_SIGALGS_CERT, wr_written(&w));
    raw_hello(&rc, &hello);
    struct span in = buf_span(&rc.sent);
    assert_int_equal(hello_find(&(struct hello_scan){0}, in, scratch, &message, &wire_len, &err), STEP_DONE);
    assert_int_equal(hello_parse(message, &h), 0);
    assert_int_equal(tls_server_check(s, &h), 0);
    assert_int_equal(handshake_new(s, &h, &out, NULL, &hs), 0);
    enum step step = handshake_step(hs, &in);
    raw_hear(&rc, &out);
    enum cert_key key = shown(span_of(rc.flight, rc.flight_len));
    assert_int_equal(step, key == CERT_KEY_NONE ? STEP_FAILED : STEP_WANT_READ);
    if (key == CERT_KEY_NONE)
        assert_int_equal(rc.alert, ALERT_HANDSHAKE_FAILURE);
    handshake_free(hs);
    raw_close(&rc);
    buf_fini(&out);
    ERR_clear_error();
    return key;
}

struct row {
    struct span sigalgs, sigalgs_cert;
    enum cert_key wanted;
    bool libssl_refuses; /* it wants at least the leaf to be signed as signature_algorithms_cert says */
};

static void expect_rows(const struct service_chain *chains, size_t nchains, const struct row *rows, size_t nrows) {
    struct certs *certs = service_certs_issued(chains, nchains);
    for (int own = 0; own < 2; own++) {
        struct tls_policy p = service_policy("web");
        p.own_tls13 = own;
        struct tls_server *s = service_new(&p, certs, tickets);
        for (size_t i = 0; i < nrows; i++) {
            enum cert_key wanted = own || !rows[i].libssl_refuses ? rows[i].wanted : CERT_KEY_NONE;
            enum cert_key got = sent_by(s, rows[i].sigalgs, rows[i].sigalgs_cert);
            if (got != wanted)
                fail_msg("row %zu by %s: key %d, expected %d", i, own ? "ours" : "libssl", (int)got, (int)wanted);
        }
        tls_server_free(s);
    }
    certs_free(certs);
}
#define EXPECT(chains, rows) expect_rows(chains, ARRAY_LEN(chains), rows, ARRAY_LEN(rows))

static void the_chain_is_one_that_the_client_can_verify(void **state) {
    (void)state;
    static const struct service_chain crossed[] = {{"EC:P-256", "RSA:2048", NULL}, {"RSA:2048", "EC:P-256", NULL}};
    const struct row rows[] = {
        {LIST(ECDSA256 PSS256), LIST(RSA256), CERT_KEY_EC, false},
        {LIST(ECDSA256 PSS256), LIST(ECDSA256), CERT_KEY_RSA, false},
        {LIST(PSS256 ECDSA256), LIST(ECDSA256 RSA256), CERT_KEY_EC, false}, /* both: our order */
        {LIST(ECDSA256 PSS256), LIST(GREASE SHA1 ECDSA256), CERT_KEY_RSA, false},
        {LIST(ECDSA256 PSS256), NOT_SENT, CERT_KEY_RSA, false}, /* the first list holds for certificates, too */
        {LIST(ECDSA256 PSS256 RSA256), NOT_SENT, CERT_KEY_EC, false},
        {LIST(ECDSA256), NOT_SENT, CERT_KEY_EC, false}, /* of what can prove us nothing fits */
        {LIST(PSS256), NOT_SENT, CERT_KEY_RSA, false},
        {LIST(PSS256), LIST(RSA256), CERT_KEY_RSA, true},
        {LIST(ECDSA256), LIST(ECDSA256), CERT_KEY_EC, true},
        {LIST(ECDSA256 PSS256), LIST(ED25519), CERT_KEY_EC, true},
        {LIST(ECDSA256 PSS256), LIST(SHA1), CERT_KEY_EC, true},
        {LIST(ECDSA256 PSS256), LIST(GREASE), CERT_KEY_EC, true},
        {LIST(ECDSA256 PSS256), LIST(PSS256), CERT_KEY_EC, true}, /* PKCS #1 is another algorithm */
    };
    EXPECT(crossed, rows);
}

static void all_of_the_chain_counts_but_its_root(void **state) {
    (void)state;
    static const struct service_chain chains[] = {{"EC:P-256", "EC:P-384", "RSA:2048"}, {"RSA:2048", "ED25519", "ED25519"}};
    const struct row rows[] = {
        {LIST(ECDSA256 PSS256), LIST(ECDSA256 RSA256), CERT_KEY_EC, false},
        {LIST(ECDSA256 PSS256), LIST(ED25519), CERT_KEY_RSA, false},
        {LIST(ECDSA256 PSS256), LIST(ECDSA256 ED25519), CERT_KEY_RSA, false}, /* whole before half */
        {LIST(ECDSA256 PSS256), LIST(ECDSA256), CERT_KEY_EC, false},          /* half before nothing */
        {LIST(ECDSA256 PSS256), LIST(RSA256), CERT_KEY_EC, true},
        {LIST(PSS256), LIST(ECDSA256), CERT_KEY_RSA, true},
    };
    EXPECT(chains, rows);
    static const struct service_chain half[] = {{"EC:P-256", "RSA:2048", NULL}, {"RSA:2048", "ED25519", "EC:P-256"}};
    const struct row halves[] = {
        {LIST(ECDSA256 PSS256), LIST(ED25519), CERT_KEY_RSA, false}, /* its leaf at least */
        {LIST(ECDSA256 PSS256), LIST(ECDSA256), CERT_KEY_EC, true},
    };
    EXPECT(half, halves);
}

static void pss_is_known_by_its_hash_and_not_by_the_issuers_oid(void **state) {
    (void)state;
    static const struct service_chain chains[] = {{"EC:P-256", "RSA-PSS:2048", NULL}, {"RSA:2048", "RSA:2048", NULL}};
    const struct row rows[] = {
        {LIST(ECDSA256 PSS256), LIST("\x08\x09"), CERT_KEY_EC, false},
        {LIST(ECDSA256 PSS256), LIST(PSS256), CERT_KEY_EC, false},
        {LIST(ECDSA256 PSS256), LIST("\x08\x05" RSA256), CERT_KEY_RSA, false},
    };
    EXPECT(chains, rows);
}

static void one_certificate_is_sent_whatever_it_is(void **state) {
    (void)state;
    static const struct service_chain one[] = {{"EC:P-256", "RSA:2048", NULL}};
    const struct row rows[] = {
        {LIST(ECDSA256), NOT_SENT, CERT_KEY_EC, false},
        {LIST(ECDSA256), LIST(RSA256), CERT_KEY_EC, false},
        {LIST(ECDSA256), LIST(ECDSA256), CERT_KEY_EC, true},
    };
    EXPECT(one, rows);
}

/* ---- the sets ---- */

static X509 *signed_by(const char *issuer, bool self_signed) {
    EVP_PKEY *key = make_key(issuer), *leaf_key = make_key("EC:P-256");
    X509 *ca = make_cert(key, &(struct make_spec){.cn = "authority", .ca = true});
    X509 *leaf = make_cert(leaf_key, &(struct make_spec){.cn = SERVICE_NAME, .issuer = ca, .issuer_key = key});
    EVP_PKEY_free(key);
    EVP_PKEY_free(leaf_key);
    X509_free(self_signed ? leaf : ca);
    return self_signed ? ca : leaf;
}

static void each_algorithm_has_its_schemes(void **state) {
    (void)state;
    static const struct {
        const char *issuer;
        uint16_t schemes[3];
    } rows[] = {
        {"RSA:2048", {0x0401}}, {"RSA-PSS:2048", {0x0804, 0x0809}},
        {"EC:P-256", {0x0403}}, {"EC:P-384", {0x0403}},
        {"ED25519", {0x0807}},  {"ED448", {0x0808}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        X509 *x = signed_by(rows[i].issuer, false);
        unsigned found = 0, expected = 0;
        for (unsigned scheme = 0; scheme <= UINT16_MAX; scheme++) {
            const uint8_t list[] = {(uint8_t)(scheme >> 8), (uint8_t)scheme};
            found += (chain_sigs_listed(span_of(list, 2)) & chain_sigs_of(x)) != 0;
        }
        for (; rows[i].schemes[expected]; expected++) {
            const uint16_t s = rows[i].schemes[expected];
            const uint8_t list[] = {0x0a, 0x0a, (uint8_t)(s >> 8), (uint8_t)s};
            assert_false(chain_sigs_of(x) & ~chain_sigs_listed(span_of(list, 4)));
        }
        assert_int_equal(found, expected);
        X509_free(x);
    }
}

static void what_is_not_known_is_in_no_list(void **state) {
    (void)state;
    static uint8_t all[2 * (UINT16_MAX + 1)];
    EVP_PKEY *key = make_key("RSA:2048");
    X509 *x = make_cert(key, &(struct make_spec){.cn = "old"});
    assert_true(X509_sign(x, key, EVP_sha1()) > 0);
    for (unsigned i = 0; i <= UINT16_MAX; i++) {
        all[2 * i] = (uint8_t)(i >> 8);
        all[2 * i + 1] = (uint8_t)i;
    }
    assert_true(chain_sigs_of(x) & ~chain_sigs_listed(span_of(all, sizeof(all))));
    X509 *empty = X509_new();
    assert_true(chain_sigs_of(empty) & ~chain_sigs_listed(span_of(all, sizeof(all))));
    assert_int_equal(chain_sigs_listed(span_of(NULL, 0)), 0);
    X509_free(empty);
    X509_free(x);
    EVP_PKEY_free(key);
}

static void roots_are_signed_for_nobody(void **state) {
    (void)state;
    STACK_OF(X509) *others = sk_X509_new_null();
    assert_int_equal(chain_sigs_of_issuers(others), 0);
    X509 *root = signed_by("RSA:2048", true), *other = signed_by("ED25519", false);
    assert_true(sk_X509_push(others, root) > 0);
    assert_int_equal(chain_sigs_of_issuers(others), 0);
    assert_true(sk_X509_push(others, other) > 0);
    assert_int_equal(chain_sigs_of_issuers(others), chain_sigs_of(other));
    sk_X509_pop_free(others, X509_free);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_chain_is_one_that_the_client_can_verify),
        cmocka_unit_test(all_of_the_chain_counts_but_its_root),
        cmocka_unit_test(pss_is_known_by_its_hash_and_not_by_the_issuers_oid),
        cmocka_unit_test(one_certificate_is_sent_whatever_it_is),
        cmocka_unit_test(each_algorithm_has_its_schemes),
        cmocka_unit_test(what_is_not_known_is_in_no_list),
        cmocka_unit_test(roots_are_signed_for_nobody),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
