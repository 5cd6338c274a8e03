/* [acme] and what services want of it: from the text to the snapshot and back, and every way in which it can be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/snapshot.h"
#include "conf_support.h"

#define ISSUER  "[acme.issuer.le]\ndirectory = \"https://ca.example/dir\"\nterms_accepted = true\n"
#define SERVICE "[service.web]\nlisten = [\"127.0.0.1:9\"]\nbackends = [\"unix:/x\"]\n"
#define MANAGED ISSUER SERVICE "acme = {issuers = [\"le\"], names = [\"a.example\"]}\n"

static const char whole[] =
    "state_dir = \"/var/lib/x\"\n"
    "[acme]\nstate = \"files\"\nhttp = [\"127.0.0.1:80\", \"[::1]:80\"]\nredirect_http = true\nwebroot = \"www\"\n"
    "[acme.issuer.le]\ndirectory = \"https://ca.example/dir\"\nterms_accepted = true\n"
    "contact = [\"mailto:a@example.org\", \"mailto:b@example.org\"]\nchallenges = [\"http-01\", \"tls-alpn-01\", \"dns-01\"]\nhook = \"/bin/true\"\n"
    "profile = \"shortlived\"\nprofile_required = true\nkeys = [\"ecdsa-p384\", \"rsa-2048\"]\npreferred_chain = \"Root X\"\n"
    "ca_file = \"ca.pem\"\neab = {kid = \"k-1\", key_file = \"/etc/eab\"}\n"
    "[acme.issuer.other]\ndirectory = \"https://other.example/\"\nterms_accepted = true\n" SERVICE
    "acme = {issuers = [\"other\", \"le\"], names = [\"WWW.example.org\", \"192.0.2.7\", \"2001:DB8::0:7\"]}\n"
    "[service.both]\nlisten = [\"127.0.0.1:10\"]\nbackends = [\"unix:/x\"]\n"
    "certificates = [{cert = \"a.pem\", key = \"a.key\"}]\nacme = {issuers = [\"le\"], names = [\"b.example.org\"]}\n";

static struct conf *load_all(const char *text) {
    struct diagnostics f;
    diagnostics_init(&f);
    struct conf *c = load_text(text, strlen(text), &f);
    if (!c)
        print_error("%s", f.text);
    diagnostics_fini(&f);
    assert_non_null(c);
    return c;
}

static void look_at(const struct conf *c) {
    const struct conf_acme *a = &c->acme;
    assert_string_equal(a->dir, "/var/lib/x/acme");
    assert_int_equal(a->nissuers, 2);
    const struct conf_issuer *le = &a->issuers[0], *other = &a->issuers[1];
    assert_string_equal(le->name, "le");
    assert_string_equal(le->directory, "https://ca.example/dir");
    assert_int_equal(le->ncontact, 2);
    assert_string_equal(le->contact[1], "mailto:b@example.org");
    assert_int_equal(le->nchallenges, 3);
    assert_string_equal(le->hook, "/bin/true");
    assert_int_equal(le->challenges[0], CHALLENGE_HTTP_01);
    assert_string_equal(le->profile, "shortlived");
    assert_true(le->profile_required);
    assert_int_equal(le->nkeys, 2);
    assert_int_equal(le->keys[1], MANAGED_RSA_2048);
    assert_string_equal(le->preferred_chain, "Root X");
    assert_string_equal(le->ca_file, "/etc/tls-off/ca.pem");
    assert_string_equal(le->eab_kid, "k-1");
    assert_string_equal(le->eab_key_file, "/etc/eab");
    assert_int_equal(other->nchallenges, 1);
    assert_int_equal(other->challenges[0], CHALLENGE_TLS_ALPN_01);
    assert_int_equal(other->keys[0], MANAGED_ECDSA_P256);
    assert_string_equal(other->profile, "");
    assert_null(other->ca_file);
    assert_int_equal(a->ncerts, 3);
    const struct conf_managed *web = &a->certs[0];
    assert_string_equal(web->id, "web.ecdsa-p256");
    assert_string_equal(web->dir, "/var/lib/x/acme/certificates/web.ecdsa-p256");
    assert_int_equal(web->nnames, 3);
    assert_string_equal(web->names[0], "www.example.org");
    assert_string_equal(web->names[1], "192.0.2.7");
    assert_string_equal(web->names[2], "2001:db8::7");
    assert_int_equal(web->nissuers, 2);
    assert_int_equal(web->issuers[0], 1);
    assert_string_equal(a->certs[1].id, "both.ecdsa-p384");
    assert_string_equal(a->certs[2].id, "both.rsa-2048");
    const struct conf_service *both = &c->services[1];
    assert_int_equal(both->ncerts, 3); /* those that it names come first */
    assert_string_equal(both->certs[0].cert, "/etc/tls-off/a.pem");
    assert_string_equal(both->certs[2].key, "/var/lib/x/acme/certificates/both.rsa-2048/key.pem");
    assert_true(a->tls_route);
    assert_int_equal(a->tls_service, 2);
    const struct conf_service *way = &c->services[2];
    assert_int_equal(way->mode, MODE_PASSTHROUGH);
    assert_int_equal(way->nlisteners, 0);
    assert_string_equal(way->backends[0].path, "/var/lib/x/acme/run/tls");
    assert_true(a->http_redirects);
    assert_string_equal(a->webroot, "/etc/tls-off/www");
    const struct conf_service *http = &c->services[3];
    assert_int_equal(c->nservices, 4);
    assert_string_equal(http->name, "acme.http-01");
    assert_int_equal(http->mode, MODE_PASSTHROUGH);
    assert_string_equal(http->backends[0].path, "/var/lib/x/acme/run/http");
    assert_int_equal(http->nlisteners, 2);
    for (size_t i = 0; i < http->nlisteners; i++) {
        assert_int_equal(c->listeners[http->listeners[i]].fallback, 3);
        assert_int_equal(c->listeners[http->listeners[i]].nservices, 1);
    }
}

static void test_all_of_it_reaches_the_roles(void **state) {
    (void)state;
    struct conf *c = load_all(whole), *back = NULL;
    int fd = -1;
    look_at(c);
    assert_int_equal(snapshot_write(c, &fd), 0);
    assert_int_equal(snapshot_read(fd, &back, NULL), 0);
    look_at(back);
    close(fd);
    conf_free(c);
    conf_free(back);
}

/* Every cut and every flipped bit of the snapshot: refused, or a configuration whose parts can be trusted. */
static void test_a_damaged_snapshot(void **state) {
    (void)state;
    struct conf *c = load_all(whole), *back = NULL;
    struct stat st;
    int fd = -1;
    assert_int_equal(snapshot_write(c, &fd), 0);
    assert_int_equal(fstat(fd, &st), 0);
    size_t n = (size_t)st.st_size;
    uint8_t *bytes = malloc(n);
    assert_int_equal(pread(fd, bytes, n, 0), n);
    for (size_t i = 0; i < n; i++)
        assert_int_not_equal(snapshot_parse(span_of(bytes, i), &back, NULL), 0);
    for (size_t i = 0; i < n * 8; i++) {
        bytes[i / 8] ^= (uint8_t)(1u << i % 8);
        if (snapshot_parse(span_of(bytes, n), &back, NULL) == 0) {
            for (size_t k = 0; k < back->acme.ncerts; k++)
                for (size_t j = 0; j < back->acme.certs[k].nissuers; j++)
                    assert_true(back->acme.certs[k].issuers[j] < back->acme.nissuers);
            conf_free(back);
        }
        bytes[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    free(bytes);
    close(fd);
    conf_free(c);
}

static void test_what_is_wrong_is_said(void **state) {
    (void)state;
    static const struct {
        const char *text, *said;
    } cases[] = {
        {"[acme]\nstate = \"redis\"\n" SERVICE,
         "acme.state: found \"redis\", expected \"files\", or \"redis:unix:/run/redis/redis-server.sock\""},
        {"[acme]\nstate = \"redis://127.0.0.1:6379/0\"\n" SERVICE,
         "found \"redis://127.0.0.1:6379/0\", expected \"files\", or"},
        {"[acme]\nstate = \"redis:tcp:127.0.0.1:6379\"\n" SERVICE, "the Unix socket of a Redis server"},
        {"[acme]\nstate = \"rediss:unix:/run/r.sock\"\n" SERVICE, "the Unix socket of a Redis server"},
        {"[acme]\nstate = \"redis:unix:run/r.sock\"\n" SERVICE, "the Unix socket of a Redis server"},
        {"[acme]\nstat = \"files\"\n" SERVICE, "acme.stat: found an unknown key, expected \"state\""},
        {"[acme.issuer.le]\nterms_accepted = true\n" SERVICE, "acme.issuer.le: found no \"directory\""},
        {"[acme.issuer.le]\ndirectory = \"https://x/\"\n" SERVICE, "acme.issuer.le: found no \"terms_accepted\""},
        {"[acme.issuer.le]\ndirectory = \"http://x/\"\nterms_accepted = true\n" SERVICE,
         "acme.issuer.le.directory: found \"http://x/\", expected the URL of its directory, https://..."},
        {"[acme.issuer.le]\ndirectory = \"https://x/\"\nterms_accepted = false\n" SERVICE, "expected true, which says"},
        {"[acme.issuer.le]\ndirectory = \"https://x/ y\"\nterms_accepted = true\n" SERVICE, "expected the URL"},
        {"[acme.issuer.Le]\n" SERVICE, "found \"Le\", expected a name"},
        {"[acme]\nissuer = 7\n" SERVICE, "acme.issuer: found 7, expected"},
        {"[acme.issuer]\nle = 7\n" SERVICE, "found a value, expected a section [acme.issuer.NAME]"},
        {ISSUER "dirctory = 1\n" SERVICE, "found an unknown key, expected \"directory\""},
        {ISSUER "keys = []\n" SERVICE, "acme.issuer.le.keys: found an empty array, expected an array of \"ecdsa-p256\""},
        {ISSUER "keys = [\"dsa\"]\n" SERVICE, "found \"dsa\", expected \"ecdsa-p256\""},
        {ISSUER "keys = [\"rsa-2048\", \"rsa-2048\"]\n" SERVICE, "each of"},
        {ISSUER "challenges = [\"dns-02\"]\n" SERVICE, "found \"dns-02\", expected \"tls-alpn-01\""},
        {ISSUER "contact = \"mailto:x@y\"\n" SERVICE, "contact: found \"mailto:x@y\", expected an array"},
        {ISSUER "contact = [\"a b\"]\n" SERVICE, "found \"a b\", expected a URL"},
        {ISSUER "contact = [\"ops@example.org\"]\n" SERVICE, "found \"ops@example.org\", expected a URL"},
        {ISSUER "contact = [\"mailto:\"]\n" SERVICE, "found \"mailto:\", expected a URL"},
        {ISSUER "contact = [\"+1:x\"]\n" SERVICE, "found \"+1:x\", expected a URL"},
        {ISSUER SERVICE "acme = {issuers = [\"le\", \"le\"], names = [\"a.example\"]}\n",
         "service.web.acme: found \"le\" again, expected each issuer once"},
        {ISSUER "eab = {kid = \"x\"}\n" SERVICE, "found no whole binding"},
        {ISSUER "eab = {kid = \"x\", key_file = \"y\", z = 1}\n" SERVICE, "found \"z\", expected \"kid\" and \"key_file\""},
        {ISSUER SERVICE "acme = {issuers = [\"l\"], names = [\"a.example\"]}\n",
         "service.web.acme: found \"l\", expected the name of a section [acme.issuer.NAME]"},
        {ISSUER SERVICE "acme = {issuers = [\"le\"]}\n", "found no \"names\""},
        {ISSUER SERVICE "acme = {names = [\"a.example\"]}\n", "found no \"issuers\""},
        {ISSUER SERVICE "acme = {issuers = [\"le\"], names = [\"a.example\"], name = 1}\n", "expected \"names\""},
        {ISSUER SERVICE "acme = {issuers = [\"le\"], names = [\"a.example\", \"A.example\"]}\n", "each once"},
        {ISSUER SERVICE "acme = {issuers = [\"le\"], names = [\"*.example\"]}\n",
         "found \"*.example\", expected a host name, a wildcard"},
        {ISSUER SERVICE "acme = {issuers = [\"le\"], names = [\"*.example.org\"]}\n",
         "found \"*.example.org\", expected \"dns-01\""},
        {ISSUER SERVICE "acme = {issuers = [\"le\"], names = [\"a.*.example.org\"]}\n", "found \"a.*.example.org\""},
        {ISSUER "challenges = [\"dns-01\"]\n" SERVICE, "found \"dns-01\" without \"hook\""},
        {ISSUER "hook = \"/no/such\"\n" SERVICE, "/no/such: No such file or directory, expected a program"},
        {ISSUER "hook = \"/etc/passwd\"\n" SERVICE, "/etc/passwd: found no executable file"},
        {ISSUER "hook = \"/tmp\"\n" SERVICE, "/tmp: found no executable file"},
        {ISSUER "hook_user = \"nobody-here\"\n" SERVICE, "expected a user that this machine has"},
        {ISSUER SERVICE "acme = {issuers = [\"le\"], names = [\"a..example\"]}\n", "found \"a..example\""},
        {ISSUER SERVICE "acme = {issuers = [\"le\"], names = [\"localhost\"]}\n", "found \"localhost\""},
        {ISSUER SERVICE "acme = {issuers = [\"le\"], names = [\"a\\\"b.example\"]}\n", "expected a host name"},
        {ISSUER SERVICE "acme = {issuers = [\"le\"], names = [\"192.0.2.300\"]}\n", "expected a host name"},
        {ISSUER SERVICE "acme = {issuers = [\"le\"], names = [\"-a.example\"]}\n", "expected a host name"},
        {ISSUER SERVICE "acme = {issuers = [\"le\"], names = [\"a-.example\"]}\n", "expected a host name"},
        {ISSUER SERVICE "mode = \"passthrough\"\nacme = {issuers = [\"le\"], names = [\"a.example\"]}\n", "passthrough mode"},
        {"[acme]\nhttp = [\"127.0.0.1:80\"]\n" SERVICE, "acme.http: found addresses, expected a service that has certificates"},
        {"[acme]\nhttp = [\"127.0.0.1\"]\n" MANAGED, "acme.http: found \"127.0.0.1\", expected \"IP:PORT\""},
        {"[acme]\nhttp = [\"127.0.0.1:9\"]\n" MANAGED,
         "found \"127.0.0.1:9\", where service \"web\" listens, expected an address"},
        {"[acme]\nhttp = [\"0.0.0.0:9\"]\n" MANAGED, "expected no address that overlaps with \"0.0.0.0:9\" of acme.http"},
        {"[acme]\nhttp = [\"127.0.0.1:80\", \"127.0.0.1:80\"]\n" MANAGED, "each address once"},
        {"[acme]\nhttp = [\"127.0.0.1:80\"]\n[listener.\"127.0.0.1:80\"]\nredirect_http = true\n" MANAGED,
         "expected \"acme.redirect_http\" instead"},
        {"[acme]\nhttp = [\"127.0.0.1:80\"]\n[listener.\"127.0.0.1:80\"]\nfallback = \"web\"\n" MANAGED,
         "beside \"acme.http\""},
        {"acme_tls = \"ualpn\"\n" SERVICE, "acme_tls: found \"ualpn\", expected"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct diagnostics f;
        diagnostics_init(&f);
        assert_null(load_text(cases[i].text, strlen(cases[i].text), &f));
        if (!strstr(f.text, cases[i].said))
            fail_msg("%s\n-- gave:\n%s-- not:\n%s", cases[i].text, f.text, cases[i].said);
        diagnostics_fini(&f);
    }
}

/* N services with a certificate of each kind of key. What is said when that is too much, else "". */
static void load_services(unsigned n, const char *name_list, char said[static 512]) {
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    struct diagnostics d;
    diagnostics_init(&d);
    fputs(ISSUER "keys = [\"ecdsa-p256\", \"ecdsa-p384\", \"rsa-2048\", \"rsa-3072\", \"rsa-4096\"]\n", f);
    for (unsigned i = 0; i < n; i++)
        fprintf(f,
                "[service.s%u]\nlisten = [\"127.0.0.1:9\"]\nbackends = [\"unix:/x\"]\n"
                "acme = {issuers = [\"le\"], names = [\"s%u.example\"%s]}\n",
                i, i, name_list);
    fclose(f);
    struct conf *c = load_text(text, len, &d);
    const char *error = c ? "" : strstr(d.text, "error: ");
    snprintf(said, 512, "%s", error ? error : d.text);
    if (c)
        assert_int_equal(c->acme.ncerts, 5 * n);
    conf_free(c);
    diagnostics_fini(&d);
    free(text);
}

/* Too many certificates, and too many names of one: refused, and not omitted. */
static void test_as_many_as_there_may_be(void **state) {
    (void)state;
    char said[512], names[32 * 128] = "";
    struct text t = text_of(names, sizeof(names));
    load_services(CONF_ACME_CERTS_MAX / 5, "", said);
    assert_string_equal(said, "");
    load_services(CONF_ACME_CERTS_MAX / 5 + 1, "", said);
    assert_non_null(strstr(said, "service.s204.acme: found more than 1024 certificates of all services"));
    for (unsigned i = 1; i < CONF_ACME_NAMES_MAX; i++)
        text_addf(&t, ", \"n%u.example\"", i);
    load_services(1, names, said);
    assert_string_equal(said, "");
    text_add(&t, ", \"one.more.example\"");
    load_services(1, names, said);
    assert_non_null(strstr(said, "service.s0.acme: found 101 names, expected at most 100 of one certificate"));
}

static void test_the_door_alone(void **state) {
    (void)state;
    struct conf *c = load_all("acme_tls = \"unix:/run/ualpn.sock\"\n" SERVICE);
    assert_null(c->acme.dir);
    assert_int_equal(c->acme.ncerts, 0);
    assert_true(c->acme.tls_route);
    assert_string_equal(c->services[c->acme.tls_service].backends[0].path, "/run/ualpn.sock");
    conf_free(c);
    c = load_all(SERVICE);
    assert_false(c->acme.tls_route);
    assert_int_equal(c->nservices, 1);
    conf_free(c);
}

/* It is legal: another program may have port 80, and pass requests on. */
static void test_http_01_that_leads_nowhere(void **state) {
    (void)state;
    struct diagnostics f;
    diagnostics_init(&f);
    static const char text[] =
        ISSUER "challenges = [\"http-01\"]\n" SERVICE "acme = {issuers = [\"le\"], names = [\"a.example\"]}\n";
    struct conf *c = load_text(text, strlen(text), &f);
    assert_non_null(c);
    assert_non_null(strstr(f.text, "needs a web server that passes requests on"));
    assert_int_equal(c->nlisteners, 1);
    conf_free(c);
    diagnostics_fini(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_of_it_reaches_the_roles), cmocka_unit_test(test_a_damaged_snapshot),
        cmocka_unit_test(test_what_is_wrong_is_said),       cmocka_unit_test(test_the_door_alone),
        cmocka_unit_test(test_http_01_that_leads_nowhere),  cmocka_unit_test(test_as_many_as_there_may_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
