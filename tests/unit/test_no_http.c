/* The answer on admin sockets without an HTTP library: every client gets it, however it behaves, and nothing is kept. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "observer/no_http.h"

static struct loop loop;
static struct no_http door;
static struct sockaddr_un name;
static socklen_t name_len;

static bool one_turn(void *ctx) {
    (void)ctx;
    loop.stop = true;
    return true;
}

static void turn(void) {
    loop.stop = false;
    assert_int_equal(loop_run(&loop), 0);
}

static unsigned open_fds(void) {
    unsigned n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static int listening(void) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    name = (struct sockaddr_un){.sun_family = AF_UNIX};
    name_len = sizeof(sa_family_t);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, name_len), 0); /* a name of the kernel's choice */
    name_len = sizeof(name);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &name_len), 0);
    assert_int_equal(listen(fd, 100), 0);
    return fd;
}

static int client(const char *request) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, name_len), 0);
    assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
    return fd;
}

static void assert_answered(int fd) {
    char all[1024] = "";
    size_t len = 0;
    for (ssize_t n; (n = recv(fd, all + len, sizeof(all) - 1 - len, MSG_DONTWAIT)) != 0;) {
        assert_true(n > 0);
        len += (size_t)n;
    }
    assert_int_equal(strncmp(all, "HTTP/1.1 503 ", 13), 0);
    const char *body = strstr(all, "\r\n\r\n");
    assert_non_null(body);
    unsigned announced = 0;
    assert_int_equal(sscanf(strstr(all, "Content-Length: "), "Content-Length: %u", &announced), 1);
    assert_int_equal(strlen(body + 4), announced);
    assert_non_null(strstr(body, "libanything is missing"));
    close(fd);
}

static void each_client_is_answered(void **state) {
    (void)state;
    unsigned before = open_fds();
    assert_int_equal(no_http_listen(&door, 0, listening()), 0);
    for (unsigned i = 0; i < 3 * NO_HTTP_CONNECTIONS; i++) {
        int fd = client("GET /status.json HTTP/1.1\r\nHost: x\r\n\r\n");
        turn();
        turn();
        assert_answered(fd);
    }
    no_http_fini(&door);
    assert_int_equal(open_fds(), before);
}

/* Those that send nothing hold no more than a bounded number of places, and nobody else up. */
static void silent_clients_are_bounded(void **state) {
    int silent[2 * NO_HTTP_CONNECTIONS];
    (void)state;
    unsigned before = open_fds();
    assert_int_equal(no_http_listen(&door, 1, listening()), 0);
    for (unsigned i = 0; i < 2 * NO_HTTP_CONNECTIONS; i++) {
        silent[i] = client("");
        turn();
    }
    int fd = client("GET / HTTP/1.0\r\n\r\n");
    turn();
    turn();
    assert_answered(fd);
    for (unsigned i = 0; i <= NO_HTTP_CONNECTIONS; i++) /* had to go */
        assert_answered(silent[i]);
    char byte;
    assert_int_equal(recv(silent[2 * NO_HTTP_CONNECTIONS - 1], &byte, 1, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
    for (unsigned i = NO_HTTP_CONNECTIONS + 1; i < 2 * NO_HTTP_CONNECTIONS; i++) {
        close(silent[i]);
        turn();
    }
    no_http_fini(&door);
    assert_int_equal(open_fds(), before);
}

/* A reload may bring another socket in the place of the first. */
static void a_socket_is_replaced(void **state) {
    (void)state;
    unsigned before = open_fds();
    assert_int_equal(no_http_listen(&door, 0, listening()), 0);
    assert_int_equal(no_http_listen(&door, 0, listening()), 0);
    int fd = client("GET / HTTP/1.0\r\n\r\n");
    turn();
    turn();
    assert_answered(fd);
    no_http_fini(&door);
    assert_int_equal(open_fds(), before);
}

static int set_up(void **state) {
    (void)state;
    if (loop_init(&loop) < 0)
        return -1;
    loop.hook = one_turn;
    no_http_start(&door, &loop, 3);
    snprintf(door.why, sizeof(door.why), "libanything is missing");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    loop_fini(&loop);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_client_is_answered),
        cmocka_unit_test(silent_clients_are_bounded),
        cmocka_unit_test(a_socket_is_replaced),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
