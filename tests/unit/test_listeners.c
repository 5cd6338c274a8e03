/* Listening sockets over generations: kept, added, removed, and what a refused generation leaves. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "supervisor/listeners.h"

static struct listeners all;
static struct log quiet = {.level = LOG_LEVEL_ERROR};
static char line[1024];
static bool fail_listen;

int __real_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog) {
    if (fail_listen) {
        errno = EADDRINUSE;
        return -1;
    }
    return __real_listen(fd, backlog);
}

#define LOOPBACK(n)                                                                                                            \
    { .name = "127.0.0." #n ":0", .addr = {.family = AF_INET, .ip = {127, 0, 0, n}}, .v6only = true, .backlog = CONF_BACKLOG }
static struct conf_listener loopback[] = {LOOPBACK(1), LOOPBACK(1), LOOPBACK(2)};

static struct conf conf_of(uint32_t workers, struct conf_listener *addrs, size_t n) {
    return (struct conf){.workers = workers, .tcp_congestion = "", .listeners = addrs, .nlisteners = n};
}

static bool take(const struct conf *c) {
    struct text why = text_of(line, sizeof(line));
    if (!listeners_bind(&all, c, &why) || !listeners_listen(&all, &quiet, c, &why))
        return false;
    listeners_taken(&all);
    listeners_keep(&all, &quiet, c);
    return true;
}

static bool is_listening(int fd) {
    int on = 0;
    socklen_t len = sizeof(on);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 && on;
}

static int end(void **state) {
    listeners_keep(&all, &quiet, NULL);
    fail_listen = false;
    return all.n == 0 ? 0 : -1;
}

static void the_same_address_keeps_its_sockets(void **state) {
    struct conf c = conf_of(2, loopback, 2);
    assert_true(take(&c));
    assert_int_equal(all.n, 2); /* port 0 twice: two ports */
    const struct listener before = *listeners_find(&all, &c, 1);
    assert_true(before.real.port != 0 && before.real.port != listeners_find(&all, &c, 0)->real.port);
    assert_true(take(&c));
    assert_memory_equal(listeners_find(&all, &c, 1), &before, sizeof(before));
}

static void groups_grow_and_never_shrink(void **state) {
    struct conf two = conf_of(2, loopback, 1), four = conf_of(4, loopback, 1);
    assert_true(take(&two));
    int first = all.list[0].fds[0];
    assert_true(take(&four));
    assert_int_equal(all.list[0].nfds, 4);
    assert_int_equal(all.list[0].fds[0], first);
    assert_true(take(&two));
    assert_int_equal(all.list[0].nfds, 4);
    for (unsigned i = 0; i < 4; i++)
        assert_true(is_listening(all.list[0].fds[i]));
}

static void what_was_bound_for_a_refused_generation_is_closed(void **state) {
    struct conf small = conf_of(1, loopback, 1), large = conf_of(3, loopback, 3);
    struct text why = text_of(line, sizeof(line));
    assert_true(take(&small));
    assert_true(listeners_bind(&all, &large, &why));
    assert_int_equal(all.n, 3);
    assert_false(is_listening(listeners_find(&all, &large, 0)->fds[2])); /* no service would use it */
    listeners_unbind(&all);
    assert_int_equal(all.n, 1);
    assert_int_equal(all.list[0].nfds, 1);
    assert_true(is_listening(all.list[0].fds[0]));
}

static void a_failed_listen_is_taken_back_too(void **state) {
    struct conf small = conf_of(1, loopback, 1), large = conf_of(2, loopback, 1);
    struct text why = text_of(line, sizeof(line));
    assert_true(take(&small));
    assert_true(listeners_bind(&all, &large, &why));
    fail_listen = true;
    assert_false(listeners_listen(&all, &quiet, &large, &why));
    assert_non_null(strstr(line, "cannot listen on 127.0.0.1:"));
    listeners_unbind(&all);
    assert_int_equal(all.list[0].nfds, 1);
}

static void removed_addresses_are_closed(void **state) {
    struct conf three = conf_of(1, loopback, 3), last = conf_of(1, &loopback[2], 1);
    assert_true(take(&three));
    int kept = listeners_find(&all, &three, 2)->fds[0];
    assert_true(take(&last));
    assert_int_equal(all.n, 1);
    assert_int_equal(all.list[0].fds[0], kept);
}

static void a_port_that_others_have_is_said(void **state) {
    struct conf c = conf_of(1, loopback, 1);
    assert_true(take(&c));
    struct conf_listener taken = {.name = "taken", .addr = all.list[0].real, .v6only = true, .backlog = 1};
    struct listeners others = {0};
    struct conf same = conf_of(1, &taken, 1);
    struct text why = text_of(line, sizeof(line));
    assert_false(listeners_bind(&others, &same, &why));
    assert_non_null(strstr(line, "Address already in use"));
    listeners_keep(&others, &quiet, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, NULL, end)

static bool connects(const char *ip, uint16_t port) {
    struct sockaddr_storage ss;
    struct addr a;
    assert_int_equal(addr_parse_ip(ip, &a), 0);
    a.port = port;
    socklen_t len = addr_to_sockaddr(&a, &ss);
    int fd = socket(a.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    bool ok = connect(fd, (struct sockaddr *)&ss, len) == 0;
    close(fd);
    return ok;
}

/* A port that nobody has at any address of either family: what is free at one address may be taken at another. */
static uint16_t port_free_everywhere(void) {
    struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    socklen_t len = sizeof(any);
    int off = 0, fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return 0; /* no IPv6 here: any */
    assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&any, &len), 0);
    close(fd);
    return ntohs(any.sin6_port);
}

/* [::] alone, then both families, then [::] alone: each time at the same port, while the sockets before are still bound. */
static void an_address_changes_its_families(void **state) {
    struct conf_listener at = {.name = "[::]:0", .addr = {.family = AF_INET6}, .v6only = true, .backlog = 8};
    struct conf c = conf_of(2, &at, 1);
    at.addr.port = port_free_everywhere();
    if (!take(&c))
        skip(); /* no IPv6 here */
    at.addr.port = all.list[0].real.port;
    all.list[0].asked.port = at.addr.port;
    for (unsigned i = 0; i < 3; i++) {
        assert_true(connects("::1", at.addr.port));
        assert_int_equal(connects("127.0.0.1", at.addr.port), !at.v6only);
        at.v6only = !at.v6only;
        assert_true(take(&c));
        assert_int_equal(all.n, 1);
    }
}

/* Wider and narrower addresses of one port follow each other in the same way. */
static void an_address_becomes_a_wider_one(void **state) {
    struct conf_listener at[] = {LOOPBACK(1), LOOPBACK(2)};
    struct conf one = conf_of(1, at, 1), two = conf_of(1, at + 1, 1);
    at[0].addr.port = port_free_everywhere();
    assert_true(take(&one));
    at[0].addr.port = all.list[0].asked.port = all.list[0].real.port;
    at[1].addr = (struct addr){.family = AF_INET, .port = at[0].addr.port};
    assert_true(take(&two));
    assert_true(connects("127.0.0.3", at[1].addr.port));
    assert_true(take(&one));
    assert_false(connects("127.0.0.3", at[1].addr.port));
    assert_true(connects("127.0.0.1", at[1].addr.port));
}

static int socket_protocol(int fd) {
    int protocol = -1;
    socklen_t len = sizeof(protocol);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len), 0);
    return protocol;
}

/* Where the kernel has no MPTCP it is plain TCP; it serves plain clients either way. */
static void mptcp_is_taken_up_and_given_up(void **state) {
    struct conf_listener at = LOOPBACK(1);
    struct conf c = conf_of(2, &at, 1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
    bool there = fd >= 0;
    close(fd);
    at.mptcp = true;
    assert_true(take(&c));
    assert_int_equal(socket_protocol(all.list[0].fds[0]), there ? IPPROTO_MPTCP : IPPROTO_TCP);
    at.addr.port = all.list[0].asked.port = all.list[0].real.port;
    assert_true(connects("127.0.0.1", at.addr.port));
    at.mptcp = false;
    assert_true(take(&c));
    assert_int_equal(all.n, 1);
    assert_int_equal(socket_protocol(all.list[0].fds[0]), IPPROTO_TCP);
    assert_true(connects("127.0.0.1", at.addr.port));
}

static void an_interface_is_kept_to(void **state) {
    struct conf_listener at = LOOPBACK(1);
    struct conf c = conf_of(1, &at, 1);
    struct text why = text_of(line, sizeof(line));
    char name[CONF_DEVICE_MAX + 1] = "";
    socklen_t len = sizeof(name);
    at.device = "no-such-if";
    assert_false(listeners_bind(&all, &c, &why));
    assert_string_equal(line, "cannot listen on 127.0.0.1:0: No such device");
    listeners_unbind(&all);
    at.device = "lo";
    assert_true(take(&c));
    assert_int_equal(getsockopt(all.list[0].fds[0], SOL_SOCKET, SO_BINDTODEVICE, name, &len), 0);
    assert_string_equal(name, "lo");
    assert_true(connects("127.0.0.1", all.list[0].real.port));
}

/* ---- Unix sockets ---- */

static char path[] = "/tmp/tls-off-listeners.XXXXXX/a.sock";

static void make_path(char *dir_end) {
    *dir_end = 0;
    assert_non_null(mkdtemp(path));
    *dir_end = '/';
}

static int connect_unix(void) {
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    memcpy(sun.sun_path, path, sizeof(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    int failed = connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 ? errno : 0;
    close(fd);
    return failed;
}

/* One for all handshakers; kept with its rights, which may change; removed with the address. */
static void a_path_is_one_socket_and_goes_with_its_file(void **state) {
    char *slash = strrchr(path, '/');
    struct stat st;
    make_path(slash);
    struct conf_listener at = {.name = "unix:x", .path = path, .rights = {0600, UINT32_MAX, UINT32_MAX}, .backlog = 8};
    struct conf c = conf_of(3, &at, 1);
    struct text why = text_of(line, sizeof(line));
    assert_true(listeners_bind(&all, &c, &why));
    at.rights.mode = 0666;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600); /* nobody else's before the switch, whatever is configured */
    assert_true(take(&c));
    assert_int_equal(all.list[0].nfds, 1);
    int fd = all.list[0].fds[0];
    assert_int_equal(connect_unix(), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666);
    at.rights.mode = 0660;
    c.workers = 5;
    assert_true(take(&c));
    assert_true(all.list[0].nfds == 1 && all.list[0].fds[0] == fd);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    struct conf tcp = conf_of(1, loopback, 1);
    assert_true(take(&tcp));
    assert_int_equal(connect_unix(), ENOENT);
    *slash = 0;
    assert_int_equal(rmdir(path), 0);
    memcpy(slash - 6, "XXXXXX/", 7);
}

static void a_file_that_is_not_ours_any_more_stays(void **state) {
    char *slash = strrchr(path, '/');
    make_path(slash);
    struct conf_listener at = {.name = "unix:x", .path = path, .rights = {0600, UINT32_MAX, UINT32_MAX}, .backlog = 8};
    struct conf c = conf_of(1, &at, 1);
    assert_true(take(&c));
    assert_int_equal(unlink(path), 0);
    int other = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(other >= 0);
    assert_false(take(&c)); /* a reload */
    assert_non_null(strstr(line, "cannot listen on unix:x: found another file in its place"));
    listeners_keep(&all, &quiet, NULL);
    assert_int_equal(access(path, F_OK), 0);
    close(other);
    assert_int_equal(unlink(path), 0);
    *slash = 0;
    assert_int_equal(rmdir(path), 0);
    memcpy(slash - 6, "XXXXXX/", 7);
}

/* Two of them at once is what an abstract name and a path of the same text would be. */
static void an_abstract_name_is_no_path(void **state) {
    struct conf_listener at[] = {{.name = "unix:@a", .path = "@tls-off-test-listeners", .backlog = 8}, LOOPBACK(1)};
    struct conf c = conf_of(2, at, 2), again = conf_of(1, at, 1);
    struct listeners others = {0};
    struct text why = text_of(line, sizeof(line));
    assert_true(take(&c));
    assert_int_equal(all.list[0].nfds, 1);
    assert_false(listeners_bind(&others, &again, &why));
    assert_string_equal(line, "cannot listen on unix:@a: another process serves there");
    listeners_keep(&others, &quiet, NULL);
    assert_true(take(&c));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_same_address_keeps_its_sockets),
        TEST(groups_grow_and_never_shrink),
        TEST(what_was_bound_for_a_refused_generation_is_closed),
        TEST(a_failed_listen_is_taken_back_too),
        TEST(removed_addresses_are_closed),
        TEST(a_port_that_others_have_is_said),
        TEST(an_address_changes_its_families),
        TEST(an_address_becomes_a_wider_one),
        TEST(mptcp_is_taken_up_and_given_up),
        TEST(an_interface_is_kept_to),
        TEST(a_path_is_one_socket_and_goes_with_its_file),
        TEST(a_file_that_is_not_ours_any_more_stays),
        TEST(an_abstract_name_is_no_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
