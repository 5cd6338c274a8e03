/* LDAP before TLS: StartTLS, the root DSE, refusals with the right response, strict BER. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "prelude_talk.h"

#define OID         "1.3.6.1.4.1.1466.20037"
#define WHOAMI      "1.3.6.1.4.1.4203.1.11.3"
#define FILTER      "\x87\x0bobjectClass"
#define ROOT(scope) "\x04\x00\x0a\x01" scope "\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00" FILTER "\x30\x00"
#define REQUIRED    "\x04\x00\x04\x1aStartTLS is required first"

/* ID and OP with their outer lengths made right. */
static void expect_message(struct span said, struct span answers, int verdict) {
    struct talk t;
    talk_over(&t, STARTTLS_LDAP, said);
    assert_int_equal(t.verdict, verdict);
    assert_int_equal(t.answered, answers.len);
    assert_memory_equal(t.answers, answers.p, answers.len);
}

/* "0" LENGTH "\2" ID OP */
static struct span message(uint8_t *room, struct span id, struct span op) {
    struct wr w = wr_of(room, 256);
    wr_u8(&w, 0x30);
    wr_u8(&w, (uint8_t)(2 + id.len + op.len));
    wr_u8(&w, 2);
    wr_vec8(&w, id);
    wr_span(&w, op);
    MUST(wr_end(&w));
    return wr_written(&w);
}

static void starttls_with_any_id(void **state) {
    (void)state;
    static const struct span ids[] = {{(const uint8_t *)"\x01", 1},
                                      {(const uint8_t *)"\x7f", 1},
                                      {(const uint8_t *)"\0\x80", 2},
                                      {(const uint8_t *)"\x12\x34\x56", 3},
                                      {(const uint8_t *)"\x7f\xff\xff\xff", 4}};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        uint8_t said[256], answer[256];
        expect_message(message(said, ids[i], SAID("\x77\x18\x80\x16" OID)),
                       message(answer, ids[i], SAID("\x78\x07\x0a\x01\x00\x04\x00\x04\x00")), PRELUDE_GO);
    }
}

static void ids_that_are_none(void **state) {
    (void)state;
    static const struct span ids[] = {{(const uint8_t *)"\0", 1},           {(const uint8_t *)"\x80", 1},
                                      {(const uint8_t *)"\0\x7f", 2},       {(const uint8_t *)"\0\0", 2},
                                      {(const uint8_t *)"\0\x80\0\0\0", 5}, {(const uint8_t *)"", 0},
                                      {(const uint8_t *)"\xff\xff", 2}};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        uint8_t said[256];
        expect_message(message(said, ids[i], SAID("\x77\x18\x80\x16" OID)), SAID(""), ERR_STARTTLS_MALFORMED);
    }
}

static void every_request_has_its_response(void **state) {
    (void)state;
    static const struct {
        const char *request;
        size_t len;
        uint8_t response;
    } rows[] = {
#define R(s, r) {s, sizeof(s) - 1, r}
        R("\x60\x07\x02\x01\x03\x04\x00\x80\x00", 0x61),
        R("\x66\x04\x04\x00\x30\x00", 0x67),
        R("\x68\x04\x04\x00\x30\x00", 0x69),
        R("\x4a\x04"
          "cn=x",
          0x6b),
        R("\x6c\x07\x04\x00\x04\x00\x01\x01\x00", 0x6d),
        R("\x6e\x04\x04\x00\x30\x00", 0x6f),
        R("\x77\x19\x80\x17" WHOAMI, 0x78),
        R("\x63\x20" ROOT("\x02"), 0x65),
        R("\x63\x20" ROOT("\x01"), 0x65),
#undef R
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t said[256], answer[256], op[64];
        struct wr w = wr_of(op, sizeof(op));
        wr_u8(&w, rows[i].response);
        wr_vec8(&w, SAID("\x0a\x01\x0d" REQUIRED));
        expect_message(message(said, SAID("\x05"), span_of(rows[i].request, rows[i].len)),
                       message(answer, SAID("\x05"), wr_written(&w)), PRELUDE_MORE);
    }
}

static void the_root_dse_names_starttls(void **state) {
    (void)state;
    uint8_t said[256];
    struct talk t;
    talk_over(&t, STARTTLS_LDAP, message(said, SAID("\x02"), SAID("\x63\x20" ROOT("\x00"))));
    assert_int_equal(t.verdict, PRELUDE_MORE);
    struct span want = SAID("\x30\x56\x02\x01\x02\x64\x51\x04\x00\x30\x4d\x30\x1b\x04\x14supportedLDAPVersion\x31\x03\x04\x01"
                            "3\x30\x2e\x04\x12supportedExtension\x31\x18\x04\x16" OID
                            "\x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00");
    assert_int_equal(t.answered, want.len);
    assert_memory_equal(t.answers, want.p, want.len);
}

static void unbind_ends_and_abandon_is_silent(void **state) {
    (void)state;
    expect_message(SAID("\x30\x05\x02\x01\x01\x42\x00"), SAID(""), ERR_STARTTLS_QUIT);
    expect_message(SAID("\x30\x06\x02\x01\x01\x42\x01\x00"), SAID(""), ERR_STARTTLS_MALFORMED);
    expect_message(SAID("\x30\x06\x02\x01\x02\x50\x01\x01"), SAID(""), PRELUDE_MORE);
}

static void a_value_is_an_error_of_starttls(void **state) {
    (void)state;
    uint8_t said[256], answer[256];
    expect_message(message(said, SAID("\x01"), SAID("\x77\x1a\x80\x16" OID "\x81\x00")),
                   message(answer, SAID("\x01"), SAID("\x78\x1c\x0a\x01\x02\x04\x00\x04\x15StartTLS has no value")),
                   PRELUDE_MORE);
}

static void controls(void **state) {
    (void)state;
    uint8_t said[256], answer[256];
    struct span go = message(answer, SAID("\x01"), SAID("\x78\x07\x0a\x01\x00\x04\x00\x04\x00"));
#define WITH(controls) message(said, SAID("\x01"), SAID("\x77\x18\x80\x16" OID controls))
    expect_message(WITH("\xa0\x00"), go, PRELUDE_GO);
    expect_message(WITH("\xa0\x07\x30\x05\x04\x03"
                        "1.2"),
                   go, PRELUDE_GO);
    expect_message(WITH("\xa0\x0a\x30\x08\x04\x03"
                        "1.2"
                        "\x01\x01\x00"),
                   go, PRELUDE_GO);
    expect_message(WITH("\xa0\x09\x30\x07\x04\x03"
                        "1.2"
                        "\x04\x00"),
                   go, PRELUDE_GO);
    struct span refused =
        message(answer, SAID("\x01"), SAID("\x78\x25\x0a\x01\x0c\x04\x00\x04\x1eno control is known before TLS"));
    expect_message(WITH("\xa0\x0a\x30\x08\x04\x03"
                        "1.2"
                        "\x01\x01\xff"),
                   refused, PRELUDE_MORE);
    expect_message(WITH("\xa0\x11\x30\x05\x04\x03"
                        "1.2"
                        "\x30\x08\x04\x03"
                        "1.3"
                        "\x01\x01\xff"),
                   refused, PRELUDE_MORE);
    static const struct span bad[] = {
#define B(s) {(const uint8_t *)s, sizeof(s) - 1}
        B("\xa0\x02\x30\x00"),
        B("\xa0\x03\x30\x01\x04"),
        B("\xa0\x04\x04\x00\x04\x00"),
        B("\xa0\x07\x30\x05\x04\x00\x01\x01"),
        B("\xa0\x05\x30\x05\x04\x03"
          "1.2"),
        B("\xa1\x00"),
        B("\xa0\x00\xa0\x00"),
        B("\xa0\x08\x30\x06\x04\x00\x01\x02\x00\x00"),
#undef B
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint8_t op[64];
        struct wr w = wr_of(op, sizeof(op));
        wr_span(&w, SAID("\x77\x18\x80\x16" OID));
        wr_span(&w, bad[i]);
        expect_message(message(said, SAID("\x01"), wr_written(&w)), SAID(""), ERR_STARTTLS_MALFORMED);
    }
}

/* Long forms of a length are legal BER, and what some clients always write. */
static void lengths(void **state) {
    (void)state;
    struct span go = SAID("\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00");
    expect_message(SAID("\x30\x81\x1d\x02\x01\x01\x77\x18\x80\x16" OID), go, PRELUDE_GO);
    expect_message(SAID("\x30\x84\x00\x00\x00\x25\x02\x01\x01\x77\x84\x00\x00\x00\x1c\x80\x84\x00\x00\x00\x16" OID), go,
                   PRELUDE_GO);
    expect_message(SAID("\x30\x80\x02\x01\x01\x42\x00\x00\x00"), SAID(""), ERR_STARTTLS_MALFORMED);
    expect_message(SAID("\x30\x85\x00\x00\x00\x00\x05\x02\x01\x01\x42\x00"), SAID(""), ERR_STARTTLS_MALFORMED);
    expect_message(SAID("\x30\xff"), SAID(""), ERR_STARTTLS_MALFORMED);
    expect_message(SAID("\x30\x84\xff\xff\xff\xff"), SAID(""), ERR_STARTTLS_LIMIT);
    expect_message(SAID("\x30\x82\x0f\xfd"), SAID(""), ERR_STARTTLS_LIMIT);
    expect_message(SAID("\x30\x82\x0f\xfc"), SAID(""), PRELUDE_MORE);
    expect_message(SAID("\x30\x00"), SAID(""), ERR_STARTTLS_MALFORMED);
    expect_message(SAID("\x30\x04\x02\x01\x01\x42"), SAID(""), ERR_STARTTLS_MALFORMED);
    expect_message(SAID("\x30\x06\x02\x01\x01\x42\x00\x00"), SAID(""), ERR_STARTTLS_MALFORMED);
    expect_message(SAID("\x30\x06\x02\x01\x01\x7f\x20\x00"), SAID(""), ERR_STARTTLS_MALFORMED); /* a high tag number */
    expect_message(SAID("\x30\x05\x02\x01\x01\x79\x00"), SAID(""), ERR_STARTTLS_MALFORMED);     /* no request */
    expect_message(SAID("\x16\x03"), SAID(""), PRELUDE_DIRECT);
    expect_message(SAID("G"), SAID(""), ERR_STARTTLS_MALFORMED);
}

static void searches_that_are_none(void **state) {
    (void)state;
    static const struct span bodies[] = {
#define B(s) {(const uint8_t *)s, sizeof(s) - 1}
        B("\x63\x00"),
        B("\x63\x02\x04\x00"),
        B("\x63\x21" ROOT("\x00") "\x00"),
        B("\x63\x15\x04\x00\x0a\x01\x00\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00\x30\x00\x30\x00"),
        B("\x63\x16\x04\x00\x0a\x01\x00\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00\x87\x00\x30\x01\x04"),
#undef B
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        uint8_t said[256];
        expect_message(message(said, SAID("\x01"), bodies[i]), SAID(""), ERR_STARTTLS_MALFORMED);
    }
}

/* A notice of disconnection, message ID 0. */
static void the_last_words_are_a_notice(void **state) {
    (void)state;
    uint8_t room[PRELUDE_ANSWER_MAX];
    struct prelude p = {.protocol = STARTTLS_LDAP};
    struct wr w = wr_of(room, sizeof(room));
    prelude_last_words(&p, ERR_STARTTLS_MALFORMED, &w);
    struct span want = SAID("\x30\x3f\x02\x01\x00\x78\x3a\x0a\x01\x02\x04\x00\x04\x1bnot allowed before StartTLS\x8a\x16"
                            "1.3.6.1.4.1.1466.20036");
    assert_true(span_eq(wr_written(&w), want));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starttls_with_any_id),
        cmocka_unit_test(ids_that_are_none),
        cmocka_unit_test(every_request_has_its_response),
        cmocka_unit_test(the_root_dse_names_starttls),
        cmocka_unit_test(unbind_ends_and_abandon_is_silent),
        cmocka_unit_test(a_value_is_an_error_of_starttls),
        cmocka_unit_test(controls),
        cmocka_unit_test(lengths),
        cmocka_unit_test(searches_that_are_none),
        cmocka_unit_test(the_last_words_are_a_notice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
