/* What speaks in clear, by its first bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "prelude_talk.h"

#include "prelude/plain.h"

static const struct {
    const char *bytes;
    size_t len;
    const char *name; /* NULL: not known */
    enum starttls starttls;
} rows[] = {
#define ROW(bytes, name, starttls)                                                                                             \
    { bytes, sizeof(bytes) - 1, name, STARTTLS_##starttls }
    ROW("\0\0\0\x08\x04\xd2\x16\x2f", "PostgreSQL", POSTGRESQL),
    ROW("\0\0\0\x08\x04\xd2\x16\x30", "PostgreSQL", POSTGRESQL),
    ROW("\0\0\0\x52\0\3\0\0user\0me", "PostgreSQL", POSTGRESQL),
    ROW("\0\0\0\x08\x04\xd2\x16", NULL, NONE),
    ROW("\0\0\0\x04\0\3\0\0", NULL, NONE),
    ROW("\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00", "LDAP", LDAP),
    ROW("\x30\x84\0\0\0\x0c\x02\x01\x01\x60", "LDAP", LDAP),
    ROW("\x30\x0c\x02\x01\x01\x30", NULL, NONE),
    ROW("\x30\x0c\x02\x01", NULL, NONE),
    ROW("EHLO me\r\n", "SMTP", SMTP),
    ROW("helo me\r\n", "SMTP", SMTP),
    ROW("LHLO me\r\n", "LMTP", LMTP),
    ROW("CAPABILITIES\r\n", "NNTP", NNTP),
    ROW("CAPABILITY\r\n", "ManageSieve", SIEVE),
    ROW("CAPA\r\n", "POP3", POP3),
    ROW("AMQP\0\0\x09\1", "AMQP", AMQP),
    ROW("<?xml version='1.0'?>", "XMPP", XMPP_CLIENT),
    ROW("a001 CAPABILITY\r\n", "IMAP", IMAP),
    ROW(". login me secret\r\n", "IMAP", IMAP),
    ROW("a001 \r\n", NULL, NONE),
    ROW("a b LOGIN", NULL, NONE),
    ROW("GET / HTTP/1.1\r\n", "HTTP", NONE),
    ROW("SSH-2.0-OpenSSH_9.2\r\n", "SSH", NONE),
    ROW("*1\r\n$4\r\nPING\r\n", "Redis", NONE),
    ROW("AUTH TLS\r\n", "FTP", NONE),
    ROW("USER me\r\n", "FTP or POP3", POP3),
    ROW("CONNECT {\"verbose\":false}\r\n", "NATS", NONE),
    ROW("CONNECT\naccept-version:1.2\n", "STOMP", NONE),
    ROW("CONNECT example.org:443 HTTP/1.1\r\n", NULL, NONE),
    ROW("OPTIONS sip:a@example.org SIP/2.0\r\n", "SIP", NONE),
    ROW("version\r\n", "memcached", NONE),
    ROW("\x12\1\0\x3a\0\0\1\0", "Microsoft SQL Server (TDS)", NONE),
    ROW("\3\0\0\x13\x0e\xe0\0\0\0\0\0\1\0\x8\0\3\0\0\0", "RDP", NONE),
    ROW("\3\0\0\x13\x0e", NULL, NONE),
    ROW("\5\1\0", "SOCKS 5", NONE),
    ROW("\0\0\0\x1c\0\x12\0\3\0\0\0\1\0\4", "Kafka", NONE),
    ROW("\0\0\0\x1c\0\x12\0\xff\0\0\0\1", NULL, NONE),
    ROW("\x3a\0\0\0\1\0\0\0\0\0\0\0\xdd\7\0\0\0", "MongoDB", NONE),
    ROW("\x3a\0\0\0\1\0\0\0\0\0\0\0\xdd\7\0", NULL, NONE),
    ROW("\x10\x10\0\4MQTT\5", "MQTT", NONE),
    ROW("\x10\x10\0\6MQIsdp\3", "MQTT", NONE),
    ROW("\x10\x10\0\4MQT", NULL, NONE),
    ROW("", NULL, NONE),
    ROW("\xff\xfe", NULL, NONE),
#undef ROW
};

static void kinds(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct plain_kind *kind = plain_kind(span_of(rows[i].bytes, rows[i].len));
        assert_int_equal(kind != NULL, rows[i].name != NULL);
        if (!kind)
            continue;
        assert_string_equal(kind->name, rows[i].name);
        assert_int_equal(kind->starttls, rows[i].starttls);
    }
}

/* Any beginning is looked at within its bounds (the sanitizer looks), and gives the name of the whole or none. */
static void beginnings_do_not_mislead(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t n = 0; n < rows[i].len; n++) {
            uint8_t *copy = malloc(n + 1);
            assert_non_null(copy);
            memcpy(copy + 1, rows[i].bytes, n);
            const struct plain_kind *kind = plain_kind(span_of(copy + 1, n));
            assert_true(!kind || (rows[i].name && strcmp(kind->name, rows[i].name) == 0));
            free(copy);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(kinds), cmocka_unit_test(beginnings_do_not_mislead)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
