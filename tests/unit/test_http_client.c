/* The command line's HTTP client: heads cut anywhere, heads that lie, and servers that hang, disconnect or send too much. */
#include "cli/http_client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"

static const char good[] = "HTTP/1.1 202 Accepted\r\nDate: x\r\ncontent-LENGTH:  5 \r\n\r\nhello";

static int parse(const char *s, struct http_head *h) {
    return http_head_parse(span_str(s), h);
}

static void test_a_head_is_whole_at_its_empty_line_only(void **state) {
    struct http_head h;
    (void)state;
    for (size_t n = 0; n < sizeof(good) - 1; n++) {
        char *part = malloc(n ? n : 1); /* exact, so that ASan sees a read past the end */
        assert_non_null(part);
        memcpy(part, good, n);
        assert_int_equal(http_head_parse(span_of(part, n), &h), n >= sizeof(good) - 6);
        free(part);
    }
    assert_int_equal(parse(good, &h), 1);
    assert_int_equal(h.status, 202);
    assert_int_equal(h.body_len, 5);
    assert_int_equal(h.len, sizeof(good) - 6);
    assert_int_equal(parse("HTTP/1.0 200\n\nrest", &h), 1);
    assert_int_equal(h.body_len, SIZE_MAX);
}

static void test_heads_that_are_none(void **state) {
    static const char *const bad[] = {
        "\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "SSH-2.0-x\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0x10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    struct http_head h;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (parse(bad[i], &h) != ERR_FORMAT)
            fail_msg("taken: %s", bad[i]);
    char *endless = malloc(HTTP_CLIENT_HEAD_MAX);
    assert_non_null(endless);
    memset(endless, 'a', HTTP_CLIENT_HEAD_MAX);
    memcpy(endless, "HTTP/1.1 200 OK\n", 16);
    assert_int_equal(http_head_parse(span_of(endless, HTTP_CLIENT_HEAD_MAX - 1), &h), 0);
    assert_int_equal(http_head_parse(span_of(endless, HTTP_CLIENT_HEAD_MAX), &h), ERR_FORMAT);
    free(endless);
}

/* ---- against a server with given answers ---- */

static char path[64];

static int bound(void) {
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    (void)snprintf(path, sizeof(path), "/tmp/tls-off-test-%d.sock", (int)getpid());
    (void)unlink(path);
    memcpy(sun.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    return fd;
}

/* Answers one request in two pieces; then disconnects, or stays silent until it is ended. */
static pid_t serve(int fd, const char *answer, size_t len, bool hang) {
    assert_int_equal(listen(fd, 1), 0);
    pid_t pid = fork();
    if (pid != 0) {
        close(fd);
        return pid;
    }
    char request[1024];
    int c = accept(fd, NULL, NULL);
    bool ok = c >= 0 && read(c, request, sizeof(request)) > 0 && write(c, answer, len / 2) >= 0 &&
              write(c, answer + len / 2, len - len / 2) >= 0;
    while (hang && ok)
        pause();
    _exit(!ok);
}

static int ask(const char *answer, size_t len, bool hang, struct http_answer *ret) {
    pid_t pid = serve(bound(), answer, len, hang);
    int err = http_ask(path, "GET", "/x", clock_mono_ms() + (hang ? 200 : 10000), ret), status;
    if (hang)
        (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    (void)unlink(path);
    return err;
}

static void test_whole_answers(void **state) {
    static const char *const answers[] = {good, "HTTP/1.1 202 x\r\n\r\nhello"};
    struct http_answer a;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        assert_int_equal(ask(answers[i], strlen(answers[i]), false, &a), 0);
        assert_int_equal(a.status, 202);
        assert_true(span_eq(buf_span(&a.body), span_str("hello")));
        buf_fini(&a.body);
    }
    assert_int_equal(ask("HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n", 37, false, &a), 0);
    assert_int_equal(buf_len(&a.body), 0);
}

static void test_answers_that_are_not_whole(void **state) {
    struct http_answer a;
    (void)state;
    assert_int_equal(ask(good, strlen(good) - 1, false, &a), ERR_CLOSED);
    assert_int_equal(ask(good, 10, false, &a), ERR_CLOSED);
    assert_int_equal(ask(good, strlen(good) - 1, true, &a), ERR_AGAIN);
    assert_int_equal(ask("HTTP/1.1 200 x\r\nContent-Length: 1\r\n\r\nxyz", 40, false, &a), ERR_FORMAT);
    assert_int_equal(ask("garbage\n", 8, false, &a), ERR_FORMAT);
}

static void test_nobody_there(void **state) {
    struct http_answer a;
    char longer[200];
    (void)state;
    int fd = bound(); /* not listening */
    assert_int_equal(http_ask(path, "GET", "/", clock_mono_ms() + 1000, &a), ERR_NOT_FOUND);
    close(fd);
    (void)unlink(path);
    assert_int_equal(http_ask(path, "GET", "/", clock_mono_ms() + 1000, &a), ERR_NOT_FOUND);
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = 0;
    assert_int_equal(http_ask(longer, "GET", "/", clock_mono_ms() + 1000, &a), ERR_SYSTEM);
    assert_int_equal(errno, ENAMETOOLONG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_head_is_whole_at_its_empty_line_only),
        cmocka_unit_test(test_heads_that_are_none),
        cmocka_unit_test(test_whole_answers),
        cmocka_unit_test(test_answers_that_are_not_whole),
        cmocka_unit_test(test_nobody_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
