/* Plain HTTP to https: what is redirected, and where to; what is not. */
#include "handshaker/http_redirect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static enum step ask(const char *request, size_t n, char ret[static 16384]) {
    struct buf out;
    buf_init(&out, 16384);
    char *copy = malloc(n ? n : 1); /* nothing behind it */
    assert_non_null(copy);
    memcpy(copy, request, n);
    enum step step = http_redirect(span_of(copy, n), &out);
    struct span s = buf_span(&out);
    if (s.len)
        memcpy(ret, s.p, s.len);
    ret[s.len] = '\0';
    buf_fini(&out);
    free(copy);
    return step;
}

static void assert_goes_to(const char *request, const char *url) {
    char got[16384], wanted[16384];
    (void)snprintf(wanted, sizeof(wanted),
                   "HTTP/1.1 308 Permanent Redirect\r\nLocation: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", url);
    assert_int_equal(ask(request, strlen(request), got), STEP_DONE);
    assert_string_equal(got, wanted);
    for (size_t n = 0; n < strlen(request); n++) /* whatever is here of it so far */
        if (ask(request, n, got) != STEP_WANT_READ)
            fail_msg("answered after %zu bytes: %s", n, request);
}

static void assert_refused(const char *request) {
    char got[16384];
    if (ask(request, strlen(request), got) != STEP_FAILED || got[0])
        fail_msg("%s\ngot %s", request, got);
}

#define HOST "Host: a.example\r\n\r\n"

static void what_is_redirected(void **state) {
    assert_goes_to("GET / HTTP/1.1\r\n" HOST, "https://a.example/");
    assert_goes_to("HEAD /x/y?z=1&t=%20 HTTP/1.0\r\nAccept: */*\r\nhOsT:\t A.Example. \r\n\r\n",
                   "https://a.example/x/y?z=1&t=%20");
    assert_goes_to("POST //b.example/ HTTP/1.1\nHost: a.example:8443\n\n", "https://a.example:8443//b.example/");
    assert_goes_to("GET / HTTP/1.1\r\nHost: a.example:80\r\n\r\n", "https://a.example/");
    assert_goes_to("GET / HTTP/1.1\r\nHost: 192.0.2.1:8080\r\n\r\n", "https://192.0.2.1:8080/");
    assert_goes_to("GET / HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n", "https://[2001:db8::1]/");
    assert_goes_to("GET / HTTP/1.1\r\nHost: [::1]:81\r\n\r\n", "https://[::1]:81/");
    assert_goes_to("GET http://b.example:81/p HTTP/1.1\r\n" HOST, "https://b.example:81/p");
    assert_goes_to("GET HTTP://b.example HTTP/1.1\r\n" HOST, "https://b.example/");
    assert_goes_to("GET http://b.example?q HTTP/1.1\r\n" HOST, "https://b.example/?q");
}

static void what_is_not(void **state) {
    static const char *const hosts[] = {
        "",       " ",      "a b",       "a/b", "a@b",  "a\tb", "a:",  "a:0",   "a:65536",    "a:8x", "a:1:2", "[::1", "[a]",
        "[::1]x", "[::1]:", "[1.2.3.4]", "*.a", "a..b", ".a",   "a,b", "a\x01", "\xc3\xbc.a", "a?b",  "a#b",   "a\\b", "a:-1"};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        char request[256];
        (void)snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", hosts[i]);
        assert_refused(request);
    }
    assert_refused("GET / HTTP/1.0\r\n\r\n");
    assert_refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
    assert_refused("GET / HTTP/1.1\r\nHost : a\r\n\r\n");
    assert_refused("OPTIONS * HTTP/1.1\r\n" HOST);
    assert_refused("CONNECT a.example:443 HTTP/1.1\r\n" HOST);
    assert_refused("GET ftp://a/ HTTP/1.1\r\n" HOST);
    assert_refused("GET http://@b/ HTTP/1.1\r\n" HOST);
    assert_refused("GET http:/// HTTP/1.1\r\n" HOST);
    assert_refused("GET /\x01 HTTP/1.1\r\n" HOST);
    assert_refused("GET /\r/ HTTP/1.1\r\n" HOST);
    assert_refused("GET /\xff HTTP/1.1\r\n" HOST);
    assert_refused("GET /\" HTTP/1.1\r\n" HOST);
    assert_refused("GET /a b HTTP/1.1\r\n" HOST);
    assert_refused("GET /\r\n" HOST);
    assert_refused("PRI * HTTP/2.0\r\n\r\n");
}

static void how_long_it_may_be(void **state) {
    static char request[2 * HTTP_REDIRECT_MAX], got[16384];
    memset(request, 'x', sizeof(request));
    memcpy(request, "GET /", 5);
    assert_int_equal(ask(request, HTTP_REDIRECT_MAX - 1, got), STEP_WANT_READ);
    assert_int_equal(ask(request, HTTP_REDIRECT_MAX, got), STEP_FAILED);
    static const char end[] = " HTTP/1.1\r\n" HOST;
    memcpy(request + HTTP_REDIRECT_MAX - strlen(end), end, strlen(end));
    assert_int_equal(ask(request, HTTP_REDIRECT_MAX, got), STEP_DONE);
    assert_int_equal(ask(request, HTTP_REDIRECT_MAX - 1, got), STEP_WANT_READ);
    memmove(request + HTTP_REDIRECT_MAX - strlen(end) + 1, end, strlen(end));
    request[HTTP_REDIRECT_MAX - strlen(end)] = 'x';
    assert_int_equal(ask(request, HTTP_REDIRECT_MAX + 1, got), STEP_FAILED);
}

static void a_zero_byte(void **state) {
    static const char path[] = "GET /\0 HTTP/1.1\r\n" HOST, host[] = "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n",
                      bracket[] = "GET / HTTP/1.1\r\nHost: [::1\0]\r\n\r\n", scheme[] = "GET http://b\0c/ HTTP/1.1\r\n" HOST;
    char got[16384];
    assert_int_equal(ask(path, sizeof(path) - 1, got), STEP_FAILED);
    assert_int_equal(ask(host, sizeof(host) - 1, got), STEP_FAILED);
    assert_int_equal(ask(bracket, sizeof(bracket) - 1, got), STEP_FAILED);
    assert_int_equal(ask(scheme, sizeof(scheme) - 1, got), STEP_FAILED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_redirected),
        cmocka_unit_test(what_is_not),
        cmocka_unit_test(how_long_it_may_be),
        cmocka_unit_test(a_zero_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
