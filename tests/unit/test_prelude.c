/* What holds for every protocol before TLS: bounds, cuts, bytes behind the go-ahead, direct TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "prelude_talk.h"

#define LDAP_STARTTLS                                                                                                          \
    "\x30\x1d\x02\x01\x01\x77\x18\x80\x16"                                                                                     \
    "1.3.6.1.4.1.1466.20037"
#define XMPP_STREAM                                                                                                            \
    "<?xml version='1.0'?><stream:stream to='example.org' xmlns='jabber:client' "                                              \
    "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
#define XMPP_STARTTLS "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"

/* A client's whole way to the go-ahead, how that ends, and a unit that leads nowhere. */
static const struct {
    enum starttls protocol;
    struct span way;
    struct span go_ahead;
    struct span idle;
    bool once; /* the idle unit ends the conversation when it comes again */
} ways[] = {
#define WAY(p, w, g, i, o)                                                                                                     \
    {                                                                                                                          \
        STARTTLS_##p, {(const uint8_t *)w, sizeof(w) - 1}, {(const uint8_t *)g, sizeof(g) - 1},                                \
            {(const uint8_t *)i, sizeof(i) - 1}, o                                                                             \
    }
    WAY(POSTGRESQL, "\0\0\0\x08\x04\xd2\x16\x30\0\0\0\x08\x04\xd2\x16\x2f", "S", "\0\0\0\x08\x04\xd2\x16\x30", true),
    WAY(LDAP, LDAP_STARTTLS, "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00", "\x30\x06\x02\x01\x03\x50\x01\x02",
        false),
    WAY(SIEVE, "CAPABILITY\r\nStartTLS\r\n", "OK \"begin TLS\"\r\n", "NOOP\r\n", false),
    WAY(AMQP, "AMQP\2\1\0\0", "AMQP\2\1\0\0", "", true),
    WAY(XMPP_CLIENT, XMPP_STREAM "\n" XMPP_STARTTLS, "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "", true),
    WAY(SMTP, "EHLO me\r\nstarttls\r\n", "220 2.0.0 Ready to start TLS\r\n", "NOOP\r\n", false),
    WAY(LMTP, "LHLO me\r\nSTARTTLS \r\n", "220 2.0.0 Ready to start TLS\r\n", "RSET\r\n", false),
    WAY(IMAP, "a1 capability\r\na2 StartTls\r\n", "a2 OK begin TLS\r\n", "a NOOP\r\n", false),
    WAY(POP3, "capa\r\nSTLS\r\n", "+OK begin TLS\r\n", "USER me\r\n", false),
    WAY(NNTP, "CAPABILITIES\r\nSTARTTLS\r\n", "382 Begin TLS\r\n", "MODE READER\r\n", false),
#undef WAY
};

static bool ends_with(const struct talk *t, struct span end) {
    return t->answered >= end.len && memcmp(t->answers + t->answered - end.len, end.p, end.len) == 0;
}

/* BYTES, N times, then MORE. The caller frees. */
static struct span repeated(struct span bytes, size_t n, struct span more) {
    uint8_t *p = malloc(bytes.len * n + more.len + 1);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        memcpy(p + i * bytes.len, bytes.p, bytes.len);
    if (more.len)
        memcpy(p + bytes.len * n, more.p, more.len);
    return span_of(p, bytes.len * n + more.len);
}

static void every_protocol_has_a_machine(void **state) {
    (void)state;
    assert_int_equal(ARRAY_LEN(ways), STARTTLS_KINDS - 1);
    for (int i = STARTTLS_NONE + 1; i < STARTTLS_KINDS; i++)
        for (int j = STARTTLS_NONE + 1; j < i; j++)
            assert_string_not_equal(prelude_protocol((enum starttls)i)->name, prelude_protocol((enum starttls)j)->name);
}

static void the_way_to_tls_in_every_cut(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        struct talk t;
        talk_over(&t, ways[i].protocol, ways[i].way);
        assert_int_equal(t.verdict, PRELUDE_GO);
        assert_true(ends_with(&t, ways[i].go_ahead));
        assert_int_equal(t.taken, ways[i].way.len);
    }
}

/* Whatever stands behind is left where it is: the caller sees it, and ends the session. */
static void bytes_behind_the_request_are_not_taken(void **state) {
    (void)state;
    static const char *const behind[] = {"x", "\x16\x03\x01", "\r\n", "NOOP\r\n", "a NOOP\r\n", " ", "\n"};
    for (size_t i = 0; i < ARRAY_LEN(ways); i++)
        for (size_t j = 0; j < ARRAY_LEN(behind); j++) {
            struct talk t;
            struct span said = repeated(ways[i].way, 1, span_str(behind[j]));
            talk_in_pieces(&t, ways[i].protocol, said, said.len);
            assert_int_equal(t.verdict, PRELUDE_GO);
            assert_int_equal(t.taken, ways[i].way.len);
            free((void *)(uintptr_t)said.p);
        }
}

static void beginnings_lead_nowhere(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ways); i++)
        for (size_t n = 0; n < ways[i].way.len; n++) {
            struct talk t;
            talk_in_pieces(&t, ways[i].protocol, span_of(ways[i].way.p, n), n ? n : 1);
            assert_int_equal(t.verdict, PRELUDE_MORE);
        }
}

static void direct_tls_is_known_by_its_first_byte(void **state) {
    (void)state;
    for (int i = STARTTLS_NONE + 1; i < STARTTLS_KINDS; i++) {
        struct prelude p = {.protocol = (uint8_t)i};
        uint8_t room[PRELUDE_ANSWER_MAX];
        struct wr w = wr_of(room, sizeof(room));
        size_t taken = 1;
        assert_int_equal(prelude_step(&p, SAID("\x16"), &w, &taken), PRELUDE_DIRECT);
        assert_int_equal(taken + w.len, 0);
        p.greeted = true; /* then it is too late: the client has read clear text */
        assert_int_equal(prelude_step(&p, SAID("\x16"), &w, &taken), ERR_STARTTLS_MALFORMED);
    }
}

static void tls_is_not_taken_in_the_middle(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        if (ways[i].idle.len == 0)
            continue;
        struct talk t;
        struct span said = repeated(ways[i].idle, 1, SAID("\x16\x03\x01\x02\x00"));
        talk_over(&t, ways[i].protocol, said);
        assert_int_equal(t.verdict, ERR_STARTTLS_MALFORMED);
        free((void *)(uintptr_t)said.p);
    }
}

static void sixteen_units_and_no_more(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        if (ways[i].once)
            continue;
        struct talk t;
        struct span said = repeated(ways[i].idle, PRELUDE_UNITS_MAX, SAID(""));
        talk_in_pieces(&t, ways[i].protocol, said, said.len);
        assert_int_equal(t.verdict, PRELUDE_MORE);
        free((void *)(uintptr_t)said.p);
        said = repeated(ways[i].idle, PRELUDE_UNITS_MAX, ways[i].way);
        talk_over(&t, ways[i].protocol, said);
        assert_int_equal(t.verdict, ERR_STARTTLS_LIMIT);
        free((void *)(uintptr_t)said.p);
    }
}

/* Bytes without an end: refused with the 4,096th, and not looked at before. */
static void a_flood_is_bounded(void **state) {
    (void)state;
    static const struct {
        enum starttls protocol;
        const char *begin;
        uint8_t flood;
    } floods[] = {
        {STARTTLS_SMTP, "EHLO ", 'a'},         {STARTTLS_IMAP, "a ID ", '('},
        {STARTTLS_POP3, "USER ", ' '},         {STARTTLS_NNTP, "X", 0xff},
        {STARTTLS_SIEVE, "\"", 'x'},           {STARTTLS_XMPP_CLIENT, "", ' '},
        {STARTTLS_XMPP_CLIENT, "<a b='", 'c'},
    };
    for (size_t i = 0; i < ARRAY_LEN(floods); i++) {
        uint8_t said[PRELUDE_IN_MAX + 1];
        size_t n = strlen(floods[i].begin);
        memset(said, floods[i].flood, sizeof(said));
        memcpy(said, floods[i].begin, n);
        struct talk t;
        talk_in_pieces(&t, floods[i].protocol, span_of(said, PRELUDE_IN_MAX - 1), 512);
        assert_int_equal(t.verdict, PRELUDE_MORE);
        talk_in_pieces(&t, floods[i].protocol, span_of(said, PRELUDE_IN_MAX), 512);
        assert_int_equal(t.verdict, ERR_STARTTLS_LIMIT);
        talk_in_pieces(&t, floods[i].protocol, span_of(said, sizeof(said)), sizeof(said));
        assert_int_equal(t.verdict, ERR_STARTTLS_LIMIT);
    }
}

/* The bound holds for the conversation, not for a unit: 4,096 bytes in whole lines are taken, one more is not. */
static void the_bytes_of_all_units_count(void **state) {
    (void)state;
    uint8_t said[PRELUDE_IN_MAX + 16];
    memset(said, ' ', sizeof(said));
    for (size_t i = 0; i + 512 <= PRELUDE_IN_MAX; i += 512) {
        memcpy(said + i, "NOOP ", 5);
        memcpy(said + i + 510, "\r\n", 2);
    }
    struct talk t;
    talk_in_pieces(&t, STARTTLS_SMTP, span_of(said, PRELUDE_IN_MAX), 100);
    assert_int_equal(t.verdict, PRELUDE_MORE);
    assert_int_equal(t.taken, PRELUDE_IN_MAX);
    memcpy(said + PRELUDE_IN_MAX, "STARTTLS\r\n", 10);
    talk_in_pieces(&t, STARTTLS_SMTP, span_of(said, PRELUDE_IN_MAX + 10), 100);
    assert_int_equal(t.verdict, ERR_STARTTLS_LIMIT);
}

/* Any reason has words of bounded length, and none of them is a go-ahead. */
static void last_words_fit_and_promise_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ways); i++)
        for (int reason = ERR_BASE_ + 1; reason < ERR_END_; reason++) {
            uint8_t room[PRELUDE_ANSWER_MAX];
            struct prelude p = {.protocol = (uint8_t)ways[i].protocol, .greeted = true};
            struct wr w = wr_of(room, sizeof(room));
            prelude_last_words(&p, reason, &w);
            assert_true(wr_end(&w));
            bool answered_before = reason == ERR_STARTTLS_QUIT || reason == ERR_STARTTLS_CLEAR || reason == ERR_STARTTLS_CANCEL;
            assert_false(answered_before && w.len);
            bool amqp_header = ways[i].protocol == STARTTLS_AMQP && reason == ERR_STARTTLS_MALFORMED; /* part 2.2 wants it */
            assert_true(amqp_header || !span_has_prefix(wr_written(&w), (const char *)ways[i].go_ahead.p));
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_protocol_has_a_machine),
        cmocka_unit_test(the_way_to_tls_in_every_cut),
        cmocka_unit_test(bytes_behind_the_request_are_not_taken),
        cmocka_unit_test(beginnings_lead_nowhere),
        cmocka_unit_test(direct_tls_is_known_by_its_first_byte),
        cmocka_unit_test(tls_is_not_taken_in_the_middle),
        cmocka_unit_test(sixteen_units_and_no_more),
        cmocka_unit_test(a_flood_is_bounded),
        cmocka_unit_test(the_bytes_of_all_units_count),
        cmocka_unit_test(last_words_fit_and_promise_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
