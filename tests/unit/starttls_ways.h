/* How a client of each protocol asks for TLS, what the go-ahead begins with, and which greeting the relay is to swallow then.
 */
#pragma once

#include <stddef.h>

#include "prelude/prelude.h"
#include "wire/greeting_kind.h"

#define LDAP_STARTTLS                                                                                                          \
    "\x30\x1d\x02\x01\x01\x77\x18\x80\x16"                                                                                     \
    "1.3.6.1.4.1.1466.20037"
#define XMPP_STREAM "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"

static const struct way {
    enum starttls protocol;
    const char *asks; /* for TLS */
    size_t len;
    const char *go_ahead;
    enum greeting greeting; /* that the relay is to swallow */
} ways[] = {
#define WAY(p, asks, go, greeting)                                                                                             \
    { STARTTLS_##p, asks, sizeof(asks) - 1, go, GREETING_##greeting }
    WAY(POSTGRESQL, "\0\0\0\x08\x04\xd2\x16\x2f", "S", NONE),
    WAY(LDAP, LDAP_STARTTLS, "0", NONE),
    WAY(SIEVE, "STARTTLS\r\n", "OK \"begin", NONE),
    WAY(AMQP, "AMQP\2\1\0\0", "AMQP\2", NONE),
    WAY(XMPP_CLIENT, XMPP_STREAM "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "<proceed", NONE),
    WAY(SMTP, "EHLO me\r\nSTARTTLS\r\n", "220 2.0.0", SMTP),
    WAY(LMTP, "LHLO me\r\nSTARTTLS\r\n", "220 2.0.0", SMTP),
    WAY(IMAP, "a STARTTLS\r\n", "a OK", IMAP),
    WAY(POP3, "STLS\r\n", "+OK begin", POP3),
    WAY(NNTP, "STARTTLS\r\n", "382", NNTP),
#undef WAY
};
