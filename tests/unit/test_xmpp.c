/* XMPP before TLS: the stream, its refusals, and a scanner that knows no more of XML than that takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "prelude_talk.h"

#define NS       "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
#define HEAD     "<?xml version='1.0'?><stream:stream " NS " id='tls-off' version='1.0'"
#define FEATURES "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>"
#define STREAM   "<stream:stream " NS " version='1.0'>"
#define ANSWER   HEAD ">" FEATURES
#define PROCEED  "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
#define ERROR(c) "<stream:error><" c " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
#define STARTTLS "starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'"

static void expect(const char *said, const char *answers, int verdict) {
    struct talk t;
    talk_over(&t, STARTTLS_XMPP_CLIENT, span_str(said));
    assert_string_equal(t.answers, answers);
    assert_int_equal(t.verdict, verdict);
}

static void the_way_to_tls(void **state) {
    (void)state;
    expect(STREAM, ANSWER, PRELUDE_MORE);
    expect("<?xml version='1.0'?>" STREAM "<" STARTTLS "/>", ANSWER PROCEED, PRELUDE_GO);
    expect("<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n " STREAM " \n<" STARTTLS " />", ANSWER PROCEED, PRELUDE_GO);
    expect(STREAM "<" STARTTLS "></starttls >", ANSWER PROCEED, PRELUDE_GO);
    expect(STREAM "</stream:stream>", ANSWER "</stream:stream>", ERR_STARTTLS_QUIT);
    /* the order of attributes, their quotes and others than the known ones are the client's choice */
    expect("<stream:stream version = \"1.0\"\txml:lang='de' " NS " a='>' >", ANSWER, PRELUDE_MORE);
}

/* A host name is named in the answer, since 4.7.1 wants that; what is none is not. */
static void the_host_in_the_answer(void **state) {
    (void)state;
    expect("<stream:stream to='Chat.example-1.org' " NS " version='1.0'>", HEAD " from='Chat.example-1.org'>" FEATURES,
           PRELUDE_MORE);
    static const char *const none[] = {"", "a/b", "a\"b", "a b", "\xc3\xa4.example", "[::1]", "me@example.org"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        char said[256];
        snprintf(said, sizeof(said), "<stream:stream to='%s' " NS " version='1.0'>", none[i]);
        expect(said, ANSWER, PRELUDE_MORE);
    }
    char said[600], name[257];
    memset(name, 'a', sizeof(name));
    snprintf(said, sizeof(said), "<stream:stream to='%.256s' " NS " version='1.0'>", name);
    expect(said, ANSWER, PRELUDE_MORE);
}

static void streams_that_are_refused(void **state) {
    (void)state;
    expect("<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
           HEAD ">" ERROR("invalid-namespace"), ERR_STARTTLS_CLEAR);
    expect("<stream:stream version='1.0'>", HEAD ">" ERROR("invalid-namespace"), ERR_STARTTLS_CLEAR);
    expect("<stream:stream " NS ">", HEAD ">" ERROR("unsupported-version"), ERR_STARTTLS_CLEAR);
    expect("<stream:stream " NS " version='2.0'>", HEAD ">" ERROR("unsupported-version"), ERR_STARTTLS_CLEAR);
}

static void stanzas_in_clear(void **state) {
    (void)state;
    expect(STREAM "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>", ANSWER ERROR("policy-violation"),
           ERR_STARTTLS_CLEAR);
    expect(STREAM "<iq type='get'>", ANSWER ERROR("policy-violation"), ERR_STARTTLS_CLEAR);
    expect(STREAM "<starttls/>", ANSWER ERROR("policy-violation"), ERR_STARTTLS_CLEAR);
    expect(STREAM "<starttls xmlns='urn:other'/>", ANSWER ERROR("policy-violation"), ERR_STARTTLS_CLEAR);
    expect(STREAM "<a:" STARTTLS "/>", ANSWER ERROR("policy-violation"), ERR_STARTTLS_CLEAR);
    expect(STREAM STREAM, ANSWER ERROR("policy-violation"), ERR_STARTTLS_CLEAR);
}

/* No document type, entity, comment, CDATA, instruction or text, wherever they stand. */
static void what_is_not_understood(void **state) {
    (void)state;
    static const char *const first[] = {
        "<!DOCTYPE x>",
        "<!",
        "<?php?>",
        "<?xml version='1.0' encoding='latin1'?>",
        "<?xml version='1.1'?>",
        "<?xml version='1.0'>",
        " <?xml version='1.0'?>",
        "<?xml version='1.0'?><?xml version='1.0'?>",
        "x",
        "\xef\xbb\xbf<", /* a byte order mark */
        "<a b='&lt;'>",
        "<a b='<'>",
        "<a <",
        "<a b=''c=''>",
        "<a b=c>",
        "<a b>",
        "<a b='' b=''>",
        "<a b='\x01'>",
        "<\xc3\xa4>",
        "<>",
        "</>",
        "</a>",
        "< a>",
        "<a/ >",
        "<1a>",
        "<a ='b'>",
        "<stream:stream " NS " version='1.0'/>",
        "<other " NS " version='1.0'>",
        "<a a='' b='' c='' d='' e='' f='' g='' h='' i='' j='' k='' l='' m='' n='' o='' p='' q=''>",
    };
    for (size_t i = 0; i < ARRAY_LEN(first); i++)
        expect(first[i], "", ERR_STARTTLS_MALFORMED);
    static const char *const later[] = {"<!-- -->",
                                        "<![CDATA[x]]>",
                                        "text<",
                                        "&amp;",
                                        "</a>",
                                        "<" STARTTLS ">x",
                                        "<" STARTTLS "><",
                                        "<" STARTTLS "><required/>",
                                        "<" STARTTLS "></stream:stream>",
                                        "</stream:stream x=''>",
                                        "<" STARTTLS " ><!-- --></starttls>",
                                        "<?xml version='1.0'?>"};
    for (size_t i = 0; i < ARRAY_LEN(later) - 1; i++) {
        char said[512];
        struct talk t;
        snprintf(said, sizeof(said), STREAM "%s", later[i]);
        talk_over(&t, STARTTLS_XMPP_CLIENT, span_str(said));
        bool open = strcmp(later[i], "<" STARTTLS "><") == 0; /* may still become </starttls> */
        assert_int_equal(t.verdict, open ? PRELUDE_MORE : ERR_STARTTLS_MALFORMED);
        assert_string_equal(t.answers, ANSWER);
    }
}

static void last_words_stand_in_a_stream(void **state) {
    (void)state;
    static const struct {
        int reason;
        const char *before, *within;
    } rows[] = {
        {ERR_STARTTLS_MALFORMED, HEAD ">" ERROR("not-well-formed"), ERROR("not-well-formed")},
        {ERR_HANDSHAKE_TIMEOUT, HEAD ">" ERROR("connection-timeout"), ERROR("connection-timeout")},
        {ERR_STARTTLS_INJECTION, HEAD ">" ERROR("policy-violation"), ERROR("policy-violation")},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct talk t;
        uint8_t room[PRELUDE_ANSWER_MAX];
        talk_in_pieces(&t, STARTTLS_XMPP_CLIENT, SAID(""), 1);
        struct wr w = wr_of(room, sizeof(room));
        prelude_last_words(&t.p, rows[i].reason, &w);
        assert_true(span_eq(wr_written(&w), span_str(rows[i].before)));
        talk_in_pieces(&t, STARTTLS_XMPP_CLIENT, SAID(STREAM), 400);
        w = wr_of(room, sizeof(room));
        prelude_last_words(&t.p, rows[i].reason, &w);
        assert_true(span_eq(wr_written(&w), span_str(rows[i].within)));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_way_to_tls),           cmocka_unit_test(the_host_in_the_answer),
        cmocka_unit_test(streams_that_are_refused), cmocka_unit_test(stanzas_in_clear),
        cmocka_unit_test(what_is_not_understood),   cmocka_unit_test(last_words_stand_in_a_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
