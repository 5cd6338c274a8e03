/* The config role over its control socket: one request, one answer. */
#include "config/config_role.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ipc.h"
#include "conf/snapshot.h"
#include "conf/ticket_secret.h"
#include "conf_support.h"
#include "wire/control.h"

static uint8_t scratch[IPC_BODY_MAX + 2];

/* Sends REQ (NULL: nothing), runs the role to its end, and takes the answer. */
static int ask(const struct control_request *req, struct ipc_msg *ret) {
    int fds[2], err = 0;
    assert_int_equal(ipc_pair(0, fds), 0);
    if (req)
        assert_int_equal(control_send_request(fds[0], req), 0);
    else
        assert_int_equal(shutdown(fds[0], SHUT_WR), 0);
    int status = config_role_run(fds[1], stubs());
    (void)close(fds[1]);
    enum step step = ipc_recv(fds[0], scratch, sizeof(scratch), control_to_supervisor, ret, &err);
    assert_int_equal(step, status == 0 ? STEP_DONE : STEP_EOF);
    (void)close(fds[0]);
    return status;
}

static void assert_body_has(const struct ipc_msg *m, const char *part) {
    if (!memmem(m->body.p, m->body.len, part, strlen(part)))
        fail_msg("no \"%s\" in: %.*s", part, (int)m->body.len, (const char *)m->body.p);
}

/* A supervisor of another version that we could not serve under. */
static void test_another_protocol_is_refused_in_words(void **state) {
    static const uint8_t body[] = {0xff, 0xff, 0xff, 0xff, 'w', 'h', 'a', 't', 'e', 'v', 'e', 'r'};
    struct ipc_msg m;
    int fds[2], err = 0;
    assert_int_equal(ipc_pair(0, fds), 0);
    assert_int_equal(ipc_send(fds[0], CONTROL_REQUEST, span_of(body, sizeof(body)), NULL, 0), 0);
    assert_int_equal(config_role_run(fds[1], stubs()), 0);
    assert_int_equal(ipc_recv(fds[0], scratch, sizeof(scratch), control_to_supervisor, &m, &err), STEP_DONE);
    assert_int_equal(m.type, CONTROL_REFUSED);
    assert_body_has(&m, "it takes a stop and a start");
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void test_flags_give_a_snapshot_and_a_secret(void **state) {
    struct control_request req = {.nlisten = 1, .nbackend = 1};
    struct ipc_msg m;
    struct conf *c = NULL;
    uint8_t secret[TICKET_SECRET_NEW + 1], zero[TICKET_SECRET_NEW] = {0};
    req.listen[0] = span_str("127.0.0.1:0");
    req.backend[0] = span_str("unix:/run/app.sock");
    assert_int_equal(ask(&req, &m), 0);
    assert_int_equal(m.type, CONTROL_CONFIGURED);
    assert_int_equal(m.nfds, 4);
    assert_body_has(&m, "no certificate named");
    assert_int_equal(snapshot_read(m.fds[0], &c, NULL), 0);
    assert_string_equal(c->services[0].backends[0].text, "unix:/run/app.sock");
    assert_int_equal(pread(m.fds[1], secret, sizeof(secret), 2), TICKET_SECRET_NEW); /* behind the length */
    assert_memory_not_equal(secret, zero, sizeof(zero));
    assert_int_equal(fcntl(m.fds[1], F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    conf_free(c);
    ipc_msg_close(&m);
}

static void test_a_broken_file_is_refused_with_its_faults(void **state) {
    char name[] = "/tmp/tls-off-test-XXXXXX";
    static const char toml[] = "wrokers = 1\nuser = 3\n";
    struct control_request req = {0};
    struct ipc_msg m;
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, toml, sizeof(toml) - 1), sizeof(toml) - 1);
    (void)close(fd);
    req.file = span_str(name);
    assert_int_equal(ask(&req, &m), 0);
    assert_int_equal(unlink(name), 0);
    assert_int_equal(m.type, CONTROL_REFUSED);
    assert_int_equal(m.nfds, 0);
    assert_body_has(&m, ":1:1: wrokers: found an unknown key, expected \"workers\"\n");
    assert_body_has(&m, ":2:8: user: found 3, expected a string\n");
    ipc_msg_close(&m);
}

/* A configuration file that names SECRET, and the secret's file with N bytes. */
static void make_config(const char *config, const char *secret, size_t n) {
    FILE *f = fopen(config, "w");
    assert_non_null(f);
    assert_true(fprintf(f,
                        "[tickets]\nsecret_file = \"%s\"\n[service.a]\nlisten = [\"127.0.0.1:0\"]\n"
                        "backends = [\"unix:/run/app.sock\"]\n",
                        secret) > 0);
    assert_int_equal(fclose(f), 0);
    f = fopen(secret, "w");
    assert_non_null(f);
    for (size_t i = 0; i < n; i++)
        assert_true(fputc((int)(i % 251), f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(secret, 0600), 0);
}

static void test_the_secret_comes_from_the_file_named(void **state) {
    char dir[] = "/tmp/tls-off-test-XXXXXX", config[64], secret[64];
    uint8_t found[200];
    struct conf *c = NULL;
    struct ipc_msg m;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(config, sizeof(config), "%s/t.toml", dir);
    (void)snprintf(secret, sizeof(secret), "%s/secret", dir);
    struct control_request req = {.file = span_str(config)};

    make_config(config, secret, 100);
    assert_int_equal(ask(&req, &m), 0);
    assert_int_equal(m.type, CONTROL_CONFIGURED);
    assert_int_equal(snapshot_read(m.fds[0], &c, NULL), 0);
    assert_int_equal(c->nticket_secrets, 1);
    assert_string_equal(c->ticket_secrets[0], secret);
    assert_int_equal(pread(m.fds[1], found, sizeof(found), 2), 100); /* behind the length */
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(found[i], i % 251);
    assert_int_equal(fcntl(m.fds[1], F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    conf_free(c);
    ipc_msg_close(&m);

    make_config(config, secret, 31);
    assert_int_equal(ask(&req, &m), 0);
    assert_int_equal(m.type, CONTROL_REFUSED);
    assert_body_has(&m, "t.toml:2:15: tickets.secret_file: /");
    assert_body_has(&m, "secret: found 31 bytes, expected 32 to 4096 random bytes\n");
    ipc_msg_close(&m);
    assert_int_equal(unlink(secret), 0);
    assert_int_equal(unlink(config), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_a_missing_file_is_refused(void **state) {
    struct control_request req = {.file = span_str("/nowhere/t.toml")};
    struct ipc_msg m;
    assert_int_equal(ask(&req, &m), 0);
    assert_int_equal(m.type, CONTROL_REFUSED);
    assert_body_has(&m, "/nowhere/t.toml: cannot be read: No such file or directory\n");
    ipc_msg_close(&m);
}

static void test_a_supervisor_that_is_gone_ends_the_role(void **state) {
    struct ipc_msg m;
    assert_int_equal(ask(NULL, &m), 1);
}

static void test_a_message_that_is_no_request_ends_the_role(void **state) {
    int fds[2];
    assert_int_equal(ipc_pair(0, fds), 0);
    assert_int_equal(control_send(fds[0], CONTROL_GO), 0);
    assert_int_equal(config_role_run(fds[1], stubs()), 1);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flags_give_a_snapshot_and_a_secret),
        cmocka_unit_test(test_another_protocol_is_refused_in_words),
        cmocka_unit_test(test_the_secret_comes_from_the_file_named),
        cmocka_unit_test(test_a_broken_file_is_refused_with_its_faults),
        cmocka_unit_test(test_a_missing_file_is_refused),
        cmocka_unit_test(test_a_supervisor_that_is_gone_ends_the_role),
        cmocka_unit_test(test_a_message_that_is_no_request_ends_the_role),
    };
    if (setenv("XDG_STATE_HOME", "/tmp", 1) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
