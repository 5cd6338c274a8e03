#include "conf/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "conf_support.h"

/* A socket that listens on IP at a port of the kernel's choice; -1 when this machine has no such address. */
static int listen_on(const char *ip, struct addr *ret) {
    struct sockaddr_storage ss = {0};
    assert_int_equal(addr_parse_ip(ip, ret), 0);
    socklen_t len = addr_to_sockaddr(ret, &ss);
    int fd = socket(ret->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&ss, len) != 0 || listen(fd, 1) != 0) {
        if (fd >= 0)
            (void)close(fd);
        return -1;
    }
    len = sizeof(ss);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
    addr_from_sockaddr(&ss, ret);
    return fd;
}

static struct addr addr_of(const char *text) {
    struct addr a;
    assert_int_equal(addr_parse(text, &a), 0);
    return a;
}

static enum port_state probe(const struct addr *a) {
    return port_probe(&(const struct conf_listener){.addr = *a, .v6only = true});
}

static void test_a_free_port(void **state) {
    struct addr a = addr_of("127.0.0.1:0");
    assert_int_equal(probe(&a), PORT_FREE);
}

static void test_a_port_in_use_and_who_uses_it(void **state) {
    static const char *const ips[] = {"127.0.0.1", "0.0.0.0", "::1", "::"};
    for (size_t i = 0; i < ARRAY_LEN(ips); i++) {
        struct addr a;
        struct port_holder h;
        int fd = listen_on(ips[i], &a);
        if (fd < 0)
            continue; /* no IPv6 here */
        assert_int_equal(probe(&a), PORT_IN_USE);
        port_find_holder(&a, &h);
        assert_int_equal(h.pid, getpid());
        assert_string_equal(h.name, "test_ports");
        (void)close(fd);
        assert_int_equal(probe(&a), PORT_FREE);
        port_find_holder(&a, &h);
        assert_int_equal(h.pid, 0);
    }
}

static void test_all_addresses_stand_in_the_way_of_one(void **state) {
    struct addr a;
    struct port_holder h;
    int fd = listen_on("0.0.0.0", &a);
    assert_true(fd >= 0);
    struct addr one = addr_of("127.0.0.1:1");
    one.port = a.port;
    assert_int_equal(probe(&one), PORT_IN_USE);
    port_find_holder(&one, &h);
    assert_int_equal(h.pid, getpid());
    (void)close(fd);
}

static void test_an_address_of_another_machine(void **state) {
    struct addr a = addr_of("203.0.113.7:0");
    assert_int_equal(probe(&a), PORT_NO_ADDRESS);
}

int __wrap_bind(int fd, const struct sockaddr *sa, socklen_t len);
int __real_bind(int fd, const struct sockaddr *sa, socklen_t len);
static int bind_errno;

int __wrap_bind(int fd, const struct sockaddr *sa, socklen_t len) {
    if (!bind_errno)
        return __real_bind(fd, sa, len);
    errno = bind_errno;
    return -1;
}

static void check_lines(unsigned flags, const char *addr, struct diagnostics *f) {
    struct load l = {.conf = conf_new(), .diagnostics = f, .capabilities = stubs(), .flags = flags, .file = "t.toml"};
    struct conf_listener at = {.name = addr, .addr = addr_of(addr), .v6only = true};
    struct listener_origin o = {.first = {{2, 10}, "service.a.listen"}};
    diagnostics_init(f);
    l.conf->listeners = &at;
    l.conf->nlisteners = 1;
    l.listeners = &o;
    check_ports(&l);
    conf_free(l.conf);
}

/* A socket of IPv4 is in the way of both families. */
static void test_both_families_are_in_use_by_one(void **state) {
    struct addr v4;
    int fd = listen_on("127.0.0.1", &v4);
    struct conf_listener both = {.name = "*", .addr = {.family = AF_INET6, .port = v4.port}};
    enum port_state taken = port_probe(&both);
    both.v6only = true;
    enum port_state alone = port_probe(&both);
    (void)close(fd);
    if (alone == PORT_NO_ADDRESS)
        skip(); /* no IPv6 here */
    assert_int_equal(taken, PORT_IN_USE);
    assert_int_equal(alone, PORT_FREE);
    both.device = "no-such-if";
    assert_int_equal(port_probe(&both), PORT_NO_DEVICE);
}

static void test_no_permission_comes_with_a_hint(void **state) {
    struct diagnostics f;
    bind_errno = EACCES;
    check_lines(0, "127.0.0.1:443", &f);
    assert_string_equal(f.text,
                        "t.toml:2:10: service.a.listen: found \"127.0.0.1:443\", which this user may not listen on: it takes "
                        "root, CAP_NET_BIND_SERVICE, or a lower net.ipv4.ip_unprivileged_port_start\n");
    diagnostics_fini(&f);
    bind_errno = ENOBUFS;
    check_lines(0, "127.0.0.1:443", &f);
    assert_string_equal(f.text,
                        "t.toml:2:10: service.a.listen: found \"127.0.0.1:443\", which cannot be listened on: No buffer space "
                        "available\n");
    diagnostics_fini(&f);
    bind_errno = 0;
}

static void test_an_unknown_holder(void **state) {
    struct diagnostics f;
    bind_errno = EADDRINUSE;
    check_lines(0, "127.0.0.1:1", &f);
    bind_errno = 0;
    assert_string_equal(
        f.text, "t.toml:2:10: service.a.listen: found \"127.0.0.1:1\" in use by another process, expected a free address\n");
    diagnostics_fini(&f);
    bind_errno = EADDRINUSE; /* it may be the proxy that runs with this file */
    check_lines(LOAD_FOR_CHECK, "127.0.0.1:1", &f);
    bind_errno = 0;
    assert_string_equal(f.text, "t.toml:2:10: warning: service.a.listen: \"127.0.0.1:1\" is in use by a process that this user "
                                "may not look at\n");
    diagnostics_fini(&f);
}

static void test_another_tls_off_is_a_warning_for_check_only(void **state) {
    struct diagnostics f;
    struct addr a;
    char text[ADDR_TEXT_MAX], line[256];
    int fd = listen_on("127.0.0.1", &a);
    assert_true(fd >= 0);
    (void)addr_text(&a, text);
    assert_int_equal(prctl(PR_SET_NAME, "tls-off"), 0);
    check_lines(LOAD_FOR_CHECK, text, &f);
    (void)snprintf(line, sizeof(line), "t.toml:2:10: warning: service.a.listen: \"%s\" is in use by tls-off (process %d)\n",
                   text, (int)getpid());
    assert_string_equal(f.text, line);
    diagnostics_fini(&f);
    check_lines(0, text, &f);
    assert_int_equal(f.errors, 1);
    diagnostics_fini(&f);
    assert_int_equal(prctl(PR_SET_NAME, "test_ports"), 0);
    check_lines(LOAD_FOR_CHECK, text, &f);
    (void)snprintf(line, sizeof(line),
                   "t.toml:2:10: service.a.listen: found \"%s\" in use by test_ports (process %d), expected a free address\n",
                   text, (int)getpid());
    assert_string_equal(f.text, line);
    diagnostics_fini(&f);
    (void)close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_free_port),
        cmocka_unit_test(test_a_port_in_use_and_who_uses_it),
        cmocka_unit_test(test_all_addresses_stand_in_the_way_of_one),
        cmocka_unit_test(test_an_address_of_another_machine),
        cmocka_unit_test(test_both_families_are_in_use_by_one),
        cmocka_unit_test(test_no_permission_comes_with_a_hint),
        cmocka_unit_test(test_an_unknown_holder),
        cmocka_unit_test(test_another_tls_off_is_a_warning_for_check_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
