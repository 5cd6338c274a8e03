/* Backends that greet clients which have been greeted: what of it reaches whom, and how a session ends that gets no welcome. */
#include "relay/preface.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "relay/greeting.h"
#include "relay_bench.h"

#define WELCOME "220-mail.example.org\r\n220-no spam\r\n220 ESMTP\r\n"

static struct bench_way tls13, tls12;

static int setup(void **state) {
    bench_migrations = BENCH_MIGRATIONS;
    bench_begin(8 * 1024 * 1024);
    tls13 = (struct bench_way){.suite = suite_by_id(0x1301), .out_max = RECORD_PLAIN_MAX, .greeting = GREETING_SMTP};
    tls12 = tls13;
    tls12.suite = suite_by_id(0xc02b);
    return 0;
}

static struct bench_way greeted_by(const struct bench_way *way, enum greeting kind, const char *text) {
    struct bench_way w = *way;
    w.greeting = kind;
    w.greets = text;
    return w;
}

static struct event expect_over(int reason) {
    bench_expect_gone();
    struct event e = bench_event();
    assert_int_equal(e.reason, reason);
    bench_close();
    return e;
}

/* Both ways work, and the session ends like any other. */
static void talk_and_end(void) {
    client_say(1000);
    backend_write(1000);
    bench_settle();
    assert_int_equal(bench.up_got, bench.up_sent);
    assert_int_equal(bench.down_got, bench.down_sent);
    client_say_close();
    client_write(SIZE_MAX);
    client_end();
    backend_end();
    bench_settle();
    assert_true(bench.client_heard_close && bench.backend_heard_fin);
    assert_int_equal(bench.greeting_got, 0);
    struct event e = expect_over(0);
    assert_int_equal(e.bytes_in, bench.up_sent);
    assert_int_equal(e.bytes_out, bench.down_sent);
}

static void a_welcome_is_swallowed_however_it_comes(void **state) {
    static const struct {
        enum greeting kind;
        const char *text;
    } welcomes[] = {{GREETING_SMTP, WELCOME},
                    {GREETING_IMAP, "* OK IMAP4rev1 ready\r\n"},
                    {GREETING_POP3, "+OK ready\r\n"},
                    {GREETING_NNTP, "201 no posting\r\n"}};
    for (size_t i = 0; i < ARRAY_LEN(welcomes); i++)
        for (size_t piece = 1; piece <= strlen(welcomes[i].text); piece++) {
            struct bench_way way = greeted_by(piece & 1 ? &tls13 : &tls12, welcomes[i].kind, welcomes[i].text);
            bench_open(&way);
            client_say(100);
            client_write(SIZE_MAX);
            while (bench.greeted < strlen(way.greets)) {
                bench_turn();
                client_read(SIZE_MAX);
                backend_read(SIZE_MAX);
                assert_int_equal(bench.up_got, 0); /* a server may take bytes before its greeting for an attack */
                assert_int_equal(bench_session()->state, SESSION_PREFACE);
                backend_greet(piece);
            }
            bench_settle();
            assert_int_equal(bench.up_got, 100);
            talk_and_end();
        }
}

/* The header is what the backend waits for before it greets. */
static void the_proxy_header_goes_first(void **state) {
    for (int send = PROXY_SEND_V1; send <= PROXY_SEND_V2; send++) {
        bench_service.proxy_send = (enum proxy_send)send;
        struct bench_way way = greeted_by(&tls13, GREETING_SMTP, WELCOME);
        way.read_ahead = 500;
        bench_open(&way);
        bench_turns(3);
        backend_read(SIZE_MAX);
        assert_int_equal(bench.header_left, 0);
        assert_int_equal(bench.up_got, 0);
        bench_settle();
        assert_int_equal(bench.up_got, 500);
        talk_and_end();
    }
    bench_service.proxy_send = PROXY_SEND_NONE;
}

/* In one piece, and with the end behind it. */
static void what_follows_the_welcome_is_the_clients(void **state) {
    for (int ends = 0; ends < 2; ends++) {
        uint8_t bytes[300];
        struct bench_way way = greeted_by(&tls13, GREETING_SMTP, WELCOME);
        size_t len = strlen(way.greets);
        bench_open(&way);
        memcpy(bytes, way.greets, len);
        bench_fill(bytes + len, sizeof(bytes) - len, 0, DOWN_SEED);
        assert_int_equal(send(bench.backend, bytes, sizeof(bytes), 0), sizeof(bytes));
        bench.greeted = len;
        bench.down_sent = sizeof(bytes) - len;
        if (ends)
            backend_end();
        bench_settle();
        assert_int_equal(bench.down_got, bench.down_sent);
        assert_int_equal(bench.client_heard_close, ends);
        talk_and_end();
    }
}

static void the_longest_welcome_is_swallowed(void **state) {
    static char text[GREETING_MAX + 1];
    memset(text, 'x', GREETING_MAX);
    memcpy(text, "+OK ", 4);
    memcpy(text + GREETING_MAX - 2, "\r\n", 2);
    struct bench_way way = greeted_by(&tls13, GREETING_POP3, text);
    bench_open(&way);
    talk_and_end();
}

static void a_refusal_is_passed_on_and_ends_the_session(void **state) {
    static const struct {
        enum greeting kind;
        const char *text;
    } refusals[] = {{GREETING_SMTP, "421 busy\r\n"},       {GREETING_SMTP, "554-go\r\n554 away\r\n"},
                    {GREETING_IMAP, "* BYE too many\r\n"}, {GREETING_POP3, "-ERR [SYS/TEMP] later\r\n"},
                    {GREETING_NNTP, "400 later\r\n"},      {GREETING_NNTP, "502 no\r\n"}};
    static const uint16_t limits[] = {RECORD_PLAIN_MAX, 1, 5};
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
        for (size_t j = 0; j < ARRAY_LEN(limits); j++) {
            struct bench_way way = greeted_by(i & 1 ? &tls13 : &tls12, refusals[i].kind, refusals[i].text);
            way.greeting_heard = strlen(way.greets);
            way.out_max = limits[j];
            bench_open(&way);
            client_say(50);
            bench_settle();
            assert_int_equal(bench.greeting_got, way.greeting_heard);
            assert_true(bench.client_heard_close && bench.client_heard_fin);
            assert_int_equal(bench.alert, -1);
            assert_int_equal(bench.up_got, 0);
            client_end();
            bench_settle();
            struct event e = expect_over(ERR_GREETING_REFUSED);
            assert_int_equal(e.bytes_out, way.greeting_heard);
            assert_int_equal(e.backend_end, END_CUT);
        }
}

/* Nothing of it reaches the client, which learns by an alert that it is not its fault. */
static void what_is_no_greeting_ends_the_session(void **state) {
    static char endless[GREETING_MAX + 100];
    memset(endless, 'x', sizeof(endless) - 1);
    memcpy(endless, "220 ", 4);
    const struct {
        enum greeting kind;
        const char *text;
        int reason;
    } others[] = {{GREETING_SMTP, "SSH-2.0-OpenSSH_9.2", ERR_GREETING_FORMAT},
                  {GREETING_SMTP, "220-a\r\n554 b\r\n", ERR_GREETING_FORMAT},
                  {GREETING_SMTP, endless, ERR_GREETING_TOO_LONG},
                  {GREETING_IMAP, "* PREAUTH root\r\n", ERR_GREETING_PREAUTH},
                  {GREETING_POP3, "HTTP/1.1 400 Bad Request\r\n", ERR_GREETING_FORMAT},
                  {GREETING_NNTP, "\r\n", ERR_GREETING_FORMAT}};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct bench_way way = greeted_by(&tls13, others[i].kind, others[i].text);
        bench_open(&way);
        bench_settle();
        assert_int_equal(bench.alert, ALERT_INTERNAL_ERROR);
        assert_true(bench.client_heard_fin);
        client_end();
        bench_settle();
        assert_int_equal(expect_over(others[i].reason).bytes_out, 0);
    }
}

static void a_backend_that_ends_before_its_greeting_is_whole(void **state) {
    for (size_t said = 0; said < strlen(WELCOME); said++) {
        struct bench_way way = greeted_by(&tls13, GREETING_SMTP, WELCOME);
        bench_open(&way);
        if (said)
            backend_greet(said);
        if (said & 1)
            bench_turn();
        backend_end();
        bench_settle();
        assert_int_equal(bench.alert, ALERT_INTERNAL_ERROR);
        client_end();
        bench_settle();
        assert_int_equal(expect_over(ERR_GREETING_CLOSED).backend_end, END_CLOSE);
    }
}

static void a_backend_that_resets_before_its_greeting_is_whole(void **state) {
    bench_service.proxy_send = PROXY_SEND_V1;
    struct bench_way way = greeted_by(&tls13, GREETING_SMTP, WELCOME);
    bench_open(&way);
    backend_greet(5);
    bench_turns(2);
    backend_leave(); /* with the header unread */
    bench_settle();
    assert_false(bench.client_heard_close);
    assert_true(bench.client_heard_fin);
    client_end();
    bench_settle();
    assert_int_equal(expect_over(ERR_BACKEND_RESET).backend_end, END_RESET);
    bench_service.proxy_send = PROXY_SEND_NONE;
}

static void a_greeting_has_the_time_of_a_connect(void **state) {
    struct bench_way way = greeted_by(&tls13, GREETING_SMTP, WELCOME);
    bench_open(&way);
    for (int i = 0; i < 9; i++) {
        backend_greet(1);
        bench_later(bench_service.connect_ms / 10); /* a byte now and then is no reason to wait longer */
        assert_int_equal(bench_session()->state, SESSION_PREFACE);
    }
    bench_later(bench_service.connect_ms / 10 + WHEEL_TICK_MS * 2);
    for (int i = 0; i < 3; i++) {
        bench_turn();
        client_read(SIZE_MAX);
    }
    assert_int_equal(bench.alert, ALERT_INTERNAL_ERROR);
    client_end();
    bench_settle();
    assert_int_equal(expect_over(ERR_GREETING_TIMEOUT).backend_end, END_CUT);
}

static void a_client_that_leaves_before_the_greeting(void **state) {
    struct bench_way way = greeted_by(&tls13, GREETING_SMTP, WELCOME);
    bench_open(&way);
    backend_greet(3);
    bench_turn();
    client_leave();
    bench_turns(3);
    assert_int_equal(expect_over(ERR_CLIENT_RESET).client_end, END_RESET);
}

/* Its end waits like its bytes. */
static void a_client_that_ends_before_the_greeting(void **state) {
    struct bench_way way = greeted_by(&tls13, GREETING_SMTP, WELCOME);
    bench_open(&way);
    client_say(300);
    client_say_close();
    client_write(SIZE_MAX);
    client_end();
    bench_turns(3);
    assert_int_equal(bench_session()->state, SESSION_PREFACE);
    bench_settle();
    assert_int_equal(bench.up_got, 300);
    assert_true(bench.backend_heard_fin);
    backend_write(100);
    backend_end();
    bench_settle();
    assert_int_equal(bench.down_got, 100);
    assert_int_equal(expect_over(0).client_end, END_CLOSE);
}

static void such_a_session_can_be_stopped(void **state) {
    struct bench_way way = greeted_by(&tls13, GREETING_SMTP, WELCOME);
    bench_open(&way);
    backend_greet(7);
    bench_turn();
    session_stop(&relay, bench_session(), ERR_STOPPED);
    for (int i = 0; i < 3; i++) {
        bench_turn();
        client_read(SIZE_MAX);
    }
    assert_true(bench.client_heard_close && bench.client_heard_fin);
    client_end();
    bench_settle();
    (void)expect_over(ERR_STOPPED);
}

static void without_a_greeting_to_swallow_it_is_the_clients(void **state) {
    struct bench_way way = greeted_by(&tls13, GREETING_NONE, WELCOME);
    way.greeting_heard = strlen(WELCOME);
    bench_open(&way);
    bench_settle();
    assert_int_equal(bench.greeting_got, strlen(WELCOME));
    client_say_close();
    client_write(SIZE_MAX);
    client_end();
    backend_end();
    bench_settle();
    assert_int_equal(expect_over(0).bytes_out, strlen(WELCOME));
}

static void moves_have_been_made(void **state) {
    if (BENCH_MIGRATIONS)
        assert_true(bench_migrated > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_welcome_is_swallowed_however_it_comes),
        cmocka_unit_test(the_proxy_header_goes_first),
        cmocka_unit_test(what_follows_the_welcome_is_the_clients),
        cmocka_unit_test(the_longest_welcome_is_swallowed),
        cmocka_unit_test(a_refusal_is_passed_on_and_ends_the_session),
        cmocka_unit_test(what_is_no_greeting_ends_the_session),
        cmocka_unit_test(a_backend_that_ends_before_its_greeting_is_whole),
        cmocka_unit_test(a_backend_that_resets_before_its_greeting_is_whole),
        cmocka_unit_test(a_greeting_has_the_time_of_a_connect),
        cmocka_unit_test(a_client_that_leaves_before_the_greeting),
        cmocka_unit_test(a_client_that_ends_before_the_greeting),
        cmocka_unit_test(such_a_session_can_be_stopped),
        cmocka_unit_test(without_a_greeting_to_swallow_it_is_the_clients),
        cmocka_unit_test(moves_have_been_made),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
