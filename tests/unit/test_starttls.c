/*
 * STARTTLS on a connection: the rule that nothing said in clear is left when TLS begins, for every protocol and at every place
 * where a byte can stand; the pause before a greeting; deadlines, bounds, slow readers; a fault at every call. After every turn
 * conn_bench.h looks whether all is in order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn_bench.h"
#include "starttls_ways.h"

static int set_up(void **state) {
    bench_begin();
    return 0;
}

static int begin(void **state) {
    bench_begin_run();
    return 0;
}

static int end(void **state) {
    hand->conf->listeners[LISTEN_MAIL].starttls = STARTTLS_SMTP;
    bench_end_run();
    return 0;
}

static struct conn *only(void) {
    uint32_t slot = 0;
    struct conn *c = slab_next(&hand->conns, &slot);
    assert_int_equal(hand->conns.used, c != NULL);
    return c;
}

static int state_now(void) {
    const struct conn *c = only();
    return c ? c->state : CONN_DEAD;
}

static uint64_t handed(void) {
    return bench_count(STATS_HANDED_OVER) - bench_run.handed;
}

static struct bench_client *connect_to(enum starttls protocol) {
    hand->conf->listeners[LISTEN_MAIL].starttls = protocol;
    return client_connect(0, LISTEN_MAIL, 1);
}

/* A client that has been greeted, where the server speaks first. */
static struct bench_client *greeted(const struct way *w) {
    begin(NULL);
    struct bench_client *c = connect_to(w->protocol);
    bench_turns(2);
    if (prelude_protocol(w->protocol)->greeting) {
        bench_later(104);
        assert_string_equal(client_heard(c), prelude_protocol(w->protocol)->greeting);
    }
    return c;
}

static void finish_tls(struct bench_client *c) {
    client_tls(c, TLS_1_3);
    for (unsigned i = 0; i < 4; i++) {
        client_step(c, SIZE_MAX);
        bench_turns(2);
    }
    assert_true(SSL_is_init_finished(c->ssl));
    assert_int_equal(handed(), 1);
    assert_int_equal(bench_run.failures, 0);
}

static void tls_behind_every_go_ahead(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        struct bench_client *c = greeted(&ways[i]);
        client_says(c, ways[i].asks, ways[i].len);
        bench_turns(2);
        assert_int_equal(state_now(), CONN_HELLO);
        assert_non_null(strstr(client_heard(c), ways[i].go_ahead));
        finish_tls(c);
        assert_int_equal(bench_relay_reads(0, 9) + bench_relay_reads(1, 9), 1);
        assert_int_equal(bench_greeting, ways[i].greeting);
        end(NULL);
    }
}

static void a_request_in_any_two_pieces(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(ways); i++)
        for (size_t cut = 1; cut < ways[i].len; cut++) {
            struct bench_client *c = greeted(&ways[i]);
            client_says(c, ways[i].asks, cut);
            bench_turns(2);
            assert_int_equal(state_now(), CONN_PRELUDE);
            client_says(c, ways[i].asks + cut, ways[i].len - cut);
            bench_turns(2);
            assert_int_equal(state_now(), CONN_HELLO);
            end(NULL);
        }
}

/* Nothing that could be taken for a go-ahead was said; the last words, if any, say something else. */
static void expect_injection(struct bench_client *c, const struct way *w) {
    const char *heard = client_heard(c);
    assert_int_equal(bench_run.failures, 1);
    assert_int_equal(bench_run.reason, ERR_STARTTLS_INJECTION);
    if (w->protocol == STARTTLS_LDAP) /* its end is a message, too: the notice of disconnection has ID 0 */
        assert_true(heard[0] == 0 || heard[4] == 0);
    else
        assert_null(strstr(heard, w->go_ahead));
    assert_true(state_now() == CONN_CLOSING || state_now() == CONN_DEAD);
}

/* Behind the request, together with it, in two pieces (a byte: in any two): a command, TLS that does not wait, a lone end of
 * line. */
static void bytes_behind_the_request(void **state) {
    static const struct span behind[] = {{(const uint8_t *)"X", 1},
                                         {(const uint8_t *)"\r\n", 2},
                                         {(const uint8_t *)"\n", 1},
                                         {(const uint8_t *)"\0", 1},
                                         {(const uint8_t *)"\x16\x03\x01\x00\x05", 5},
                                         {(const uint8_t *)"RSET\r\nMAIL FROM:<a@b>\r\n", 24}};
    for (size_t i = 0; i < ARRAY_LEN(ways); i++)
        for (size_t j = 0; j < ARRAY_LEN(behind); j++) {
            uint8_t said[512];
            size_t len = ways[i].len + behind[j].len;
            memcpy(said, ways[i].asks, ways[i].len);
            memcpy(said + ways[i].len, behind[j].p, behind[j].len);
            for (size_t cut = 0; cut < ways[i].len; cut += j == 0 ? 1 : 1 + ways[i].len / 4) {
                struct bench_client *c = greeted(&ways[i]);
                client_says(c, said, cut);
                bench_turns(2);
                (void)client_heard(c);
                client_says(c, said + cut, len - cut);
                bench_turns(2);
                expect_injection(c, &ways[i]);
                end(NULL);
            }
        }
}

/* Behind the go-ahead: whatever does not begin a TLS handshake, alerts and data records included. */
static void clear_bytes_behind_the_go_ahead(void **state) {
    static const char *const firsts[] = {
        "A", "\r", "\x15\x03\x01", "\x17\x03\x03", "\x80\x2e", "\x30", "GET / HTTP/1.1\r\n", "SSH-2.0", "PROXY "};
    for (size_t i = 0; i < ARRAY_LEN(ways); i++)
        for (size_t j = 0; j < ARRAY_LEN(firsts); j++) {
            struct bench_client *c = greeted(&ways[i]);
            client_says(c, ways[i].asks, ways[i].len);
            bench_turns(2);
            (void)client_heard(c);
            client_says(c, firsts[j], strlen(firsts[j]));
            bench_turns(2);
            assert_int_equal(bench_run.reason, ERR_STARTTLS_INJECTION);
            assert_string_equal(client_heard(c), ""); /* neither an alert nor words of the protocol */
            end(NULL);
        }
}

/* The go-ahead cannot leave, since the client does not read: a byte that comes meanwhile was said before it. */
static void bytes_while_the_go_ahead_waits(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        begin(NULL);
        struct bench_client *c = connect_to(ways[i].protocol);
        client_is_full(c);
        client_says(c, ways[i].asks, ways[i].len);
        bench_turns(2);
        assert_int_equal(state_now(), CONN_GO_AHEAD);
        client_says(c, "\x16\x03\x01", 3);
        bench_turns(2);
        assert_int_equal(bench_run.reason, ERR_STARTTLS_INJECTION);
        end(NULL);
    }
}

static void a_go_ahead_that_leaves_late(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        begin(NULL);
        struct bench_client *c = connect_to(ways[i].protocol);
        client_is_full(c);
        client_says(c, ways[i].asks, ways[i].len);
        bench_turns(2);
        assert_int_equal(state_now(), CONN_GO_AHEAD);
        for (unsigned n = 0; n < 10 && state_now() == CONN_GO_AHEAD; n++) {
            (void)client_heard(c);
            bench_turns(2);
        }
        (void)client_heard(c);
        assert_int_equal(state_now(), CONN_HELLO);
        finish_tls(c);
        end(NULL);
    }
}

static void direct_tls_at_the_same_address(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(ways); i++)
        for (size_t first = 1; first < 3; first++) {
            begin(NULL);
            struct bench_client *c = connect_to(ways[i].protocol);
            client_tls(c, TLS_1_3);
            client_step(c, first == 1 ? 1 : SIZE_MAX);
            bench_later(90);
            for (unsigned n = 0; n < 5; n++) {
                client_step(c, SIZE_MAX);
                bench_later(30);
            }
            assert_true(SSL_is_init_finished(c->ssl));
            assert_int_equal(handed(), 1);
            assert_int_equal(bench_relay_reads(0, 9) + bench_relay_reads(1, 9), 1);
            assert_int_equal(bench_greeting, GREETING_NONE);
            end(NULL);
        }
}

/* A tenth of a second, no more and no less; who speaks earlier is greeted at once. */
static void the_greeting_waits_a_moment(void **state) {
    begin(NULL);
    struct bench_client *c = connect_to(STARTTLS_SMTP);
    bench_turns(2);
    bench_later(96);
    assert_string_equal(client_heard(c), "");
    bench_later(8);
    assert_string_equal(client_heard(c), "220 tls-off ESMTP\r\n");
    end(NULL);
    begin(NULL);
    c = connect_to(STARTTLS_SMTP);
    client_says(c, "N", 1);
    bench_turns(2);
    assert_string_equal(client_heard(c), "220 tls-off ESMTP\r\n");
    client_says(c, "OOP\r\n", 5);
    bench_turns(2);
    assert_string_equal(client_heard(c), "250 2.0.0 OK\r\n");
    end(NULL);
}

/* A ClientHello that lies there when the pause is over counts, however late we look. */
static void a_hello_that_we_are_late_to_read(void **state) {
    begin(NULL);
    struct bench_client *c = connect_to(STARTTLS_IMAP);
    bench_turns(2);
    client_tls(c, TLS_1_3);
    client_step(c, SIZE_MAX);
    bench_us += 200 * 1000;
    bench_inside = true;
    conn_timeout(hand, &only()->timer);
    bench_inside = false;
    assert_string_equal(client_heard(c)[0] == 0x16 ? "TLS" : "clear", "TLS");
    end(NULL);
}

/* The deadline is the handshake's, from accept: what is said before TLS does not move it. */
static void one_byte_a_second(void **state) {
    begin(NULL);
    struct bench_client *c = connect_to(STARTTLS_SMTP);
    bench_turns(2);
    unsigned seconds = 0;
    for (; seconds < 30 && state_now() != CONN_CLOSING; seconds++) {
        client_says(c, &"NOOP noop noop noop noop noop noop"[seconds], 1);
        bench_later(1000);
    }
    assert_int_equal(seconds, 14);
    assert_int_equal(bench_run.reason, ERR_HANDSHAKE_TIMEOUT);
    assert_non_null(strstr(client_heard(c), "421 4.7.0"));
    end(NULL);
}

static void too_much_in_clear(void **state) {
    static char flood[8192];
    memset(flood, 'x', sizeof(flood));
    begin(NULL);
    struct bench_client *c = connect_to(STARTTLS_SMTP);
    client_says(c, flood, sizeof(flood));
    bench_turns(2);
    assert_int_equal(bench_run.reason, ERR_STARTTLS_LIMIT);
    assert_non_null(strstr(client_heard(c), "421 4.7.0"));
    end(NULL);
    begin(NULL);
    c = connect_to(STARTTLS_POP3);
    for (unsigned i = 0; i < 17; i++) {
        client_says(c, "CAPA\r\n", 6);
        bench_turn();
    }
    assert_int_equal(bench_run.reason, ERR_STARTTLS_LIMIT);
    end(NULL);
}

static void leave_takings(void **state) {
    static const struct {
        enum starttls protocol;
        struct span said;
        int reason;
        const char *heard;
    } rows[] = {
        {STARTTLS_SMTP, {(const uint8_t *)"QUIT\r\n", 6}, ERR_STARTTLS_QUIT, "221"},
        {STARTTLS_IMAP, {(const uint8_t *)"x LOGOUT\r\n", 10}, ERR_STARTTLS_QUIT, "x OK"},
        {STARTTLS_LDAP, {(const uint8_t *)"\x30\x05\x02\x01\x01\x42\x00", 7}, ERR_STARTTLS_QUIT, ""},
        {STARTTLS_POSTGRESQL, {(const uint8_t *)"\0\0\0\x21\0\3\0\0", 8}, ERR_STARTTLS_CLEAR, "E"},
        {STARTTLS_POSTGRESQL, {(const uint8_t *)"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\1\0\0\0\2", 16}, ERR_STARTTLS_CANCEL, ""},
        {STARTTLS_XMPP_CLIENT, {(const uint8_t *)"<!DOCTYPE x>", 12}, ERR_STARTTLS_MALFORMED, "not-well-formed"},
        {STARTTLS_NNTP, {(const uint8_t *)"\x16\x03\x01", 0}, ERR_HANDSHAKE_CLOSED, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin(NULL);
        struct bench_client *c = connect_to(rows[i].protocol);
        bench_later(104);
        client_says(c, rows[i].said.p, rows[i].said.len);
        if (rows[i].said.len == 0)
            client_end(c);
        bench_turns(2);
        assert_int_equal(bench_run.reason, rows[i].reason);
        assert_non_null(strstr(client_heard(c), rows[i].heard));
        end(NULL);
    }
}

/* The client ends its side at every place of the way: once reported, and gone. */
static void half_closed_anywhere(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(ways); i++)
        for (size_t cut = 0; cut <= ways[i].len; cut++) {
            struct bench_client *c = greeted(&ways[i]);
            client_says(c, ways[i].asks, cut);
            client_end(c);
            bench_turns(2);
            assert_int_equal(state_now(), CONN_DEAD);
            assert_int_equal(bench_run.failures, 1);
            assert_int_equal(bench_run.reason, ERR_HANDSHAKE_CLOSED);
            end(NULL);
        }
}

/* Each call on the way of every protocol fails once: that connection ends or goes on, and the next one is a good one. */
static void a_fault_at_every_call(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        unsigned calls = 0;
        for (unsigned n = 0; n <= calls; n++) {
            begin(NULL);
            bench_calls = 0;
            bench_fail_at = n;
            struct bench_client *c = connect_to(ways[i].protocol);
            bench_later(104);
            client_says(c, ways[i].asks, ways[i].len);
            bench_later(104);
            (void)client_heard(c);
            client_tls(c, TLS_1_3);
            for (unsigned k = 0; k < 4; k++) {
                client_step(c, SIZE_MAX);
                bench_turns(2);
            }
            if (n == 0) {
                calls = bench_calls;
                assert_int_equal(handed(), 1);
            }
            bench_fail_at = 0;
            end(NULL);
        }
        assert_true(calls > 20);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls_behind_every_go_ahead),
        cmocka_unit_test(a_request_in_any_two_pieces),
        cmocka_unit_test(bytes_behind_the_request),
        cmocka_unit_test(clear_bytes_behind_the_go_ahead),
        cmocka_unit_test(bytes_while_the_go_ahead_waits),
        cmocka_unit_test(a_go_ahead_that_leaves_late),
        cmocka_unit_test(direct_tls_at_the_same_address),
        cmocka_unit_test(the_greeting_waits_a_moment),
        cmocka_unit_test(a_hello_that_we_are_late_to_read),
        cmocka_unit_test(one_byte_a_second),
        cmocka_unit_test(too_much_in_clear),
        cmocka_unit_test(leave_takings),
        cmocka_unit_test(half_closed_anywhere),
        cmocka_unit_test(a_fault_at_every_call),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
