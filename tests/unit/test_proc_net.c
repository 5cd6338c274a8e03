/* Sockets that listen are listed as they were bound, others are not. */
#include "conf/proc_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct wanted {
    const char *path; /* NULL: the port */
    uint16_t port;
    unsigned found;
    struct proc_net_socket last;
};

static void look(void *ctx, const struct proc_net_socket *s) {
    struct wanted *w = ctx;
    if (w->path ? strcmp(s->path, w->path) != 0 : s->at.port != w->port)
        return;
    w->found++;
    w->last = *s;
}

static unsigned long inode_of(int fd) {
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return (unsigned long)st.st_ino;
}

static void tcp_sockets_are_listed_while_they_listen(void **state) {
    static const char *const ips[] = {"127.0.0.1", "0.0.0.0", "::1", "::"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ips); i++) {
        struct addr a;
        struct sockaddr_storage ss;
        enum proc_net list = strchr(ips[i], ':') ? PROC_NET_TCP6 : PROC_NET_TCP;
        assert_int_equal(addr_parse_ip(ips[i], &a), 0);
        int fd = socket(a.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        socklen_t len = addr_to_sockaddr(&a, &ss);
        if (fd < 0 || bind(fd, (struct sockaddr *)&ss, len) != 0) {
            if (fd >= 0)
                (void)close(fd);
            continue; /* no IPv6 here */
        }
        len = sizeof(ss);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
        addr_from_sockaddr(&ss, &a);
        struct wanted w = {.port = a.port};
        proc_net_each(list, look, &w);
        assert_int_equal(w.found, 0);
        assert_int_equal(listen(fd, 1), 0);
        proc_net_each(list, look, &w);
        assert_int_equal(w.found, 1);
        assert_int_equal(w.last.inode, inode_of(fd));
        assert_true(addr_equal(&w.last.at, &a));
        (void)close(fd);
    }
}

static void unix_sockets_are_listed_with_their_names(void **state) {
    static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(types); i++) {
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        char name[80];
        bool abstract = i % 2;
        int type = types[i / 2];
        (void)snprintf(name, sizeof(name), "%stest_proc_net.%d %zu", abstract ? "@" : "/tmp/", (int)getpid(), i);
        memcpy(at.sun_path, name, strlen(name));
        if (abstract)
            at.sun_path[0] = '\0';
        int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
        socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name) + !abstract);
        assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
        struct wanted w = {.path = name};
        proc_net_each(PROC_NET_UNIX, look, &w);
        assert_int_equal(w.found, 0);
        assert_int_equal(listen(fd, 1), 0);
        proc_net_each(PROC_NET_UNIX, look, &w);
        assert_int_equal(w.found, 1);
        assert_int_equal(w.last.inode, inode_of(fd));
        assert_int_equal(w.last.type, type);
        (void)close(fd);
        if (!abstract)
            assert_int_equal(unlink(name), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp_sockets_are_listed_while_they_listen),
        cmocka_unit_test(unix_sockets_are_listed_with_their_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
