/* Services and names that no client can reach are reported, with both services and the line; what can be reached is not. */
#include "conf/check_routes.h"
#include "conf/cross_check.h"
#include "conf/machine_defaults.h"
#include "conf/schema.h"
#include "conf_support.h"

#define ONE           "[service.one]\nlisten = [\"127.0.0.1:7\"]\nbackends = [\"unix:/x\"]\n" /* lines 1 to 3 */
#define TWO           "[service.two]\nlisten = [\"127.0.0.1:7\"]\nbackends = [\"unix:/x\"]\n"
#define THREE         "[service.three]\nlisten = [\"127.0.0.1:7\"]\nbackends = [\"unix:/x\"]\n"
#define PASS          "mode = \"passthrough\"\n"
#define STRICT        "strict_sni = true\n"
#define H2            "alpn = [\"h2\"]\n"
#define BOTH          "alpn = [\"http/1.1\", \"h2\"]\n"
#define MOST_SERVICES 4

/* What each service's certificates say, separated by spaces. */
static const char *names_of[MOST_SERVICES];

static void each_name(void *creds, size_t service, conf_name_fn take, void *ctx) {
    static char all[MOST_SERVICES][256]; /* names live as long as the store */
    struct text t = text_of(all[service], sizeof(all[0]));
    text_add(&t, names_of[service] ? names_of[service] : "");
    for (char *rest = all[service], *name; (name = strtok_r(rest, " ", &rest));)
        take(ctx, name);
}

/* The faults of a configuration whose services have these names. */
static const char *said_of(const char *toml, const char *one, const char *two, const char *three, unsigned *ret_errors) {
    static char text[4096];
    struct conf_capabilities capabilities = *stubs();
    capabilities.each_name = each_name;
    names_of[0] = one;
    names_of[1] = two;
    names_of[2] = three;
    struct diagnostics f;
    diagnostics_init(&f);
    struct load l = {
        .conf = conf_new(), .diagnostics = &f, .capabilities = &capabilities, .file = "t.toml", .dir = "/etc/tls-off"};
    scalar_defaults("", l.conf);
    assert_true(load_schema(&l, toml, strlen(toml)));
    load_environment(&l);
    check_keys(&l);
    check_routes(&l);
    toml_free(l.root);
    diagnostics_close(&f);
    struct text t = text_of(text, sizeof(text));
    text_add(&t, f.text ? f.text : "");
    *ret_errors = f.errors;
    conf_free(l.conf);
    diagnostics_fini(&f);
    return text;
}

static void assert_reached(const char *toml, const char *one, const char *two, const char *three) {
    unsigned errors = 0;
    const char *said = said_of(toml, one, two, three, &errors);
    if (errors || strstr(said, "reach") || strstr(said, "chosen"))
        fail_msg("%s\n-- is reported:\n%s", toml, said);
}

static void assert_reported(const char *toml, const char *one, const char *two, const char *three, unsigned wanted,
                            const char *line) {
    unsigned errors = 0;
    const char *said = said_of(toml, one, two, three, &errors);
    if (!strstr(said, line) || errors != wanted)
        fail_msg("%s\n-- gave %u errors:\n%s\n-- instead of:\n%s", toml, errors, said, line);
}

static void passthrough_beside_termination(void **state) {
    assert_reported(
        ONE TWO PASS, "a.org", NULL, NULL, 1,
        "t.toml:5:10: service.two.listen: service \"two\" can never be chosen at 127.0.0.1:7: service \"one\" takes every "
        "client that no other name belongs to, expected \"names\" for passthrough, an address of its own, or \"strict_sni\"");
    assert_reported(ONE PASS TWO, NULL, "a.org", NULL, 1,
                    "t.toml:2:10: service.one.listen: service \"one\" can never be chosen");
    assert_reported(ONE PASS TWO PASS, NULL, NULL, NULL, 1,
                    "t.toml:6:10: service.two.listen: service \"two\" can never be chosen");
    assert_reported(ONE STRICT TWO THREE PASS, "a.org", "b.org", NULL, 1, "service \"two\" takes every client");
    assert_reported(ONE H2 TWO PASS H2, "a.org", NULL, NULL, 1, "service.two.alpn: has no effect in passthrough mode");
    assert_reached(ONE STRICT TWO PASS, "a.org", NULL, NULL);
    assert_reached(ONE STRICT TWO PASS THREE STRICT, "a.org", NULL, "*.b.org");
    assert_reached(ONE PASS, NULL, NULL, NULL);
}

static void equals(void **state) {
    const char *line =
        "t.toml:5:10: service.two.listen: service \"two\" can never be chosen at 127.0.0.1:7: service \"one\" has its "
        "names and protocols, expected another address, \"names\", certificates for other names, or other protocols";
    assert_reported(ONE TWO, "a.org", "a.org", NULL, 1, line);
    assert_reported(ONE TWO, "a.org b.org", "b.org", NULL, 1, line);
    assert_reported(ONE TWO, NULL, NULL, NULL, 1, line); /* both with the self-signed certificate */
    assert_reported(ONE H2 TWO H2, "a.org", "a.org", NULL, 1,
                    "t.toml:6:10: service.two.listen: service \"two\" can never be chosen");
    assert_reported(ONE BOTH TWO H2, "*.a.org a.org", "a.org", NULL, 1, "t.toml:6:10: service.two.listen");
    assert_reported(ONE TWO THREE, "a.org", "a.org", "a.org", 2, "service \"three\" can never be chosen");
    assert_reached(ONE H2 TWO BOTH, "a.org", "a.org", NULL);
    assert_reached(ONE H2 TWO, "a.org", "a.org", NULL); /* who offers something else alone */
    assert_reached(ONE TWO, "a.org", "*.org", NULL);
    assert_reached(ONE TWO, "a.org", "b.org", NULL);
}

static void a_name_is_lost(void **state) {
    assert_reported(
        ONE TWO, "a.org b.org c.org", "x.org c.org b.org", NULL, 0,
        "t.toml:5:10: warning: service.two.listen: clients of 127.0.0.1:7 that ask for \"b.org\" always reach service \"one\", "
        "never \"two\"\n");
    assert_reported(ONE TWO, "*.org a.org", "*.org b.org", NULL, 0, "ask for \"*.org\" always reach service \"one\"");
    assert_reached(ONE TWO, "*.org a.org", "*.a.org b.org", NULL);
}

static void addresses_are_looked_at_one_by_one(void **state) {
    const char *two = "[service.two]\nlisten = [\"127.0.0.1:8\", \"127.0.0.1:7\"]\nbackends = [\"unix:/x\"]\n";
    char toml[512];
    (void)snprintf(toml, sizeof(toml), ONE "%s", two);
    assert_reported(toml, "a.org", "a.org", NULL, 1, "service \"two\" can never be chosen at 127.0.0.1:7");
    assert_reached("[service.one]\nlisten = [\"0.0.0.0:7\"]\nbackends = [\"unix:/x\"]\n"
                   "[service.two]\nlisten = [\"[::]:7\"]\nbackends = [\"unix:/x\"]\n" PASS,
                   "a.org", NULL, NULL);
    assert_reached("[service.one]\nlisten = [\"127.0.0.1:0\"]\nbackends = [\"unix:/x\"]\n"
                   "[service.two]\nlisten = [\"127.0.0.1:0\"]\nbackends = [\"unix:/x\"]\n",
                   "a.org", "a.org", NULL);
    assert_reported(
        "[service.one]\nlisten = [\"0.0.0.0:7\"]\nbackends = [\"unix:/x\"]\n"
        "[service.two]\nlisten = [\"127.0.0.1:7\"]\nbackends = [\"unix:/x\"]\n" PASS,
        "a.org", NULL, NULL, 1,
        "t.toml:5:11: service.two.listen: found \"127.0.0.1:7\", expected no address that overlaps with \"0.0.0.0:7\" of "
        "service.one.listen\n");
    assert_reported("[service.one]\nlisten = [\"[::ffff:127.0.0.1]:7\"]\nbackends = [\"unix:/x\"]\n" TWO, "a.org", "a.org",
                    NULL, 1, "service \"two\" can never be chosen at 127.0.0.1:7");
}

static void a_certificate_that_a_client_may_go_around(void **state) {
    static const char *const auth = "client_auth = {mode = \"required\", ca = \"c\"}\n";
    char toml[512];
    (void)snprintf(toml, sizeof(toml), ONE "alpn = [\"http/1.1\"]\n" TWO H2 "%s", auth);
    assert_reported(
        toml, "a.org", "b.org a.org", NULL, 0,
        "warning: service.two.client_auth.mode: service \"one\" serves \"a.org\" at 127.0.0.1:7 too and asks less of clients, "
        "who choose between the two by ALPN\n");
    unsigned errors = 0;
    assert_null(strstr(said_of(toml, "*.org", "a.org", NULL, &errors), "asks less"));
}

/* ---- names that are given ---- */

#define NAMES(...) "names = [" __VA_ARGS__ "]\n"

static void names_distinguish(void **state) {
    assert_reached(ONE TWO PASS NAMES("\"db.org\""), "a.org", NULL, NULL);
    assert_reached(ONE PASS NAMES("\"*\"") TWO PASS NAMES("\"db.org\", \"\"") THREE PASS NAMES("\"*.db.org\""), NULL, NULL,
                   NULL);
    assert_reached(ONE NAMES("\"a.org\"") TWO NAMES("\"*.org\"") THREE NAMES("\"**.org\""), "a.org", "*.org", "*.org");
    assert_reached(ONE PASS NAMES("\"a.org\"") "match_alpn = [\"p\"]\n" TWO NAMES("\"a.org\""), NULL, "a.org", NULL);
    assert_reached(ONE PASS NAMES("\"a.org\"") "match_alpn = [\"p\"]\n" TWO PASS NAMES("\"a.org\"") "match_alpn = [\"q\"]\n",
                   NULL, NULL, NULL);
    assert_reached(ONE "names = [\"a.org\"]\n" TWO, "a.org", "b.org", NULL);
}

static void equal_ranks(void **state) {
    assert_reported(
        ONE NAMES("\"a.org\"") TWO NAMES("\"x.org\", \"A.org\""), "a.org", "x.org a.org", NULL, 1,
        "t.toml:8:19: service.two.names: found \"a.org\", which service \"one\" has at 127.0.0.1:7 too, with the same rank "
        "(t.toml:4:10), expected different names, or \"match_alpn\" without a common protocol\n");
    assert_reported(ONE PASS NAMES("\"*\"") TWO NAMES("\"*\""), NULL, "a.org", NULL, 1, "service.two.names: found \"*\"");
    assert_reported(ONE PASS NAMES("\"\"") TWO PASS NAMES("\"\""), NULL, NULL, NULL, 1, "service.two.names: found \"\"");
    assert_reported(ONE PASS NAMES("\"**.a\"") TWO PASS NAMES("\"**.a\""), NULL, NULL, NULL, 1, "found \"**.a\"");
    assert_reported(
        ONE PASS NAMES("\"a\"") "match_alpn = [\"p\", \"q\"]\n" TWO PASS NAMES("\"a\"") "match_alpn = [\"q\", \"r\"]\n", NULL,
        NULL, NULL, 1, "service.two.names: found \"a\"");
    assert_reported(ONE H2 NAMES("\"a.org\"") TWO BOTH NAMES("\"a.org\""), "a.org", "a.org", NULL, 1, "with the same rank");
    assert_reported(ONE NAMES("\"a\"") TWO NAMES("\"a\"") THREE NAMES("\"a\""), "a", "a", "a", 2,
                    "service.three.names: found \"a\"");
}

/* Clients that offer no protocol cannot be distinguished; the others can. */
static void nearly_equal_ranks(void **state) {
    assert_reported(
        ONE H2 NAMES("\"a.org\"") TWO "alpn = [\"p\"]\n" NAMES("\"a.org\""), "a.org", "a.org", NULL, 0,
        "t.toml:10:10: warning: service.two.names: \"a.org\" belongs to service \"one\" at 127.0.0.1:7 too (t.toml:5:10): "
        "clients that offer no protocol (ALPN) go to \"one\", which is first in the file");
    unsigned errors = 0;
    assert_null(strstr(
        said_of(ONE H2 NAMES("\"a.org\"") TWO "match_alpn = [\"p\"]\n" NAMES("\"a.org\""), "a.org", "a.org", NULL, &errors),
        "belongs to"));
}

static void names_that_certificates_lack(void **state) {
    assert_reported(
        ONE NAMES("\"a.org\", \"b.org\", \"c.b.org\""), "a.org *.b.org", NULL, NULL, 0,
        "t.toml:4:19: warning: service.one.names: no certificate of the service has \"b.org\": clients that ask for it "
        "get the default certificate\n");
    assert_reported(ONE STRICT NAMES("\"a.org\", \"b.org\", \"*.x\", \"**.y\""), "z.org", NULL, NULL, 0,
                    "\"a.org\", nor 3 other names: clients that ask for it are refused (\"strict_sni\")");
    unsigned errors = 0;
    assert_null(strstr(said_of(ONE NAMES("\"*\", \"\", \"a.org\", \"*.b.org\", \"**.b.org\", \"x.b.org\""), "a.org *.b.org",
                               NULL, NULL, &errors),
                       "no certificate"));
    assert_null(strstr(said_of(ONE PASS NAMES("\"a.org\""), NULL, NULL, NULL, &errors), "no certificate"));
}

static void one_thing_an_address(void **state) {
    assert_reported(ONE NAMES("\"a\"") "unknown = \"reset\"\n" TWO NAMES("\"b\"") "unknown = \"alert\"\n", "a", "b", NULL, 1,
                    "service.two.unknown: differs from service \"one\", expected the same since both listen on 127.0.0.1:7\n");
    assert_reached(ONE NAMES("\"a\"") TWO NAMES("\"b\"") "unknown = \"reset\"\n", "a", "b", NULL);
    assert_reported(
        ONE TWO, "a.org", "b.org", NULL, 0,
        "warning: service.two.listen: services \"one\" and \"two\" both give clients of 127.0.0.1:7 whose name nobody has "
        "their default certificate");
    unsigned errors = 0;
    assert_null(strstr(said_of(ONE TWO STRICT THREE NAMES("\"c\""), "a.org", "b.org", "c", &errors), "both give"));
    assert_null(strstr(said_of(ONE TWO THREE NAMES("\"*\""), "a.org", "b.org", "c", &errors), "both give"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passthrough_beside_termination),
        cmocka_unit_test(equals),
        cmocka_unit_test(a_name_is_lost),
        cmocka_unit_test(addresses_are_looked_at_one_by_one),
        cmocka_unit_test(a_certificate_that_a_client_may_go_around),
        cmocka_unit_test(names_distinguish),
        cmocka_unit_test(equal_ranks),
        cmocka_unit_test(nearly_equal_ranks),
        cmocka_unit_test(names_that_certificates_lack),
        cmocka_unit_test(one_thing_an_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
