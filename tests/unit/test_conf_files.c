/* The loader on a machine: files that are there or not, and how they are found. */
#include <errno.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf_support.h"

#define SERVICE "[service.a]\nlisten = [\"127.0.0.1:0\"]\nbackends = [\"unix:/x\"]\n"

static char dir[64];

static int make_dir(void **state) {
    (void)snprintf(dir, sizeof(dir), "/tmp/tls-off-test-XXXXXX");
    return mkdtemp(dir) && chdir(dir) == 0 && setenv("XDG_STATE_HOME", dir, 1) == 0 ? 0 : -1;
}

static int remove_dir(void **state) {
    static const char *const made[] = {"t.toml", "a.log", "sub/t.toml", "sub", "deep/er", "deep", "file"};
    for (size_t i = 0; i < ARRAY_LEN(made); i++)
        (void)remove(made[i]); /* not every test makes all */
    return chdir("/") == 0 && rmdir(dir) == 0 ? 0 : -1;
}

static void write_file(const char *name, const char *text) {
    FILE *f = fopen(name, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static struct conf *load_file(const char *name, const char *toml, unsigned flags, struct diagnostics *f) {
    diagnostics_init(f);
    if (toml)
        write_file(name, toml);
    return conf_load_file(name, flags, stubs(), f);
}

static void assert_said(const struct diagnostics *f, const char *fmt, const char *arg) {
    char line[512];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(line, sizeof(line), fmt, arg);
#pragma GCC diagnostic pop
    if (!f->text || !strstr(f->text, line))
        fail_msg("no \"%s\" in: %s", line, f->text ? f->text : "(nothing)");
}

static void assert_refused(const char *toml, const char *fmt) {
    struct diagnostics f;
    struct conf *c = load_file("t.toml", toml, 0, &f);
    assert_null(c);
    assert_said(&f, fmt, dir);
    assert_int_equal(f.errors, 1);
    diagnostics_fini(&f);
}

static void test_files_that_cannot_be_read(void **state) {
    struct diagnostics f;
    assert_null(load_file("nowhere.toml", NULL, 0, &f));
    assert_string_equal(f.text, "nowhere.toml: cannot be read: No such file or directory\n");
    diagnostics_fini(&f);
    assert_null(load_file("/", NULL, 0, &f));
    assert_string_equal(f.text, "/: cannot be read: Is a directory\n");
    diagnostics_fini(&f);
}

static void test_names_start_from_the_directory_of_the_file(void **state) {
    static const char *const ways[] = {"sub/t.toml", "./sub/t.toml"};
    char expected[256];
    assert_int_equal(mkdir("sub", 0700), 0);
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        struct diagnostics f;
        struct conf *c = load_file(ways[i], "state_dir = \"s\"\n" SERVICE "certificates = [\"/abs\", \"c\"]\n", 0, &f);
        assert_non_null(c);
        (void)snprintf(expected, sizeof(expected), "%s/%.*s", dir, (int)(strrchr(ways[i], '/') - ways[i]), ways[i]);
        assert_memory_equal(c->state_dir, expected, strlen(expected));
        assert_string_equal(c->state_dir + strlen(expected), "/s");
        assert_string_equal(c->services[0].certs[0].cert, "/abs");
        assert_string_equal(c->services[0].certs[1].cert + strlen(expected), "/c");
        conf_free(c);
        diagnostics_fini(&f);
    }
}

static void test_certificates_are_looked_at(void **state) {
    assert_refused(SERVICE "certificates = [{ cert = \"bad.pem\", key = \"k\" }]\n",
                   "t.toml:4:17: service.a.certificates: %1$s/k does not match %1$s/bad.pem\n");
    assert_refused(SERVICE "certificates = [\"well/\", \"bad/\"]\n",
                   "t.toml:4:26: service.a.certificates: %s/bad/ holds no certificate\n");
}

static void test_warnings_about_certificates(void **state) {
    struct diagnostics f;
    struct conf *c = load_file("t.toml", SERVICE "certificates = [{ cert = \"old.pem\", key = \"open.key\" }]\n", 0, &f);
    assert_non_null(c);
    assert_said(&f, "t.toml:4:17: warning: service.a.certificates: old.pem expires within 3 days\n", dir);
    conf_free(c);
    diagnostics_fini(&f);
}

static void say_many(struct diagnostics *f, bool is_error, unsigned n, const char *what) {
    for (unsigned i = 0; i < n; i++)
        diagnostics_add(f, is_error, "t.toml:1:1", NULL, "%s %u", what, i);
}

static void test_errors_come_before_warnings(void **state) {
    struct diagnostics f;
    diagnostics_init(&f);
    say_many(&f, false, 2, "careful");
    say_many(&f, true, 2, "wrong");
    say_many(&f, false, 1, "later");
    diagnostics_close(&f);
    assert_string_equal(f.text, "t.toml:1:1: wrong 0\nt.toml:1:1: wrong 1\nt.toml:1:1: warning: careful 0\n"
                                "t.toml:1:1: warning: careful 1\nt.toml:1:1: warning: later 0\n");
    diagnostics_fini(&f);
}

/* However many warnings there are, and whatever comes first: an error is among the lines that are kept. */
static void test_warnings_give_way_to_errors(void **state) {
    struct diagnostics f;
    diagnostics_init(&f);
    say_many(&f, false, 10000, "careful");
    say_many(&f, true, 3, "wrong");
    diagnostics_close(&f);
    assert_ptr_equal(
        strstr(f.text, "t.toml:1:1: wrong 0\nt.toml:1:1: wrong 1\nt.toml:1:1: wrong 2\nt.toml:1:1: warning: careful 0\n"),
        f.text);
    unsigned lines = 0, more = 0;
    for (const char *p = f.text; (p = strchr(p, '\n')); p++)
        lines++;
    const char *last = strstr(f.text, "\nand ");
    assert_non_null(last);
    assert_int_equal(sscanf(last, "\nand %u more", &more), 1);
    assert_int_equal(lines - 1 + more, 10003);
    say_many(&f, true, 10000, "wrong");
    assert_null(strstr(f.text, "warning"));
    assert_int_equal(f.errors, 10003);
    diagnostics_fini(&f);
}

static void test_without_certificates_the_self_signed_one_is_used(void **state) {
    struct diagnostics f;
    struct conf *c = load_file("t.toml", "state_dir = \"deep/er/state\"\n" SERVICE, 0, &f);
    char expected[128];
    assert_non_null(c);
    (void)snprintf(expected, sizeof(expected), "%s/deep/er/state/self-signed.crt", dir);
    assert_int_equal(c->services[0].ncerts, 1);
    assert_string_equal(c->services[0].certs[0].cert, expected);
    assert_said(&f, "t.toml:2:1: warning: service.a.certificates: no certificate named: using the self-signed one in %s",
                expected);
    assert_int_equal(access("deep/er", F_OK), 0);
    conf_free(c);
    diagnostics_fini(&f);
    assert_refused("state_dir = \"bad\"\n" SERVICE, "t.toml:1:13: state_dir: %s/bad cannot be made\n");
}

static void test_check_writes_nothing(void **state) {
    struct diagnostics f;
    struct conf *c = load_file("t.toml", "state_dir = \"bad/state\"\n" SERVICE, LOAD_FOR_CHECK, &f);
    assert_non_null(c);
    assert_int_equal(access("bad", F_OK), -1);
    conf_free(c);
    diagnostics_fini(&f);
}

/* Whatever certificates a check does without, those of the clients' CA are files of the operator. */
static void test_check_looks_at_the_clients_ca(void **state) {
    static const char *const services[] = {
        SERVICE,
        "[acme.issuer.le]\ndirectory = \"https://x/\"\nterms_accepted = true\n" SERVICE
        "acme = { issuers = [\"le\"], names = [\"a.example\"] }\n",
    };
    static const char *const files[][2] = {
        {"ca = \"bad.pem\"\n", "service.a.client_auth.ca: %s/bad.pem holds none\n"},
        {"ca = \"c.pem\"\ncrl = \"bad.crl\"\n", "service.a.client_auth.crl: %s/bad.crl holds none\n"}};
    for (size_t i = 0; i < ARRAY_LEN(services); i++)
        for (size_t k = 0; k < ARRAY_LEN(files); k++) {
            char toml[512];
            struct diagnostics f;
            (void)snprintf(toml, sizeof(toml), "state_dir = \"state\"\n%s[service.a.client_auth]\nmode = \"required\"\n%s",
                           services[i], files[k][0]);
            assert_null(load_file("t.toml", toml, LOAD_FOR_CHECK, &f));
            assert_said(&f, files[k][1], dir);
            assert_int_equal(f.errors, 1);
            diagnostics_fini(&f);
        }
}

/* What a start needs it for, and could not make there, is an error of the check as it is one of the start. */
static void test_check_looks_whether_the_state_directory_can_be_made(void **state) {
    static const char *const wants[] = {
        SERVICE,
        SERVICE "certificates = [\"well/\"]\nfetch_ocsp = true\n",
        "[acme.issuer.le]\ndirectory = \"https://x/\"\nterms_accepted = true\n" SERVICE
        "acme = { issuers = [\"le\"], names = [\"a.example\"] }\n",
    };
    struct diagnostics f;
    struct conf *c;
    char toml[512];
    write_file("file", "");
    for (size_t i = 0; i < ARRAY_LEN(wants); i++) {
        (void)snprintf(toml, sizeof(toml), "state_dir = \"file/a/b\"\n%s", wants[i]);
        assert_null(load_file("t.toml", toml, LOAD_FOR_CHECK, &f));
        assert_int_equal(f.errors, 1);
        assert_said(&f,
                    "t.toml:1:13: state_dir: found \"%1$s/file/a/b\", expected a directory in which this user may make files "
                    "(%1$s/file: Not a directory)\n",
                    dir);
        diagnostics_fini(&f);
    }
    (void)snprintf(toml, sizeof(toml),
                   "debug.keylog = { file = \"k\", clients = [], until = \"tomorrow\" }\nstate_dir = \"file/a/b\"\n%s",
                   SERVICE "certificates = [\"well/\"]\n");
    assert_null(load_file("t.toml", toml, LOAD_FOR_CHECK, &f)); /* one that was refused needs nothing */
    assert_int_equal(f.errors, 2);
    diagnostics_fini(&f);
    c = load_file("t.toml", "state_dir = \"file/a/b\"\n" SERVICE "certificates = [\"well/\"]\n", LOAD_FOR_CHECK, &f);
    assert_non_null(c); /* nothing needs it */
    conf_free(c);
    diagnostics_fini(&f);
}

/* A start makes the directories above it, whatever needs it. */
static void test_a_start_makes_what_is_above_the_state_directory(void **state) {
    struct diagnostics f;
    struct stat st;
    struct conf *c =
        load_file("t.toml", "state_dir = \"deep/er/state\"\n" SERVICE "certificates = [\"well/\"]\nfetch_ocsp = true\n", 0, &f);
    assert_non_null(c);
    assert_int_equal(stat("deep/er/state/acme", &st), 0);
    conf_free(c);
    diagnostics_fini(&f);
    static const char *const made[] = {"acme/run/ocsp", "acme/run", "acme/accounts", "acme/certificates", "acme", ""};
    for (size_t i = 0; i < ARRAY_LEN(made); i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "deep/er/state/%s", made[i]);
        assert_int_equal(rmdir(path), 0);
    }
}

static void test_files_of_issuers(void **state) {
#define ISSUER "[acme.issuer.le]\ndirectory = \"https://x/\"\nterms_accepted = true\n"
    assert_refused(ISSUER "ca_file = \"none\"\n" SERVICE "certificates = [\"well/\"]\n",
                   "t.toml:4:11: acme.issuer.le.ca_file: %s/none: No such file or directory, expected a file of "
                   "certificates in PEM\n");
    assert_refused(ISSUER "eab = { kid = \"x\", key_file = \"none\" }\n" SERVICE "certificates = [\"well/\"]\n",
                   "t.toml:4:7: acme.issuer.le.eab: %s/none: cannot be opened: No such file or directory\n");
    write_file("file", "c2hvcnQ\n");
    assert_refused(ISSUER "eab = { kid = \"x\", key_file = \"file\" }\n" SERVICE "certificates = [\"well/\"]\n",
                   "t.toml:4:7: acme.issuer.le.eab: %s/file: found no key for external account binding, expected one line of "
                   "base64url, 32 to 256 bytes of key\n");
    write_file("file", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n");
    struct diagnostics f;
    struct conf *c =
        load_file("t.toml", ISSUER "eab = { kid = \"x\", key_file = \"file\" }\n" SERVICE "certificates = [\"well/\"]\n",
                  LOAD_FOR_CHECK, &f);
    assert_non_null(c);
    conf_free(c);
    diagnostics_fini(&f);
}

/* Where the admin socket was asked to be, it can be made, its directory included, but not the one above. */
static void test_the_place_of_the_admin_socket(void **state) {
    assert_refused(
        "[admin]\nsocket = \"deep/er/a.sock\"\n" SERVICE "certificates = [\"well/\"]\n",
        "t.toml:2:10: admin.socket: found \"%1$s/deep/er/a.sock\", expected a directory that is there (%1$s/deep: No "
        "such file or directory)\n");
    write_file("file", "");
    assert_refused("[admin]\nsocket = \"file\"\n" SERVICE "certificates = [\"well/\"]\n",
                   "t.toml:2:10: admin.socket: found \"%s/file\", where another file is, expected a free path\n");
    struct diagnostics f;
    struct conf *c =
        load_file("t.toml", "[admin]\nsocket = \"deep/a.sock\"\n" SERVICE "certificates = [\"well/\"]\n", LOAD_FOR_CHECK, &f);
    assert_non_null(c);
    assert_int_equal(access("deep", F_OK), -1);
    conf_free(c);
    diagnostics_fini(&f);
}

static void test_a_state_directory_that_is_a_file(void **state) {
    write_file("file", "");
    assert_refused("state_dir = \"file\"\n" SERVICE,
                   "t.toml:1:13: state_dir: found the file \"%s/file\", expected a directory\n");
}

static void test_log_files(void **state) {
    struct diagnostics f;
    assert_refused(
        "[log]\ntarget = \"sub/no/a.log\"\n" SERVICE,
        "t.toml:2:10: log.target: found \"%1$s/sub/no/a.log\", expected a file in a directory that exists (\"%1$s/sub/no\" does "
        "not)\n");
    assert_refused("[log]\ntarget = \".\"\n" SERVICE,
                   "t.toml:2:10: log.target: found the directory \"%s/.\", expected a file name\n");
    struct conf *c = load_file("t.toml", "[log]\ntarget = \"a.log\"\n" SERVICE, 0, &f);
    assert_non_null(c);
    assert_int_equal(c->log_target, LOG_TO_FILE);
    conf_free(c);
    diagnostics_fini(&f);
}

static void test_congestion_control(void **state) {
    assert_refused("tcp_congestion = \"none-such\"\n" SERVICE,
                   "t.toml:1:18: tcp_congestion: found \"none-such\", expected one that this kernel has loaded: ");
}

static void test_users(void **state) {
    struct diagnostics f;
    struct conf *c = load_file("t.toml", "user = \"tls-off-nobody-has-this\"\n" SERVICE, 0, &f);
    if (geteuid() == 0) {
        assert_null(c);
        assert_said(&f, "t.toml:1:8: user: found \"tls-off-nobody-has-this\", expected a user that this machine has\n", "");
    } else {
        assert_non_null(c);
        assert_null(c->user);
        assert_said(
            &f, "t.toml:1:8: warning: user: found \"tls-off-nobody-has-this\", but it has no effect when not started as root\n",
            "");
    }
    conf_free(c);
    diagnostics_fini(&f);
    c = load_file("t.toml", "user = \"\"\n" SERVICE, 0, &f);
    assert_non_null(c);
    assert_null(c->user);
    conf_free(c);
    diagnostics_fini(&f);
    c = load_file("t.toml", "user = \"daemon\"\n" SERVICE, 0, &f);
    if (geteuid() == 0 && getpwnam("daemon"))
        assert_string_equal(c->user, "daemon");
    conf_free(c);
    diagnostics_fini(&f);
}

static void test_a_port_in_use(void **state) {
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char toml[256], expected[256];
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    int port = ntohs(sa.sin_port);
    (void)snprintf(toml, sizeof(toml), "[service.a]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:%d\"]\nbackends = [\"unix:/x\"]\n",
                   port);
    (void)snprintf(
        expected, sizeof(expected),
        "t.toml:2:26: service.a.listen: found \"127.0.0.1:%d\" in use by test_conf_files (process %d), expected a free "
        "address\n",
        port, (int)getpid());
    assert_refused(toml, expected);
    (void)close(fd);
}

static void test_everything_wrong_is_reported_in_one_run(void **state) {
    struct diagnostics f;
    struct conf *c = load_file("t.toml",
                               "workers = 99\n[service.a]\nlisten = [\"203.0.113.7:1\"]\nbackends = []\n"
                               "certificates = [\"bad/\"]\nmode = \"x\"\n",
                               0, &f);
    assert_null(c);
    assert_int_equal(f.errors, 5);
    diagnostics_fini(&f);
}

static void test_flags(void **state) {
    static const char *const listen_on[] = {"127.0.0.1:0", "[::1]:0"};
    static const char *const backends[] = {"unix:app.sock"};
    struct diagnostics f;
    char expected[128];
    diagnostics_init(&f);
    struct conf *c = conf_load_flags(&(struct conf_flags){listen_on, backends, NULL, 1, 1, 0, "", ""}, stubs(), &f);
    assert_non_null(c);
    assert_int_equal(c->nservices, 1);
    assert_string_equal(c->services[0].name, "default");
    assert_int_equal(c->services[0].nlisteners, 1);
    (void)snprintf(expected, sizeof(expected), "%s/app.sock", dir);
    assert_string_equal(c->services[0].backends[0].path, expected);
    assert_int_equal(c->services[0].ncerts, 1);
    assert_said(&f, "command line: warning: no certificate named: using the self-signed one in %s/self-signed.crt\n",
                c->state_dir);
    conf_free(c);
    diagnostics_fini(&f);
}

static void test_broken_flags(void **state) {
    static const char *const listen_on[] = {"localhost:1"};
    static const char *const backends[] = {"app.sock"};
    struct diagnostics f;
    diagnostics_init(&f);
    assert_null(conf_load_flags(&(struct conf_flags){listen_on, backends, NULL, 1, 1, 0, "", ""}, stubs(), &f));
    assert_said(
        &f,
        "command line: --listen: found \"localhost:1\", expected \"IP:PORT\", \"[IPv6]:PORT\", \":PORT\" for all addresses of both, or \"unix:/PATH\"\n",
        "");
    assert_said(
        &f, "command line: --backend: found \"app.sock\", expected \"unix:/PATH\", \"unix:@NAME\" or \"tcp:HOST:PORT\"\n", "");
    diagnostics_fini(&f);
    diagnostics_init(&f);
    assert_null(conf_load_flags(&(struct conf_flags){.directory = "", .ca_file = ""}, stubs(), &f));
    assert_said(&f, "command line: --listen: found none, expected at least one \"IP:PORT\"\n", "");
    assert_said(&f, "command line: --backend: found none, expected at least one like \"unix:/run/app.sock\"\n", "");
    diagnostics_fini(&f);
}

static void remove_tree(const char *path) {
    char line[256];
    (void)snprintf(line, sizeof(line), "rm -rf '%s'", path);
    assert_int_equal(system(line), 0);
}

static void test_flags_for_a_certificate_from_an_issuer(void **state) {
    static const char *const listen_on[] = {"127.0.0.1:0"}, *const backends[] = {"unix:/app.sock"};
    static const char *const names[] = {"Example.org", "192.0.2.7"};
    const struct conf_flags flags = {listen_on, backends, names, 1, 1, 2, ACME_DEFAULT_DIRECTORY, ""};
    struct diagnostics f;
    diagnostics_init(&f);
    struct conf *c = conf_load_flags(&flags, stubs(), &f);
    assert_non_null(c);
    assert_int_equal(c->acme.nissuers, 1);
    assert_string_equal(c->acme.issuers[0].name, "letsencrypt");
    assert_string_equal(c->acme.issuers[0].directory, ACME_DEFAULT_DIRECTORY);
    assert_null(c->acme.issuers[0].ca_file);
    assert_int_equal(c->acme.ncerts, 1);
    assert_string_equal(c->acme.certs[0].id, "default.ecdsa-p256");
    assert_int_equal(c->acme.certs[0].nnames, 2);
    assert_string_equal(c->acme.certs[0].names[0], "example.org");
    assert_int_equal(c->services[0].ncerts, 1); /* no other beside it */
    assert_said(&f, "command line: warning: --listen: found no address with port 443", "");
    remove_tree(c->state_dir);
    conf_free(c);
    diagnostics_fini(&f);
}

static void test_broken_flags_for_an_issuer(void **state) {
    static const char *const listen_on[] = {"127.0.0.1:0"}, *const backends[] = {"unix:/app.sock"};
    static const char *const names[] = {"*.example.org", "localhost", "a.example.org", "A.example.org"};
    const struct conf_flags flags = {listen_on, backends, names, 1, 1, 4, "https://ca/dir", "ca.pem"};
    struct diagnostics f;
    diagnostics_init(&f);
    assert_null(conf_load_flags(&flags, stubs(), &f));
    assert_said(&f, "command line: --name: found \"*.example.org\", expected no wildcard", "");
    assert_said(&f, "command line: --name: found \"localhost\", expected a host name", "");
    assert_said(&f, "command line: --name: found \"A.example.org\", expected a host name", ""); /* twice */
    diagnostics_fini(&f);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_files_that_cannot_be_read),
        CASE(test_names_start_from_the_directory_of_the_file),
        CASE(test_certificates_are_looked_at),
        CASE(test_warnings_about_certificates),
        CASE(test_errors_come_before_warnings),
        CASE(test_warnings_give_way_to_errors),
        CASE(test_without_certificates_the_self_signed_one_is_used),
        CASE(test_check_writes_nothing),
        CASE(test_check_looks_at_the_clients_ca),
        CASE(test_check_looks_whether_the_state_directory_can_be_made),
        CASE(test_a_start_makes_what_is_above_the_state_directory),
        CASE(test_files_of_issuers),
        CASE(test_the_place_of_the_admin_socket),
        CASE(test_a_state_directory_that_is_a_file),
        CASE(test_log_files),
        CASE(test_congestion_control),
        CASE(test_users),
        CASE(test_a_port_in_use),
        CASE(test_everything_wrong_is_reported_in_one_run),
        CASE(test_flags),
        CASE(test_broken_flags),
        CASE(test_flags_for_a_certificate_from_an_issuer),
        CASE(test_broken_flags_for_an_issuer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
