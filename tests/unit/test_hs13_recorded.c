/*
 * First hellos as stacks of the field make them that are not to be had here, or not in tests: order and contents of fields
 * after what is published of them (JA3 and JA4 strings, release notes, their sources); none is a capture. Each goes to our own
 * handshake and to libssl's, and both must come to the same session.
 */
#include "tls/hs13.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <openssl/err.h>

#include "hs13_cases.h"

#define HYBRID  0x11ec /* X25519MLKEM768 */
#define GREASE  0x3a3a
#define EXT_MAX 24

/* Extensions that say the same in most hellos. */
#define X(type, data)                                                                                                          \
    {                                                                                                                          \
        type, {                                                                                                                \
            (const uint8_t *)(data), sizeof(data) - 1                                                                          \
        }                                                                                                                      \
    }
#define X_SHARE       X(EXT_SHARE, "") /* filled in */
#define X_NAME        X(EXT_NAME, "\0\x12\0\0\x0fwww.example.org")
#define X_NO_NAME     X(0x7777, "")
#define X_POINTS      X(11, "\1\0")
#define X_TICKET      X(35, "")
#define X_MASTER      X(23, "")
#define X_RENEGOTIATE X(65281, "\0")
#define X_SCT         X(18, "")
#define X_OCSP        X(EXT_STATUS, "\1\0\0\0\0")
#define X_WEB         X(EXT_PROTOCOLS, "\0\x0c\2h2\x08http/1.1")
#define X_MODES       X(EXT_MODES, "\1\1")
#define X_BOTH        X(EXT_VERSIONS, "\4\3\4\3\3")
#define X_GREASE      X(GREASE, "")
#define X_GREASE_BYTE X(0x5a5a, "\0")
#define X_GREASE_BOTH X(EXT_VERSIONS, "\6\x2a\x2a\3\4\3\3")
#define SUITES(list)                                                                                                           \
    { (const uint8_t *)(list), sizeof(list) - 1 }
#define CHROME_SIGALGS "\0\x10\4\3\x08\4\4\1\5\3\x08\5\5\1\x08\6\6\1"
#define JAVA_SIGALGS   "\0\x26\4\3\5\3\6\3\x08\4\x08\5\x08\6\x08\x09\x08\x0a\x08\x0b\4\1\5\1\6\1\4\2\3\3\3\1\3\2\2\3\2\1\2\2"

static const struct recorded {
    const char *who;
    struct span suites;
    size_t session_id_len;
    uint16_t shares[4]; /* groups: GREASE and a hybrid have bytes that nobody looks at */
    uint16_t group;     /* of the session */
    bool retry;
    struct raw_ext exts[EXT_MAX];
} clients[] = {
    {"Chrome: GREASE everywhere, a hybrid share first, ECH GREASE, ALPS, brotli",
     SUITES(
         "\x4a\x4a\x13\1\x13\2\x13\3\xc0\x2b\xc0\x2f\xc0\x2c\xc0\x30\xcc\xa9\xcc\xa8\xc0\x13\xc0\x14\0\x9c\0\x9d\0\x2f\0\x35"),
     32,
     {GREASE, HYBRID, 0x001d},
     0x001d,
     false,
     {X_GREASE, X_RENEGOTIATE, X(EXT_COMPRESS, "\2\0\2"), X_OCSP, X_NAME, X(17613, "\0\3\2h2"), X(EXT_SIGALGS, CHROME_SIGALGS),
      X(65037, "\0\0\1\0\1\x55\0\x20................................\0\x10................"), X_GREASE_BOTH, X_SCT, X_MASTER,
      X_WEB, X_MODES, X_SHARE, X(EXT_GROUPS, "\0\x0a\x3a\x3a\x11\xec\0\x1d\0\x17\0\x18"), X_POINTS, X_TICKET, X_GREASE_BYTE}},
    {"Firefox: shares of two groups and a hybrid, record_size_limit, zlib, brotli and zstd, delegated credentials",
     SUITES(
         "\x13\1\x13\3\x13\2\xc0\x2b\xc0\x2f\xcc\xa9\xcc\xa8\xc0\x2c\xc0\x30\xc0\x0a\xc0\x09\xc0\x13\xc0\x14\0\x9c\0\x9d\0\x2f\0\x35"),
     32,
     {HYBRID, 0x001d, 0x0017},
     0x001d,
     false,
     {X_NAME, X_MASTER, X_RENEGOTIATE, X(EXT_GROUPS, "\0\x10\x11\xec\0\x1d\0\x17\0\x18\0\x19\1\0\1\1\1\2"), X_POINTS, X_TICKET,
      X_WEB, X_OCSP, X(34, "\0\x08\4\3\5\3\6\3\2\3"), X_SCT, X_SHARE, X_BOTH,
      X(EXT_SIGALGS, "\0\x16\4\3\5\3\6\3\x08\4\x08\5\x08\6\4\1\5\1\6\1\2\3\2\1"), X_MODES, X(EXT_RSL, "\x40\1"),
      X(EXT_COMPRESS, "\6\0\1\0\2\0\3"),
      X(65037, "\0\0\1\0\1\x55\0\x20................................\0\x10................")}},
    {"Safari, Apple's networking: a scheme listed twice, versions down to 1.0, zlib, padding",
     SUITES(
         "\x0a\x0a\x13\1\x13\2\x13\3\xc0\x2c\xc0\x2b\xcc\xa9\xc0\x30\xc0\x2f\xcc\xa8\xc0\x0a\xc0\x09\xc0\x14\xc0\x13\0\x9d\0\x9c"
         "\0\x35\0\x2f\xc0\x08\xc0\x12\0\x0a"),
     32,
     {GREASE, 0x001d},
     0x001d,
     false,
     {X_GREASE, X_NAME, X_MASTER, X_RENEGOTIATE, X(EXT_GROUPS, "\0\x0a\x3a\x3a\0\x1d\0\x17\0\x18\0\x19"), X_POINTS, X_WEB,
      X_OCSP, X(EXT_SIGALGS, "\0\x16\4\3\x08\4\4\1\5\3\2\3\x08\5\x08\5\5\1\x08\6\6\1\2\1"), X_SCT, X_SHARE, X_MODES,
      X(EXT_VERSIONS, "\x0a\x1a\x1a\3\4\3\3\3\2\3\1"), X(EXT_COMPRESS, "\2\0\1"), X_GREASE_BYTE,
      X(21, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")}},
    {"Android's Conscrypt: no GREASE",
     SUITES("\x13\1\x13\2\x13\3\xc0\x2b\xc0\x2c\xcc\xa9\xc0\x2f\xc0\x30\xcc\xa8\xc0\x13\xc0\x14\0\x9c\0\x9d\0\x2f\0\x35"),
     32,
     {0x001d},
     0x001d,
     false,
     {X_NAME, X_MASTER, X_RENEGOTIATE, X(EXT_GROUPS, "\0\6\0\x1d\0\x17\0\x18"), X_POINTS, X_TICKET, X_WEB, X_OCSP,
      X(EXT_SIGALGS, "\0\x12\4\3\x08\4\4\1\5\3\x08\5\5\1\x08\6\6\1\2\1"), X_SHARE, X_MODES, X_BOTH}},
    {"Schannel: AES-256 first, a ticket of 1.2 asked for, renegotiation_info last",
     SUITES(
         "\x13\2\x13\1\xc0\x2c\xc0\x2b\xc0\x30\xc0\x2f\xc0\x24\xc0\x23\xc0\x28\xc0\x27\xc0\x0a\xc0\x09\xc0\x14\xc0\x13\0\x9d\0\x9c"
         "\0\x3d\0\x3c\0\x35\0\x2f"),
     32,
     {0x001d},
     0x001d,
     false,
     {X_NAME, X_OCSP, X(EXT_GROUPS, "\0\6\0\x1d\0\x17\0\x18"), X_POINTS,
      X(EXT_SIGALGS, "\0\x1a\x08\4\x08\5\x08\6\4\1\5\1\2\1\4\3\5\3\2\3\2\2\6\1\6\3\3\1"), X_TICKET, X_WEB, X_MASTER, X_BOTH,
      X_MODES, X_SHARE, X_RENEGOTIATE}},
    {"JDK 11: a P-256 share alone, binary curves, signature_algorithms_cert, status_request_v2",
     SUITES(
         "\x13\1\x13\2\xc0\x2c\xc0\x2b\xc0\x30\0\x9d\xc0\x2e\xc0\x32\0\x9f\0\xa3\xc0\x2f\0\x9c\xc0\x2d\xc0\x31\0\x9e\0\xa2\xc0\x24"
         "\xc0\x28\0\x3d\0\xff"),
     32,
     {0x0017},
     0x0017,
     false,
     {X_NAME, X_OCSP,
      X(EXT_GROUPS, "\0\x20\0\x17\0\x18\0\x19\0\x09\0\x0a\0\x0b\0\x0c\0\x0d\0\x0e\0\x16\1\0\1\1\1\2\1\3\1\4\0\x1d"), X_POINTS,
      X(EXT_SIGALGS, JAVA_SIGALGS), X(50, JAVA_SIGALGS), X(17, "\0\7\2\0\4\0\0\0\0"), X_MASTER, X_BOTH, X_MODES, X_SHARE}},
    {"JDK 17: shares of X25519 and P-256",
     SUITES(
         "\x13\2\x13\1\x13\3\xc0\x2c\xcc\xa9\xc0\x2b\xc0\x30\xcc\xa8\xc0\x2f\0\x9f\xcc\xaa\0\xa3\0\x9e\0\xa2\xc0\x24\xc0\x28\0\xff"),
     32,
     {0x001d, 0x0017},
     0x001d,
     false,
     {X_NAME, X_OCSP, X(EXT_GROUPS, "\0\x16\0\x1d\0\x17\0\x18\0\x1e\0\x19\1\0\1\1\1\2\1\3\1\4\xff\1"), X_POINTS, X_WEB,
      X(17, "\0\7\2\0\4\0\0\0\0"), X_MASTER, X_TICKET,
      X(EXT_SIGALGS,
        "\0\x2c\4\3\5\3\6\3\x08\7\x08\x08\x08\4\x08\5\x08\6\x08\x09\x08\x0a\x08\x0b\4\1\5\1\6\1\4\2\3\3\3\1\3\2\2\3\2\1\2\2\xfe\1"),
      X_BOTH, X_MODES, X(50, JAVA_SIGALGS), X_SHARE}},
    {"JDK 11 again: neither a name nor a session ID",
     SUITES("\x13\1\x13\2"),
     0,
     {0x0017},
     0x0017,
     false,
     {X_NO_NAME, X_OCSP, X(EXT_GROUPS, "\0\6\0\x17\0\x18\0\x19"), X(EXT_SIGALGS, JAVA_SIGALGS), X(50, JAVA_SIGALGS),
      X(EXT_VERSIONS, "\2\3\4"), X_MODES, X_SHARE}},
    {"Erlang/OTP: CCM suites, an X448 group, extensions in its own order",
     SUITES("\x13\2\x13\1\x13\3\x13\4\x13\5\xc0\x2c\xc0\x30\xc0\xad\xc0\xaf\xc0\x24\xc0\x28\xcc\xa9\xcc\xa8\0\xff"),
     32,
     {0x001d},
     0x001d,
     false,
     {X(EXT_VERSIONS, "\4\3\4\3\3"), X(EXT_SIGALGS, "\0\x14\x08\7\x08\x08\6\3\5\3\4\3\x08\x0b\x08\x0a\x08\x09\x08\6\x08\4"),
      X(50, "\0\x10\6\3\5\3\4\3\x08\6\x08\5\x08\4\4\1\5\1"), X_SHARE, X_MODES, X_NAME,
      X(EXT_GROUPS, "\0\x0a\0\x1d\0\x1e\0\x17\0\x18\0\x19"), X_POINTS}},
    {"Erlang/OTP with a share of a group that we do not have",
     SUITES("\x13\2\x13\1\x13\3"),
     32,
     {0x001e},
     0x0018,
     true,
     {X(EXT_VERSIONS, "\2\3\4"), X(EXT_SIGALGS, "\0\4\4\3\x08\4"), X_SHARE, X_NAME, X(EXT_GROUPS, "\0\4\0\x1e\0\x18")}},
    {"Go: no ticket in the first hello, SCTs",
     SUITES(
         "\xc0\x2b\xc0\x2f\xc0\x2c\xc0\x30\xcc\xa9\xcc\xa8\xc0\x09\xc0\x13\xc0\x0a\xc0\x14\0\x9c\0\x9d\0\x2f\0\x35\xc0\x12\0\x0a"
         "\x13\1\x13\2\x13\3"),
     32,
     {0x001d},
     0x001d,
     false,
     {X_NAME, X_OCSP, X(EXT_GROUPS, "\0\x08\0\x1d\0\x17\0\x18\0\x19"), X_POINTS,
      X(EXT_SIGALGS, "\0\x18\x08\4\4\3\x08\7\x08\5\x08\6\4\1\5\1\6\1\5\3\6\3\2\1\2\3"), X_RENEGOTIATE, X_MASTER, X_WEB, X_SCT,
      X_BOTH, X_SHARE}},
    {"rustls: 1.3 alone",
     SUITES("\x13\2\x13\1\x13\3\0\xff"),
     32,
     {0x001d},
     0x001d,
     false,
     {X_NAME, X_SHARE, X(EXT_SIGALGS, "\0\x12\5\3\4\3\x08\7\x08\6\x08\5\x08\4\6\1\5\1\4\1"), X_OCSP, X_MASTER, X_POINTS,
      X_MODES, X(EXT_VERSIONS, "\2\3\4"), X(EXT_GROUPS, "\0\6\0\x1d\0\x17\0\x18"), X_TICKET}},
    {"Mbed TLS: one share, max_fragment_length, session ID, modes first",
     SUITES("\x13\2\x13\1\x13\3\x13\4\x13\5\xcc\xa8\xcc\xa9\xc0\x2c\xc0\x30\0\xff"),
     32,
     {0x0017},
     0x0017,
     false,
     {X_NAME, X(EXT_VERSIONS, "\4\3\4\3\3"), X(EXT_MFL, "\4"), X_SHARE, X_MODES,
      X(EXT_GROUPS, "\0\x0c\0\x1d\0\x17\0\x18\0\x1e\0\x19\0\x1a"), X(EXT_SIGALGS, "\0\x0e\4\3\5\3\6\3\x08\6\x08\5\x08\4\4\1"),
      X(22, ""), X_MASTER, X_TICKET}},
    {"wolfSSL: P-256, no session ID, key_share before its groups",
     SUITES("\x13\1\x13\2\x13\3\xc0\x2c\xc0\x2b\xc0\x30\xc0\x2f"),
     0,
     {0x0017},
     0x0017,
     false,
     {X_SHARE, X_BOTH, X(EXT_SIGALGS, "\0\x14\6\3\5\3\4\3\2\3\x08\6\x08\5\x08\4\6\1\5\1\4\1"),
      X(EXT_GROUPS, "\0\x08\0\x19\0\x18\0\x17\0\x15"), X_MASTER}},
};

/* ---- both paths ---- */

enum path { OURS, LIBSSL, PATHS };

static struct side {
    struct raw_client c;
    struct buf out;
    struct hs13_conn own;
    struct handshake *libssl;
    bool failed, done;
} sides[PATHS];

static void open_side(struct side *s, const struct tls_server *with) {
    memset(s, 0, sizeof(*s));
    raw_open(&s->c, &contexts);
    buf_init(&s->out, 512 * 1024);
    hs13_conn_open(&s->own, &env, with, &shop);
}

static void close_side(struct side *s) {
    raw_close(&s->c);
    buf_fini(&s->out);
    hs13_conn_close(&s->own);
    handshake_free(s->libssl);
    s->libssl = NULL;
}

static void step_libssl(struct side *s, const struct tls_server *with) {
    static uint8_t scratch[HELLO_MESSAGE_MAX];
    struct span in = buf_span(&s->c.sent), message;
    size_t before = in.len, wire_len;
    struct hello h;
    int err = 0;
    if (!s->libssl) {
        assert_int_equal(hello_find(&(struct hello_scan){0}, in, scratch, &message, &wire_len, &err), STEP_DONE);
        assert_int_equal(hello_parse(message, &h), 0);
        assert_int_equal(tls_server_check(with, &h), 0);
        assert_int_equal(handshake_new(with, &h, &s->out, NULL, &s->libssl), 0);
    }
    enum step step = handshake_step(s->libssl, &in);
    s->failed = step == STEP_FAILED;
    s->done = step == STEP_DONE;
    buf_consume(&s->c.sent, before - in.len);
    ERR_clear_error();
}

/* What the client has sent reaches the path, and what it says the client. */
static void exchange_with(enum path path, const struct tls_server *with) {
    struct side *s = &sides[path];
    if (path == LIBSSL) {
        step_libssl(s, with);
        raw_hear(&s->c, &s->out);
        return;
    }
    enum hs13_step step = hs13_conn_step(&s->own, &s->c.sent);
    s->failed = step == HS13_FAILED;
    s->done = step == HS13_DONE;
    raw_hear(&s->c, &s->own.out);
}

/* A share that C can use, among those of R's groups that nobody has. */
static void put_shares(struct raw_client *c, const struct recorded *r) {
    static uint8_t data[4096], nothing[1216];
    struct wr w = wr_of(data, sizeof(data));
    wr_u16(&w, 0);
    for (size_t i = 0; i < ARRAY_LEN(r->shares) && r->shares[i]; i++) {
        uint16_t group = r->shares[i];
        if (group == r->group) {
            raw_share(c, &hello, group);
            struct span own = raw_find(&hello, EXT_SHARE)->data;
            wr_bytes(&w, own.p + 2, own.len - 2);
            continue;
        }
        wr_u16(&w, group);
        wr_vec16(&w, span_of(nothing, group == HYBRID   ? 1216
                                      : group == GREASE ? 1
                                      : group == 0x0017 ? 65
                                      : group == 0x001e ? 56
                                                        : 32));
    }
    assert_true(wr_end(&w));
    data[0] = (uint8_t)((w.len - 2) >> 8);
    data[1] = (uint8_t)(w.len - 2);
    raw_set(&hello, EXT_SHARE, wr_written(&w));
}

static void make_hello(const struct recorded *r) {
    raw_hello_usual(&hello);
    hello.nexts = 0;
    hello.suites = r->suites;
    hello.session_id.len = r->session_id_len;
    for (size_t i = 0; i < EXT_MAX && (i == 0 || r->exts[i].data.p); i++)
        raw_add(&hello, r->exts[i].type, r->exts[i].data);
}

static void shake_with(enum path path, const struct recorded *r, const struct tls_server *with) {
    struct side *s = &sides[path];
    make_hello(r);
    put_shares(&s->c, r);
    raw_hello(&s->c, &hello);
    exchange_with(path, with);
    if (s->failed)
        fail_msg("path %d refuses %s: %s", (int)path, r->who,
                 err_name(path == OURS ? hs13_conn_error(&s->own) : ERR_HANDSHAKE));
    assert_int_equal(s->c.retry, r->retry);
    if (r->retry) {
        assert_int_equal(s->c.retry_group, r->group);
        raw_share(&s->c, &hello, r->group);
        raw_hello(&s->c, &hello);
        exchange_with(path, with);
    }
    assert_true(s->c.flight_done);
    raw_finish(&s->c);
    exchange_with(path, with);
    assert_true(s->done);
    assert_int_equal(s->c.alerts, 0);
}

static bool has_modes(const struct recorded *r) {
    for (size_t i = 0; i < EXT_MAX; i++)
        if (r->exts[i].type == EXT_MODES)
            return true;
    return false;
}

static void clients_of_the_field_are_served_by_both_paths(void **state) {
    (void)state;
    static const char *const names[] = {"h2", "http/1.1"};
    struct tls_policy p = case_policy("web");
    p.alpn = names;
    p.nalpn = 2;
    struct tls_server *s = service_new(&p, shop.certs, tickets);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        struct handshake_result results[PATHS];
        for (int path = 0; path < PATHS; path++) {
            open_side(&sides[path], s);
            shake_with((enum path)path, &clients[i], s);
        }
        assert_int_equal(hs13_finish(sides[OURS].own.h, &results[OURS]), 0);
        assert_int_equal(handshake_finish(sides[LIBSSL].libssl, &results[LIBSSL]), 0);
        for (int path = 0; path < PATHS; path++)
            assert_int_equal(results[path].group, clients[i].group);
        assert_int_equal(results[OURS].suite, results[LIBSSL].suite);
        assert_int_equal(results[OURS].sig_scheme, results[LIBSSL].sig_scheme);
        assert_true(span_eq(results[OURS].alpn, results[LIBSSL].alpn));
        assert_int_equal(results[OURS].record_layer.in.seq, results[LIBSSL].record_layer.in.seq);
        assert_int_equal(sides[OURS].c.tickets, has_modes(&clients[i])); /* libssl gives one to others, too */
        for (int path = 0; path < PATHS; path++)
            close_side(&sides[path]);
    }
    tls_server_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_of_the_field_are_served_by_both_paths),
    };
    return cmocka_run_group_tests(tests, cases_setup, cases_teardown);
}
