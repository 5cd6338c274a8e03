/* PostgreSQL and AMQP before TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "prelude_talk.h"

#define SSL    "\0\0\0\x08\x04\xd2\x16\x2f"
#define GSSENC "\0\0\0\x08\x04\xd2\x16\x30"
#define CLEAR_ERROR                                                                                                            \
    "E\0\0\0\x5fSFATAL\0VFATAL\0C28000\0MTLS is required here: use sslmode=require, verify-ca or verify-full\0\0"

static void expect(enum starttls protocol, struct span said, struct span answers, int verdict) {
    struct talk t;
    talk_over(&t, protocol, said);
    assert_int_equal(t.verdict, verdict);
    assert_int_equal(t.answered, answers.len);
    assert_memory_equal(t.answers, answers.p, answers.len);
}

static void ssl_and_gssenc(void **state) {
    (void)state;
    const enum starttls p = STARTTLS_POSTGRESQL;
    expect(p, SAID(SSL), SAID("S"), PRELUDE_GO);
    expect(p, SAID(GSSENC), SAID("N"), PRELUDE_MORE);
    expect(p, SAID(GSSENC SSL), SAID("NS"), PRELUDE_GO);
    expect(p, SAID(GSSENC GSSENC), SAID("NE\0\0\0\x39SFATAL\0VFATAL\0C0A000\0Munsupported frontend protocol\0\0"),
           ERR_STARTTLS_CLEAR);
}

static void startup_in_clear(void **state) {
    (void)state;
    const enum starttls p = STARTTLS_POSTGRESQL;
    struct span unknown = SAID("E\0\0\0\x39SFATAL\0VFATAL\0C0A000\0Munsupported frontend protocol\0\0");
    expect(p, SAID("\0\0\0\x21\0\3\0\0user\0me\0database\0mine\0\0"), SAID(CLEAR_ERROR), ERR_STARTTLS_CLEAR);
    expect(p, SAID("\0\0\0\x21\0\3\0\2"), SAID(CLEAR_ERROR), ERR_STARTTLS_CLEAR);
    expect(p, SAID(GSSENC "\0\0\0\x21\0\3\0\0"), SAID("N" CLEAR_ERROR), ERR_STARTTLS_CLEAR);
    expect(p, SAID("\0\0\x27\x10\0\3\0\0"), SAID(CLEAR_ERROR), ERR_STARTTLS_CLEAR);
    expect(p, SAID("\0\0\0\x21\0\2\0\0"), unknown, ERR_STARTTLS_CLEAR);
    expect(p, SAID("\0\0\0\x21\0\4\0\0"), unknown, ERR_STARTTLS_CLEAR);
    expect(p, SAID("\0\0\0\x08\x04\xd2\x16\x31"), unknown, ERR_STARTTLS_CLEAR);
}

static void lengths(void **state) {
    (void)state;
    static const struct span bad[] = {
#define B(s) {(const uint8_t *)s, sizeof(s) - 1}
        B("\0\0\0\x07"),
        B("\0\0\0\0"),
        B("\0\0\x27\x11"),
        B("\0\1\0\0"),
        B("\1"),
        B("GET / HTTP/1.1\r\n"),
        B("\0\0\0\x09\x04\xd2\x16\x2f"),
        B("\0\0\0\x10\x04\xd2\x16\x30"),
        B("\0\0\0\x0f\x04\xd2\x16\x2e"),
        B("\0\0\x01\x0d\x04\xd2\x16\x2e"),
#undef B
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect(STARTTLS_POSTGRESQL, bad[i], SAID(""), ERR_STARTTLS_MALFORMED);
}

/* The whole request is one unit: who passes it on has it in one piece, and nothing behind it. */
static void cancel_requests(void **state) {
    (void)state;
    uint8_t said[400] = "\0\0\0\x10\x04\xd2\x16\x2e\0\0\x12\x34secr";
    struct talk t;
    expect(STARTTLS_POSTGRESQL, span_of(said, 15), SAID(""), PRELUDE_MORE);
    talk_over(&t, STARTTLS_POSTGRESQL, span_of(said, 16));
    assert_int_equal(t.verdict, PRELUDE_CANCEL);
    assert_int_equal(t.taken, 16);
    talk_in_pieces(&t, STARTTLS_POSTGRESQL, span_of(said, 30), 30);
    assert_int_equal(t.verdict, PRELUDE_CANCEL);
    assert_int_equal(t.taken, 16);
    said[2] = 1;
    said[3] = 12; /* the longest secret of version 3.2: 256 bytes */
    expect(STARTTLS_POSTGRESQL, span_of(said, 267), SAID(""), PRELUDE_MORE);
    talk_over(&t, STARTTLS_POSTGRESQL, span_of(said, 268));
    assert_int_equal(t.verdict, PRELUDE_CANCEL);
    assert_int_equal(t.taken, 268);
}

static void bytes_behind_a_request_are_reported(void **state) {
    (void)state;
    uint8_t room[PRELUDE_ANSWER_MAX];
    struct prelude p = {.protocol = STARTTLS_POSTGRESQL};
    struct wr w = wr_of(room, sizeof(room));
    prelude_last_words(&p, ERR_STARTTLS_INJECTION, &w);
    assert_true(
        span_eq(wr_written(&w), SAID("E\0\0\0\x47SFATAL\0VFATAL\0C08P01\0Mreceived unencrypted data after SSL request\0\0")));
}

static void amqp_headers(void **state) {
    (void)state;
    const enum starttls p = STARTTLS_AMQP;
    struct span tls = SAID("AMQP\2\1\0\0");
    expect(p, tls, tls, PRELUDE_GO);
    expect(p, SAID("AMQP\0\1\0\0"), tls, ERR_STARTTLS_CLEAR);
    expect(p, SAID("AMQP\3\1\0\0"), tls, ERR_STARTTLS_CLEAR);
    expect(p, SAID("AMQP\0\0\x09\1"), tls, ERR_STARTTLS_CLEAR); /* 0-9-1 */
    expect(p, SAID("AMQP\2\1\0\1"), tls, ERR_STARTTLS_CLEAR);
    expect(p, SAID("AMQX"), SAID(""), ERR_STARTTLS_MALFORMED);
    expect(p, SAID("amqp\2\1\0\0"), SAID(""), ERR_STARTTLS_MALFORMED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ssl_and_gssenc),
        cmocka_unit_test(startup_in_clear),
        cmocka_unit_test(lengths),
        cmocka_unit_test(cancel_requests),
        cmocka_unit_test(bytes_behind_a_request_are_reported),
        cmocka_unit_test(amqp_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
