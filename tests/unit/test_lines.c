/* The protocols of command lines before TLS, each against what its RFC says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "prelude_talk.h"

static void expect(enum starttls protocol, const char *said, const char *answers, int verdict) {
    struct talk t;
    talk_over(&t, protocol, span_str(said));
    assert_string_equal(t.answers, answers);
    assert_int_equal(t.verdict, verdict);
}

static void smtp(void **state) {
    (void)state;
    const enum starttls p = STARTTLS_SMTP;
    const char *first = "530 5.7.0 Must issue a STARTTLS command first\r\n";
    expect(p, "EHLO [192.0.2.1]\r\n", "250-tls-off\r\n250 STARTTLS\r\n", PRELUDE_MORE);
    expect(p, "helo x\r\n", "250 tls-off\r\n", PRELUDE_MORE);
    expect(p, "EHLO\r\n", "501 5.5.4 Syntax error in parameters\r\n", PRELUDE_MORE);
    expect(p, "EHLO \r\n", "501 5.5.4 Syntax error in parameters\r\n", PRELUDE_MORE);
    expect(p, "STARTTLS now\r\n", "501 5.5.4 Syntax error in parameters\r\n", PRELUDE_MORE);
    expect(p, "NOOP please\r\n", "250 2.0.0 OK\r\n", PRELUDE_MORE);
    expect(p, "RSET\r\n", "250 2.0.0 OK\r\n", PRELUDE_MORE);
    expect(p, "quit\r\n", "221 2.0.0 Bye\r\n", ERR_STARTTLS_QUIT);
    expect(p, "MAIL FROM:<a@b>\r\n", first, PRELUDE_MORE);
    expect(p, "AUTH PLAIN AGEAYg==\r\n", first, PRELUDE_MORE);
    expect(p, "DATA\r\n", first, PRELUDE_MORE);
    expect(p, "VRFY x\r\n", first, PRELUDE_MORE);
    expect(p, "\r\n", first, PRELUDE_MORE);
    expect(p, " STARTTLS\r\n", first, PRELUDE_MORE);
    expect(p, "STARTTLSX\r\n", first, PRELUDE_MORE);
    expect(p, "STARTTL\r\n", first, PRELUDE_MORE);
    expect(p, "LHLO x\r\n", first, PRELUDE_MORE);
}

static void lmtp(void **state) {
    (void)state;
    const enum starttls p = STARTTLS_LMTP;
    expect(p, "LHLO x\r\n", "250-tls-off\r\n250 STARTTLS\r\n", PRELUDE_MORE);
    expect(p, "EHLO x\r\n", "500 5.5.1 This is LMTP\r\n", PRELUDE_MORE);
    expect(p, "HELO x\r\n", "500 5.5.1 This is LMTP\r\n", PRELUDE_MORE);
    expect(p, "QUIT\r\n", "221 2.0.0 Bye\r\n", ERR_STARTTLS_QUIT);
}

static void imap(void **state) {
    (void)state;
    const enum starttls p = STARTTLS_IMAP;
    expect(p, "A1 capability\r\n", "* CAPABILITY IMAP4rev1 ID STARTTLS LOGINDISABLED\r\nA1 OK done\r\n", PRELUDE_MORE);
    expect(p, "A1 NOOP\r\n", "A1 OK done\r\n", PRELUDE_MORE);
    expect(p, "A1 NOOP x\r\n", "A1 BAD wrong arguments\r\n", PRELUDE_MORE);
    expect(p, "x ID (\"name\" \"curl\")\r\n", "* ID NIL\r\nx OK done\r\n", PRELUDE_MORE);
    expect(p, "x ID NIL\r\n", "* ID NIL\r\nx OK done\r\n", PRELUDE_MORE);
    expect(p, "x ID\r\n", "x BAD wrong arguments\r\n", PRELUDE_MORE);
    expect(p, "x LOGIN me secret\r\n", "x NO [PRIVACYREQUIRED] STARTTLS is required first\r\n", PRELUDE_MORE);
    expect(p, "x AUTHENTICATE PLAIN\r\n", "x NO [PRIVACYREQUIRED] STARTTLS is required first\r\n", PRELUDE_MORE);
    expect(p, "x SELECT inbox\r\n", "x BAD not before STARTTLS\r\n", PRELUDE_MORE);
    expect(p, "x UID STARTTLS\r\n", "x BAD not before STARTTLS\r\n", PRELUDE_MORE);
    expect(p, "x STARTTLS x\r\n", "x BAD wrong arguments\r\n", PRELUDE_MORE);
    expect(p, "x LOGOUT\r\n", "* BYE\r\nx OK done\r\n", ERR_STARTTLS_QUIT);
}

/* A tag is the only thing said again: never more than a tag may be, and nothing that ends a line. */
static void imap_tags(void **state) {
    (void)state;
    const enum starttls p = STARTTLS_IMAP;
    static const char *const none[] = {
        "\r\n",        " NOOP\r\n",  "+ NOOP\r\n",     "a+ NOOP\r\n",      "(a NOOP\r\n",       "a) NOOP\r\n", "{1} NOOP\r\n",
        "%% NOOP\r\n", "* NOOP\r\n", "\"a\" NOOP\r\n", "a\\ STARTTLS\r\n", "\xc3\xa4 NOOP\r\n", "a\tNOOP\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        expect(p, none[i], "* BAD not before STARTTLS\r\n", PRELUDE_MORE);
    expect(p, "STARTTLS\r\n", "STARTTLS BAD not before STARTTLS\r\n", PRELUDE_MORE);
    expect(p, "]~A.1 NOOP\r\n", "]~A.1 OK done\r\n", PRELUDE_MORE);

    char said[80], answer[80];
    const char *tag = "0123456789012345678901234567890123456789012345678901234567890123";
    snprintf(said, sizeof(said), "%s NOOP\r\n", tag);
    snprintf(answer, sizeof(answer), "%s OK done\r\n", tag);
    expect(p, said, answer, PRELUDE_MORE);
    snprintf(said, sizeof(said), "%s4 NOOP\r\n", tag);
    expect(p, said, "* BAD not before STARTTLS\r\n", PRELUDE_MORE);
}

/* A client that waits for our leave is refused; what comes unasked is no command, so the conversation ends. */
static void imap_literals(void **state) {
    (void)state;
    const enum starttls p = STARTTLS_IMAP;
    expect(p, "x LOGIN {2}\r\n", "x BAD wrong arguments\r\n", PRELUDE_MORE);
    expect(p, "x STARTTLS {0}\r\n", "x BAD wrong arguments\r\n", PRELUDE_MORE);
    expect(p, "x LOGIN {10+}\r\n", "", ERR_STARTTLS_MALFORMED);
    expect(p, "x LOGIN {10-}\r\n", "", ERR_STARTTLS_MALFORMED);
    expect(p, "x LOGIN {10+} \r\n", "", ERR_STARTTLS_MALFORMED);
    expect(p, "x STARTTLS {12+}\r\nx STARTTLS\r\n", "", ERR_STARTTLS_MALFORMED);
    expect(p, "x APPEND a ~{2+}\r\n", "", ERR_STARTTLS_MALFORMED);
    expect(p, "x LOGIN {}\r\n", "x NO [PRIVACYREQUIRED] STARTTLS is required first\r\n", PRELUDE_MORE);
    expect(p, "x LOGIN 2+}\r\n", "x NO [PRIVACYREQUIRED] STARTTLS is required first\r\n", PRELUDE_MORE);
    expect(p, "}\r\n", "} BAD not before STARTTLS\r\n", PRELUDE_MORE);
    expect(p, "+}\r\n", "* BAD not before STARTTLS\r\n", PRELUDE_MORE);
}

static void pop3(void **state) {
    (void)state;
    const enum starttls p = STARTTLS_POP3;
    assert_null(strchr(prelude_protocol(p)->greeting, '<')); /* a timestamp would offer APOP */
    expect(p, "CAPA\r\n", "+OK\r\nSTLS\r\n.\r\n", PRELUDE_MORE);
    expect(p, "USER me\r\n", "-ERR STLS is required first\r\n", PRELUDE_MORE);
    expect(p, "APOP me 0\r\n", "-ERR STLS is required first\r\n", PRELUDE_MORE);
    expect(p, "STARTTLS\r\n", "-ERR STLS is required first\r\n", PRELUDE_MORE);
    expect(p, "STLS x\r\n", "-ERR wrong arguments\r\n", PRELUDE_MORE);
    expect(p, "QUIT\r\n", "+OK\r\n", ERR_STARTTLS_QUIT);
}

static void sieve(void **state) {
    (void)state;
    const enum starttls p = STARTTLS_SIEVE;
    const char *first = "NO (ENCRYPT-NEEDED) \"STARTTLS is required first\"\r\n";
    expect(p, "capability\r\n", prelude_protocol(p)->greeting, PRELUDE_MORE);
    expect(p, "NOOP\r\n", "OK\r\n", PRELUDE_MORE);
    expect(p, "NOOP \"tag\"\r\n", "NO \"wrong arguments\"\r\n", PRELUDE_MORE);
    expect(p, "AUTHENTICATE \"PLAIN\"\r\n", first, PRELUDE_MORE);
    expect(p, "LISTSCRIPTS\r\n", first, PRELUDE_MORE);
    expect(p, "PUTSCRIPT \"a\" {31+}\r\n", "", ERR_STARTTLS_MALFORMED);
    expect(p, "AUTHENTICATE \"PLAIN\" {31+}\r\nSTARTTLS\r\n", "", ERR_STARTTLS_MALFORMED);
    expect(p, "LOGOUT\r\n", "OK\r\n", ERR_STARTTLS_QUIT);
}

static void nntp(void **state) {
    (void)state;
    const enum starttls p = STARTTLS_NNTP;
    expect(p, "CAPABILITIES\r\n", "101 Capability list:\r\nVERSION 2\r\nSTARTTLS\r\n.\r\n", PRELUDE_MORE);
    expect(p, "CAPABILITIES AUTOUPDATE\r\n", "101 Capability list:\r\nVERSION 2\r\nSTARTTLS\r\n.\r\n", PRELUDE_MORE);
    expect(p, "GROUP misc.test\r\n", "483 STARTTLS is required first\r\n", PRELUDE_MORE);
    expect(p, "AUTHINFO USER me\r\n", "483 STARTTLS is required first\r\n", PRELUDE_MORE);
    expect(p, "STARTTLS x\r\n", "501 Wrong arguments\r\n", PRELUDE_MORE);
    expect(p, "QUIT\r\n", "205 Bye\r\n", ERR_STARTTLS_QUIT);
}

/* A line ends with CRLF and with nothing else, and is made of text. */
static void what_is_no_line(void **state) {
    (void)state;
    static const struct {
        const char *said;
        size_t len;
    } none[] = {
#define S(s) {s, sizeof(s) - 1}
        S("STARTTLS\n"),
        S("STARTTLS\r"
          "x\r\n"),
        S("\n"),
        S("NOOP\r\r\n"),
        S("NOOP \0\r\n"),
        S("EHLO x\nSTARTTLS\r\n"),
        S("NOOP\x16\r\n"),
        S("NOOP \x7f"),
        S("\0"),
        S("NOOP\v\r\n"),
#undef S
    };
    static const enum starttls protocols[] = {STARTTLS_SMTP, STARTTLS_LMTP,  STARTTLS_IMAP,
                                              STARTTLS_POP3, STARTTLS_SIEVE, STARTTLS_NNTP};
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        for (size_t j = 0; j < ARRAY_LEN(protocols); j++) {
            struct talk t;
            talk_over(&t, protocols[j], span_of(none[i].said, none[i].len));
            assert_int_equal(t.verdict, ERR_STARTTLS_MALFORMED);
            assert_int_equal(t.answered, 0);
        }
    expect(STARTTLS_SMTP, "EHLO\tx\r\n", "530 5.7.0 Must issue a STARTTLS command first\r\n", PRELUDE_MORE);
    expect(STARTTLS_SMTP, "EHLO \xc3\xa4.example\r\n", "250-tls-off\r\n250 STARTTLS\r\n", PRELUDE_MORE);
}

static void words_at_the_end(void **state) {
    (void)state;
    static const struct {
        enum starttls protocol;
        const char *fault, *enough;
    } rows[] = {
        {STARTTLS_SMTP, "554 5.5.0 Not allowed before TLS\r\n", "421 4.7.0 Closing: no STARTTLS in time\r\n"},
        {STARTTLS_LMTP, "554 5.5.0 Not allowed before TLS\r\n", "421 4.7.0 Closing: no STARTTLS in time\r\n"},
        {STARTTLS_IMAP, "* BYE not allowed before TLS\r\n", "* BYE no STARTTLS in time\r\n"},
        {STARTTLS_POP3, "-ERR not allowed before TLS\r\n", "-ERR no STLS in time\r\n"},
        {STARTTLS_SIEVE, "BYE \"not allowed before TLS\"\r\n", "BYE \"no STARTTLS in time\"\r\n"},
        {STARTTLS_NNTP, "400 Not allowed before TLS\r\n", "400 No STARTTLS in time\r\n"},
    };
    static const int theirs[] = {ERR_STARTTLS_MALFORMED, ERR_STARTTLS_INJECTION},
                     others[] = {ERR_STARTTLS_LIMIT, ERR_HANDSHAKE_TIMEOUT};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t j = 0; j < ARRAY_LEN(theirs); j++) {
            uint8_t room[PRELUDE_ANSWER_MAX];
            struct prelude p = {.protocol = (uint8_t)rows[i].protocol};
            struct wr w = wr_of(room, sizeof(room));
            prelude_last_words(&p, theirs[j], &w);
            assert_true(span_eq(wr_written(&w), span_str(rows[i].fault)));
            w = wr_of(room, sizeof(room));
            prelude_last_words(&p, others[j], &w);
            assert_true(span_eq(wr_written(&w), span_str(rows[i].enough)));
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smtp),
        cmocka_unit_test(lmtp),
        cmocka_unit_test(imap),
        cmocka_unit_test(imap_tags),
        cmocka_unit_test(imap_literals),
        cmocka_unit_test(pop3),
        cmocka_unit_test(sieve),
        cmocka_unit_test(nntp),
        cmocka_unit_test(what_is_no_line),
        cmocka_unit_test(words_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
