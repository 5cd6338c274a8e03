/* Greetings of backends: what they mean and where they end, however they are cut. */
#include "relay/greeting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/defs.h"
#include "base/err.h"

struct sample {
    enum greeting kind;
    const char *text;
    size_t len; /* of the greeting in it, or of what is passed on */
    int err;    /* 0 = welcome */
};

#define WHOLE(kind, text, err)                                                                                                 \
    { kind, text, sizeof(text) - 1, err }
#define BEHIND(kind, text, more, err)                                                                                          \
    { kind, text more, sizeof(text) - 1, err }

static const struct sample samples[] = {
    WHOLE(GREETING_SMTP, "220 mail.example.org ESMTP\r\n", 0),
    WHOLE(GREETING_SMTP, "220\r\n", 0),
    WHOLE(GREETING_SMTP, "220 \r\n", 0),
    WHOLE(GREETING_SMTP, "220-mail.example.org\r\n220-no spam\r\n220 ESMTP\r\n", 0),
    WHOLE(GREETING_SMTP, "220-\r\n220\r\n", 0),
    WHOLE(GREETING_SMTP, "220 old server\n", 0),
    BEHIND(GREETING_SMTP, "220-a\r\n220 b\r\n", "220 c\r\n", 0),
    BEHIND(GREETING_SMTP, "220 b\r\n", "554 later\r\n", 0),
    BEHIND(GREETING_SMTP, "220 b\r\n", "\r\n", 0),
    WHOLE(GREETING_SMTP, "421 too busy\r\n", ERR_GREETING_REFUSED),
    WHOLE(GREETING_SMTP, "554-go\r\n554 away\r\n", ERR_GREETING_REFUSED),
    BEHIND(GREETING_SMTP, "521 no mail here\r\n", "more", ERR_GREETING_REFUSED),
    WHOLE(GREETING_IMAP, "* OK [CAPABILITY IMAP4rev1] ready\r\n", 0),
    WHOLE(GREETING_IMAP, "* ok ready\r\n", 0),
    WHOLE(GREETING_IMAP, "* OK\r\n", 0),
    BEHIND(GREETING_IMAP, "* OK a\r\n", "* BYE b\r\n", 0),
    WHOLE(GREETING_IMAP, "* BYE too many\r\n", ERR_GREETING_REFUSED),
    {GREETING_IMAP, "* PREAUTH you are root\r\n", 0, ERR_GREETING_PREAUTH},
    WHOLE(GREETING_POP3, "+OK POP3 <1896.697170952@dbc.mtview.ca.us>\r\n", 0),
    WHOLE(GREETING_POP3, "+OK\r\n", 0),
    WHOLE(GREETING_POP3, "-ERR [SYS/TEMP] later\r\n", ERR_GREETING_REFUSED),
    WHOLE(GREETING_NNTP, "200 posting allowed\r\n", 0),
    WHOLE(GREETING_NNTP, "201 no posting\r\n", 0),
    BEHIND(GREETING_NNTP, "201 no posting\r\n", "205 bye\r\n", 0),
    WHOLE(GREETING_NNTP, "400 overloaded\r\n", ERR_GREETING_REFUSED),
    WHOLE(GREETING_NNTP, "502 go away\r\n", ERR_GREETING_REFUSED),
    WHOLE(GREETING_NNTP, "202 what\r\n", ERR_GREETING_REFUSED),
};

/* None is one, and that is seen as soon as it can be: without a line's end. */
static const struct sample wrong[] = {
    {GREETING_SMTP, "SSH-2.0-OpenSSH", 0, 0},
    {GREETING_SMTP, "2200 x", 0, 0},
    {GREETING_SMTP, "220x", 0, 0},
    {GREETING_SMTP, "250 x", 0, 0},
    {GREETING_SMTP, "334 x", 0, 0},
    {GREETING_SMTP, "* OK x", 0, 0},
    {GREETING_SMTP, "\r\n220 x", 0, 0},
    {GREETING_SMTP, " 220 x", 0, 0},
    {GREETING_SMTP, "220-a\r\n221", 0, 0},
    {GREETING_SMTP, "220-a\r\n554", 0, 0},
    {GREETING_SMTP, "554-a\r\n553", 0, 0},
    {GREETING_SMTP, "554-a\r\n220", 0, 0},
    {GREETING_SMTP, "220-a\r\n\r\n", 0, 0},
    {GREETING_IMAP, "* OKAY", 0, 0},
    {GREETING_IMAP, "* NO", 0, 0},
    {GREETING_IMAP, "a OK", 0, 0},
    {GREETING_IMAP, "* CAPABILITY", 0, 0},
    {GREETING_IMAP, "*  OK", 0, 0},
    {GREETING_IMAP, "* OK-", 0, 0},
    {GREETING_POP3, "+OK-", 0, 0},
    {GREETING_POP3, "+OKAY", 0, 0},
    {GREETING_POP3, "-OK", 0, 0},
    {GREETING_POP3, "220 ", 0, 0},
    {GREETING_NNTP, "200-", 0, 0},
    {GREETING_NNTP, "20 ", 0, 0},
    {GREETING_NNTP, "2000", 0, 0},
    {GREETING_NNTP, "+OK", 0, 0},
};

static enum step read_of(enum greeting kind, const void *p, size_t n, struct greeting_end *ret) {
    return greeting_read(kind, span_of(p, n), ret);
}

/* Cut anywhere before its end it is "more"; from there on, always the same. */
static void greetings_end_where_they_end(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        const struct sample *s = &samples[i];
        size_t all = strlen(s->text), len = s->err && s->len == 0 ? all : s->len;
        for (size_t n = 0; n <= all; n++) {
            struct greeting_end end = {0};
            enum step step = read_of(s->kind, s->text, n, &end);
            if (n < len) {
                assert_int_equal(step, STEP_WANT_READ);
                continue;
            }
            assert_int_equal(step, s->err ? STEP_FAILED : STEP_DONE);
            assert_int_equal(end.err, s->err);
            assert_int_equal(end.len, s->len);
        }
    }
}

static void what_is_none_is_seen_at_once(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct greeting_end end = {.len = 1};
        enum step step = read_of(wrong[i].kind, wrong[i].text, strlen(wrong[i].text), &end);
        assert_int_equal(step, STEP_FAILED);
        assert_int_equal(end.err, ERR_GREETING_FORMAT);
        assert_int_equal(end.len, 0);
    }
}

/* The first byte decides whether it may still become one. */
static void every_first_byte(void **state) {
    static const char *const begins[GREETINGS] = {
        [GREETING_SMTP] = "245", [GREETING_IMAP] = "*", [GREETING_POP3] = "+-", [GREETING_NNTP] = "0123456789"};
    for (int kind = GREETING_NONE + 1; kind < GREETINGS; kind++)
        for (unsigned c = 0; c <= 255; c++) {
            struct greeting_end end;
            uint8_t byte = (uint8_t)c;
            enum step want = c && strchr(begins[kind], (int)c) ? STEP_WANT_READ : STEP_FAILED;
            assert_int_equal(read_of((enum greeting)kind, &byte, 1, &end), want);
        }
}

/* WELCOME up to exactly LEN bytes: one long line, or many short ones. */
static size_t make_long(uint8_t *to, size_t len, bool lines) {
    size_t n = 0;
    while (lines && n + 20 < len)
        n += (size_t)sprintf((char *)to + n, "220-%04zu\r\n", n);
    n += (size_t)sprintf((char *)to + n, "220 ");
    memset(to + n, 'x', len - 2 - n);
    memcpy(to + len - 2, "\r\n", 2);
    return len;
}

static void the_longest_fits_and_one_more_byte_does_not(void **state) {
    uint8_t bytes[2 * GREETING_MAX];
    for (int lines = 0; lines < 2; lines++) {
        struct greeting_end end = {0};
        size_t n = make_long(bytes, GREETING_MAX, lines);
        assert_int_equal(read_of(GREETING_SMTP, bytes, n - 1, &end), STEP_WANT_READ);
        assert_int_equal(read_of(GREETING_SMTP, bytes, n, &end), STEP_DONE);
        assert_int_equal(end.len, GREETING_MAX);
        assert_int_equal(read_of(GREETING_SMTP, bytes, n + 100, &end), STEP_DONE);
        n = make_long(bytes, GREETING_MAX + 1, lines);
        for (size_t cut = GREETING_MAX; cut <= n; cut++) {
            assert_int_equal(read_of(GREETING_SMTP, bytes, cut, &end), STEP_FAILED);
            assert_int_equal(end.err, ERR_GREETING_TOO_LONG);
            assert_int_equal(end.len, 0);
        }
    }
}

/* Of other protocols as well, and when it is a refusal. */
static void no_kind_goes_on_for_ever(void **state) {
    static const char *const begins[][GREETINGS] = {{NULL, "220 ", "* OK ", "+OK ", "200 "},
                                                    {NULL, "554 ", "* BYE ", "-ERR ", "400 "},
                                                    {NULL, "220-", "* PREAUTH ", "+OK ", "500 "}};
    for (size_t i = 0; i < ARRAY_LEN(begins); i++)
        for (int kind = GREETING_NONE + 1; kind < GREETINGS; kind++) {
            uint8_t bytes[GREETING_MAX];
            struct greeting_end end = {0};
            memset(bytes, 'x', sizeof(bytes));
            memcpy(bytes, begins[i][kind], strlen(begins[i][kind]));
            assert_int_equal(read_of((enum greeting)kind, bytes, sizeof(bytes) - 1, &end), STEP_WANT_READ);
            assert_int_equal(read_of((enum greeting)kind, bytes, sizeof(bytes), &end), STEP_FAILED);
            assert_int_equal(end.err, ERR_GREETING_TOO_LONG);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greetings_end_where_they_end),
        cmocka_unit_test(what_is_none_is_seen_at_once),
        cmocka_unit_test(every_first_byte),
        cmocka_unit_test(the_longest_fits_and_one_more_byte_does_not),
        cmocka_unit_test(no_kind_goes_on_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
