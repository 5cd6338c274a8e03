/* Chains of clients: revocation around the CA, how much of a chain is looked at, how strong it is, and rules that change
 * meanwhile. */
#include <openssl/core_names.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "handshake_talk.h"
#include "tls/client_auth.h"

#define HOUR  3600L
#define DEPTH 2

static X509 *root, *middle;
static EVP_PKEY *root_key, *middle_key, *robot_key;
static X509 *robot, *low_robot; /* of ROOT, and of MIDDLE */
static struct tls_server *strict;

static X509 *issue(EVP_PKEY *key, const char *cn, X509 *issuer, EVP_PKEY *issuer_key, bool is_ca) {
    return make_cert(key, &(struct make_spec){.cn = cn, .issuer = issuer, .issuer_key = issuer_key, .ca = is_ca});
}

/* ---- CRLs ---- */

struct crl_spec {
    X509 *issuer;
    EVP_PKEY *key;
    const char *scope; /* issuingDistributionPoint */
    X509 *revoked;
    bool stale;
};

static X509_CRL *make_crl(const struct crl_spec *spec) {
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *from = X509_gmtime_adj(NULL, -2 * HOUR), *until = X509_gmtime_adj(NULL, spec->stale ? -HOUR : HOUR);
    X509_CRL_set_version(crl, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(spec->issuer));
    X509_CRL_set1_lastUpdate(crl, from);
    X509_CRL_set1_nextUpdate(crl, until);
    if (spec->revoked) {
        X509_REVOKED *r = X509_REVOKED_new();
        X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(spec->revoked));
        X509_REVOKED_set_revocationDate(r, from);
        X509_CRL_add0_revoked(crl, r);
    }
    if (spec->scope) {
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_issuing_distribution_point, spec->scope);
        make_must(e && X509_CRL_add_ext(crl, e, -1) == 1, spec->scope);
        X509_EXTENSION_free(e);
    }
    X509_CRL_sort(crl);
    make_must(X509_CRL_sign(crl, spec->key, EVP_sha256()) > 0, "CRL");
    ASN1_TIME_free(from);
    ASN1_TIME_free(until);
    return crl;
}

/* Rules with CA as the anchor and up to two CRLs. */
static struct client_auth *rules(X509 *ca, const struct crl_spec *crls, size_t ncrls) {
    char said[256];
    struct text why = text_of(said, sizeof(said));
    uint8_t *ca_der = NULL, *crl_der[2] = {NULL, NULL};
    struct span ca_span = {NULL, 0}, crl_spans[2];
    int len = i2d_X509(ca, &ca_der);
    make_must(len > 0 && ncrls <= 2, "CA");
    ca_span = span_of(ca_der, (size_t)len);
    for (size_t i = 0; i < ncrls; i++) {
        X509_CRL *crl = make_crl(&crls[i]);
        len = i2d_X509_CRL(crl, &crl_der[i]);
        make_must(len > 0, "CRL");
        crl_spans[i] = span_of(crl_der[i], (size_t)len);
        X509_CRL_free(crl);
    }
    struct client_policy p = {.required = true, .ca = &ca_span, .nca = 1, .crl = crl_spans, .ncrl = ncrls, .depth = DEPTH};
    struct client_auth *a = client_auth_new(&p, &why);
    make_must(a != NULL, said);
    OPENSSL_free(ca_der);
    OPENSSL_free(crl_der[0]);
    OPENSSL_free(crl_der[1]);
    return a;
}

static void use(X509 *ca, const struct crl_spec *crls, size_t ncrls) {
    assert_int_equal(tls_server_use_clients(strict, rules(ca, crls, ncrls)), 0);
}

static int all_setup(void **state) {
    setup(state);
    root_key = make_key("EC:P-256");
    middle_key = make_key("EC:P-256");
    robot_key = make_key("EC:P-256");
    root = issue(root_key, "root", NULL, NULL, true);
    middle = issue(middle_key, "middle", root, root_key, true);
    robot = issue(robot_key, "robot", root, root_key, false);
    low_robot = issue(robot_key, "low robot", middle, middle_key, false);
    struct tls_policy p = service_policy("strict");
    p.clients = rules(root, NULL, 0);
    strict = service_new(&p, certs, tickets);
    return 0;
}

static int all_teardown(void **state) {
    tls_server_free(strict);
    X509 *all[] = {root, middle, robot, low_robot};
    EVP_PKEY *keys[] = {root_key, middle_key, robot_key};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        X509_free(all[i]);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        EVP_PKEY_free(keys[i]);
    return teardown(state);
}

static int each_teardown(void **state) {
    (void)!tls_server_use_clients(strict, rules(root, NULL, 0));
    return clean_up(state);
}

/* The client will show CERT, with MORE certificates that are all OTHER. */
static void client_shows(X509 *cert, EVP_PKEY *key, X509 *other, size_t more) {
    SSL_set_security_level(client, 0);
    client_sigalgs("RSA+SHA1:RSA+SHA256:rsa_pss_rsae_sha256:ECDSA+SHA256:ed25519");
    assert_int_equal(SSL_use_certificate(client, cert), 1);
    assert_int_equal(SSL_use_PrivateKey(client, key), 1);
    for (size_t i = 0; i < more; i++)
        assert_int_equal(SSL_add1_chain_cert(client, other), 1);
}

/* The reason, or 0. */
static int reason_for(uint16_t version, X509 *cert, EVP_PKEY *key, X509 *other, size_t more) {
    uint8_t alert = 0;
    client_speaks(version);
    client_shows(cert, key, other, more);
    meet(strict);
    return shake() == STEP_DONE ? 0 : handshake_error(hs, &alert);
}

static void comes_in(X509 *cert, X509 *other) {
    for (size_t v = 0; v < 2; v++) {
        int reason = reason_for(both_versions[v], cert, robot_key, other, other ? 1 : 0);
        if (reason)
            fail_msg("%s: %s", err_name(reason), handshake_detail(hs));
        leave_libssl();
        assert_non_null(result.client);
        leave();
    }
}

static void stays_out(int reason, X509 *cert, X509 *other) {
    for (size_t v = 0; v < 2; v++) {
        int found = reason_for(both_versions[v], cert, robot_key, other, other ? 1 : 0);
        if (found != reason)
            fail_msg("%s instead of %s: %s", err_name(found), err_name(reason), handshake_detail(hs));
        leave();
    }
}

/* ---- revocation ---- */

static void diagnostics_about_the_anchors_own_revocation_do_not_count(void **state) {
    static const char *const scopes[] = {"critical,onlyuser:TRUE", NULL};
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        struct crl_spec own = {root, root_key, scopes[i], NULL, false};
        use(root, &own, 1);
        comes_in(robot, NULL);
        own.revoked = robot;
        use(root, &own, 1);
        stays_out(ERR_CLIENT_CERT_REVOKED, robot, NULL);
    }
    /* an intermediate as the anchor, and what its issuer says of it: nothing, too late, in parts */
    struct crl_spec pair[2] = {{middle, middle_key, NULL, NULL, false}, {root, root_key, NULL, NULL, true}};
    use(middle, pair, 1);
    comes_in(low_robot, NULL);
    use(middle, pair, 2);
    comes_in(low_robot, NULL);
    pair[1] = (struct crl_spec){root, root_key, "critical,onlysomereasons:keyCompromise", NULL, false};
    use(middle, pair, 2);
    comes_in(low_robot, NULL);
    pair[1] = (struct crl_spec){middle, root_key, NULL, NULL, false}; /* in the anchor's name, by somebody else */
    use(middle, &pair[1], 1);
    stays_out(ERR_CLIENT_CRL_MISSING, low_robot, NULL);
}

static void below_the_anchor_everything_counts(void **state) {
    static const char *const scopes[] = {"critical,onlyCA:TRUE", "critical,onlysomereasons:keyCompromise",
                                         "critical,indirectCRL:TRUE", "critical,onlyAA:TRUE"};
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        struct crl_spec own = {root, root_key, scopes[i], NULL, false};
        use(root, &own, 1);
        stays_out(ERR_CLIENT_CRL_MISSING, robot, NULL);
    }
    struct crl_spec stale = {root, root_key, "critical,onlyuser:TRUE", NULL, true};
    use(root, &stale, 1);
    stays_out(ERR_CLIENT_CRL_STALE, robot, NULL);
    struct crl_spec user_only[2] = {{root, root_key, "critical,onlyuser:TRUE", NULL, false},
                                    {middle, middle_key, NULL, NULL, false}};
    use(root, user_only, 2); /* an intermediate is no user */
    stays_out(ERR_CLIENT_CRL_MISSING, low_robot, middle);
    user_only[0].scope = NULL;
    use(root, user_only, 2);
    comes_in(low_robot, middle);
    user_only[0].revoked = middle;
    use(root, user_only, 2);
    stays_out(ERR_CLIENT_CERT_REVOKED, low_robot, middle);
}

/* Trust in a CA that its own issuer has revoked, in words, is no oversight to be forgiven. */
static void an_anchor_that_a_crl_names_is_not_trusted(void **state) {
    struct crl_spec own = {root, root_key, NULL, root, false};
    use(root, &own, 1);
    stays_out(ERR_CLIENT_CERT_REVOKED, robot, NULL);
}

/* ---- how much is looked at ---- */

static void a_chain_longer_than_depth_allows_is_not_decoded(void **state) {
    for (size_t v = 0; v < 2; v++) {
        assert_int_equal(reason_for(both_versions[v], robot, robot_key, root, DEPTH + CLIENT_CHAIN_SPARE - 1), 0);
        leave();
        for (size_t more = DEPTH + CLIENT_CHAIN_SPARE; more < 60; more += 25) {
            char said[64];
            assert_int_equal(reason_for(both_versions[v], robot, robot_key, root, more), ERR_CLIENT_CERT_DEPTH);
            snprintf(said, sizeof(said), "found %zu certificates, expected at most %d", more + 1, DEPTH + CLIENT_CHAIN_SPARE);
            assert_string_equal(handshake_detail(hs), said); /* a chain that was judged has another detail */
            answer_client();
            char byte;
            (void)SSL_do_handshake(client);
            assert_true(SSL_read(client, &byte, 1) <= 0);
            assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_SSLV3_ALERT_BAD_CERTIFICATE);
            leave();
        }
    }
}

/* Many large ones are stopped by their bytes before they are read. */
static void a_chain_of_many_bytes_is_not_read(void **state) {
    char wide[16384] = "DNS:a.example.org";
    for (int i = 0; i < 300; i++)
        snprintf(wide + strlen(wide), sizeof(wide) - strlen(wide), ",DNS:some-rather-long-name-%03d.example.org", i);
    X509 *large = make_cert(robot_key, &(struct make_spec){.cn = "large", .san = wide, .issuer = root, .issuer_key = root_key});
    for (size_t v = 0; v < 2; v++) {
        assert_int_equal(reason_for(both_versions[v], robot, robot_key, large, 3), ERR_CLIENT_CERT_LARGE);
        leave();
    }
    X509_free(large);
}

/* ---- strength ---- */

static void weak_clients_are_refused_whatever_the_configuration_file_says(void **state) {
    EVP_PKEY *small = make_key("RSA:1024"), *weak_ca_key = make_key("RSA:1024");
    X509 *of_small = issue(small, "small", root, root_key, false);
    X509 *sha1 = issue(robot_key, "old", root, root_key, false);
    X509 *weak_ca = issue(weak_ca_key, "weak", root, root_key, true);
    X509 *of_weak = issue(robot_key, "below", weak_ca, weak_ca_key, false);
    make_must(X509_sign(sha1, root_key, EVP_sha1()) > 0, "SHA-1");
    for (size_t v = 0; v < 2; v++) {
        uint16_t version = both_versions[v];
        assert_int_equal(reason_for(version, of_small, small, NULL, 0), ERR_CLIENT_CERT_WEAK);
        leave();
        assert_int_equal(reason_for(version, sha1, robot_key, NULL, 0), ERR_CLIENT_CERT_WEAK);
        leave();
        assert_int_equal(reason_for(version, of_weak, robot_key, weak_ca, 1), ERR_CLIENT_CERT_WEAK);
        leave();
    }
    X509 *all[] = {of_small, sha1, weak_ca, of_weak};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        X509_free(all[i]);
    EVP_PKEY_free(small);
    EVP_PKEY_free(weak_ca_key);
}

/* ---- rules that change while a handshake is under way ---- */

static const struct crl_spec *revokes_robot(void) {
    static struct crl_spec spec;
    spec = (struct crl_spec){root, root_key, NULL, robot, false};
    return &spec;
}

static void alert_says_revoked(void) {
    answer_client();
    char byte;
    ERR_clear_error();
    (void)SSL_do_handshake(client);
    (void)SSL_read(client, &byte, 1);
    assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED);
}

/* The client has our flight and has not answered yet. */
static void a_crl_counts_that_comes_before_the_certificate(void **state) {
    for (size_t v = 0; v < 2; v++) {
        uint8_t alert;
        client_speaks(both_versions[v]);
        client_shows(robot, robot_key, NULL, 0);
        meet(strict);
        assert_int_equal(step_all(), STEP_WANT_READ);
        use(root, revokes_robot(), 1);
        assert_int_equal(shake(), STEP_FAILED);
        assert_int_equal(handshake_error(hs, &alert), ERR_CLIENT_CERT_REVOKED);
        alert_says_revoked();
        leave();
        use(root, NULL, 0);
    }
}

/* Takes all that the client has said but its last record, its Finished. */
static void take_all_but_the_last_record(void) {
    struct span s = buf_span(&pending);
    size_t at = 0, last = 0;
    while (at + 5 <= s.len) {
        last = at;
        at += 5 + (size_t)(s.p[at + 3] << 8 | s.p[at + 4]);
    }
    assert_int_equal(step_with(last), STEP_WANT_READ);
}

static void finish_is_refused(void) {
    assert_int_equal(step_all(), STEP_DONE);
    assert_int_equal(handshake_finish(hs, &result), ERR_CLIENT_CERT_REVOKED);
    handshake_alert(hs, ERR_CLIENT_CERT_REVOKED);
    alert_says_revoked();
    leave();
    use(root, NULL, 0);
}

static void a_crl_counts_that_comes_before_the_clients_finished(void **state) {
    for (size_t v = 0; v < 2; v++) {
        client_speaks(both_versions[v]);
        client_shows(robot, robot_key, NULL, 0);
        meet(strict);
        assert_int_equal(step_all(), STEP_WANT_READ);
        answer_client();
        receive_client();
        take_all_but_the_last_record();
        use(root, revokes_robot(), 1);
        finish_is_refused();
    }
}

/* The same, but what is new lets the client in as well. */
static void new_rules_may_let_in_whom_the_old_ones_did(void **state) {
    for (size_t v = 0; v < 2; v++) {
        struct crl_spec other = {root, root_key, NULL, low_robot, false};
        client_speaks(both_versions[v]);
        client_shows(robot, robot_key, NULL, 0);
        meet(strict);
        assert_int_equal(step_all(), STEP_WANT_READ);
        answer_client();
        receive_client();
        take_all_but_the_last_record();
        use(root, &other, 1);
        assert_int_equal(step_all(), STEP_DONE);
        leave_libssl();
        assert_non_null(result.client);
        both_ways(10);
        leave();
        use(root, NULL, 0);
    }
}

static SSL_SESSION *session_of_robot(uint16_t version) {
    client_speaks(version);
    client_shows(robot, robot_key, NULL, 0);
    establish(strict);
    both_ways(10);
    SSL_SESSION *session = SSL_get1_session(client);
    SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    leave();
    return session;
}

static void a_crl_counts_that_comes_while_a_session_is_resumed(void **state) {
    for (size_t v = 0; v < 2; v++) {
        SSL_SESSION *session = session_of_robot(both_versions[v]);
        client_speaks(both_versions[v]);
        assert_int_equal(SSL_set_session(client, session), 1);
        meet(strict);
        assert_int_equal(step_all(), STEP_WANT_READ);
        answer_client();
        receive_client();
        take_all_but_the_last_record();
        use(root, revokes_robot(), 1);
        finish_is_refused();
        SSL_SESSION_free(session);
    }
}

static void a_second_hello_is_held_against_the_rules_of_its_time(void **state) {
    SSL_SESSION *session = session_of_robot(TLS_1_3);
    uint8_t alert;
    client_speaks(TLS_1_3);
    client_groups("P-521:P-384");
    client_shows(robot, robot_key, NULL, 0);
    assert_int_equal(SSL_set_session(client, session), 1);
    meet(strict);
    assert_int_equal(step_all(), STEP_WANT_READ); /* our HelloRetryRequest */
    use(root, revokes_robot(), 1);
    assert_int_equal(shake(), STEP_FAILED); /* so it was not resumed */
    assert_int_equal(handshake_error(hs, &alert), ERR_CLIENT_CERT_REVOKED);
    assert_false(SSL_session_reused(client));
    SSL_SESSION_free(session);
}

/* What the old set issued afterwards is of the old set. */
static void a_ticket_issued_under_old_rules_is_not_taken_later(void **state) {
    for (size_t v = 0; v < 2; v++) {
        struct crl_spec other = {root, root_key, NULL, low_robot, false};
        SSL_SESSION *session = session_of_robot(both_versions[v]);
        use(root, &other, 1);
        client_speaks(both_versions[v]);
        client_shows(robot, robot_key, NULL, 0);
        assert_int_equal(SSL_set_session(client, session), 1);
        establish(strict);
        assert_false(result.resumed);
        leave();
        SSL_SESSION_free(session);
        use(root, NULL, 0);
    }
}

/* A configuration file of the starter's that would let in everybody; libssl reads it when it is first used. */
static void write_openssl_conf(char path[static 64]) {
    static const char text[] = "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = weak\n"
                               "[weak]\nCipherString = DEFAULT:@SECLEVEL=0\n";
    snprintf(path, 64, "/tmp/tls-off-test-XXXXXX");
    int fd = mkstemp(path);
    make_must(fd >= 0 && write(fd, text, sizeof(text) - 1) == (ssize_t)sizeof(text) - 1 && close(fd) == 0, path);
    make_must(setenv("OPENSSL_CONF", path, 1) == 0, path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(diagnostics_about_the_anchors_own_revocation_do_not_count, each_teardown),
        cmocka_unit_test_teardown(below_the_anchor_everything_counts, each_teardown),
        cmocka_unit_test_teardown(an_anchor_that_a_crl_names_is_not_trusted, each_teardown),
        cmocka_unit_test_teardown(a_chain_longer_than_depth_allows_is_not_decoded, each_teardown),
        cmocka_unit_test_teardown(a_chain_of_many_bytes_is_not_read, each_teardown),
        cmocka_unit_test_teardown(weak_clients_are_refused_whatever_the_configuration_file_says, each_teardown),
        cmocka_unit_test_teardown(a_crl_counts_that_comes_before_the_certificate, each_teardown),
        cmocka_unit_test_teardown(a_crl_counts_that_comes_before_the_clients_finished, each_teardown),
        cmocka_unit_test_teardown(new_rules_may_let_in_whom_the_old_ones_did, each_teardown),
        cmocka_unit_test_teardown(a_crl_counts_that_comes_while_a_session_is_resumed, each_teardown),
        cmocka_unit_test_teardown(a_second_hello_is_held_against_the_rules_of_its_time, each_teardown),
        cmocka_unit_test_teardown(a_ticket_issued_under_old_rules_is_not_taken_later, each_teardown),
    };
    char conf[64];
    write_openssl_conf(conf);
    int failed = cmocka_run_group_tests(tests, all_setup, all_teardown);
    (void)unlink(conf); /* only rubbish stays */
    return failed;
}
