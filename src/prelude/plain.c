/* See plain.h. A guess that costs nothing when it is wrong: nothing is decided by it. */
#include "prelude/plain.h"

#include <string.h>
#include <strings.h>

#include "base/rd.h"

static const struct plain_kind postgresql = {"PostgreSQL", STARTTLS_POSTGRESQL}, ldap = {"LDAP", STARTTLS_LDAP},
                               imap = {"IMAP", STARTTLS_IMAP}, mqtt = {"MQTT", STARTTLS_NONE}, kafka = {"Kafka", STARTTLS_NONE},
                               rdp = {"RDP", STARTTLS_NONE}, mongodb = {"MongoDB", STARTTLS_NONE};

/* Beginnings in any case. */
static const struct {
    const char *bytes;
    struct plain_kind kind;
} beginnings[] = {
    {"EHLO ", {"SMTP", STARTTLS_SMTP}},
    {"HELO ", {"SMTP", STARTTLS_SMTP}},
    {"LHLO ", {"LMTP", STARTTLS_LMTP}},
    {"CAPABILITIES\r\n", {"NNTP", STARTTLS_NNTP}},
    {"MODE READER", {"NNTP", STARTTLS_NNTP}},
    {"CAPABILITY\r\n", {"ManageSieve", STARTTLS_SIEVE}},
    {"CAPA\r\n", {"POP3", STARTTLS_POP3}},
    {"STLS\r\n", {"POP3", STARTTLS_POP3}},
    {"AMQP", {"AMQP", STARTTLS_AMQP}},
    {"<?xml ", {"XMPP", STARTTLS_XMPP_CLIENT}},
    {"<stream:stream", {"XMPP", STARTTLS_XMPP_CLIENT}},
    {"STARTTLS\r\n", {"a client of STARTTLS", STARTTLS_NONE}},
    {"GET ", {"HTTP", STARTTLS_NONE}},
    {"POST ", {"HTTP", STARTTLS_NONE}},
    {"HEAD ", {"HTTP", STARTTLS_NONE}},
    {"PRI * HTTP/2", {"HTTP/2", STARTTLS_NONE}},
    {"SSH-", {"SSH", STARTTLS_NONE}},
    {"PING\r\n", {"Redis", STARTTLS_NONE}},
    {"*1\r\n$", {"Redis", STARTTLS_NONE}},
    {"*2\r\n$", {"Redis", STARTTLS_NONE}},
    {"*3\r\n$", {"Redis", STARTTLS_NONE}},
    {"NICK ", {"IRC", STARTTLS_NONE}},
    {"CAP LS", {"IRC", STARTTLS_NONE}},
    {"JRMI", {"Java RMI", STARTTLS_NONE}},
    {"AUTH TLS\r\n", {"FTP", STARTTLS_NONE}},
    {"AUTH SSL\r\n", {"FTP", STARTTLS_NONE}},
    {"USER ", {"FTP or POP3", STARTTLS_POP3}},
    {"APOP ", {"POP3", STARTTLS_POP3}},
    {"NOOP\r\n", {"a client of STARTTLS", STARTTLS_NONE}},
    {"QUIT\r\n", {"a client of STARTTLS", STARTTLS_NONE}},
    {"CONNECT {", {"NATS", STARTTLS_NONE}},
    {"CONNECT\n", {"STOMP", STARTTLS_NONE}},
    {"STOMP\n", {"STOMP", STARTTLS_NONE}},
    {"INVITE sip:", {"SIP", STARTTLS_NONE}},
    {"REGISTER sip:", {"SIP", STARTTLS_NONE}},
    {"OPTIONS sip:", {"SIP", STARTTLS_NONE}},
    {"OPTIONS rtsp:", {"RTSP", STARTTLS_NONE}},
    {"stats\r\n", {"memcached", STARTTLS_NONE}},
    {"version\r\n", {"memcached", STARTTLS_NONE}},
    {"<stream ", {"XMPP", STARTTLS_XMPP_CLIENT}},
    {"\x12\x01", {"Microsoft SQL Server (TDS)", STARTTLS_NONE}},
    {"\x05\x01", {"SOCKS 5", STARTTLS_NONE}},
    {"\x05\x02", {"SOCKS 5", STARTTLS_NONE}},
};

static bool begins(struct span s, const char *bytes) {
    size_t n = strlen(bytes);
    return s.len >= n && strncasecmp((const char *)s.p, bytes, n) == 0;
}

static bool is_postgresql(struct span s) {
    struct rd r = rd_of(s);
    uint32_t len = rd_u32(&r), code = rd_u32(&r);
    return !r.bad && len >= 8 && len <= 10000 && (code >> 16 == 3 || code >> 8 == 0x04d216);
}

/* A SEQUENCE that begins with a small message ID and a request. */
static bool is_ldap(struct span s) {
    struct rd r = rd_of(s);
    bool sequence = rd_u8(&r) == 0x30;
    uint8_t len = rd_u8(&r);
    (void)rd_bytes(&r, len > 0x80 && len <= 0x84 ? len & 0x0f : 0);
    bool integer = rd_u8(&r) == 2 && rd_vec8(&r).len <= 4;
    uint8_t op = rd_u8(&r) & 0xc0;
    return !r.bad && sequence && integer && op == 0x40;
}

/* CONNECT of versions 3.1, 3.1.1 and 5. */
static bool is_mqtt(struct span s) {
    return s.len >= 8 && s.p[0] == 0x10 && (memcmp(s.p + 2, "\0\4MQTT", 6) == 0 || memcmp(s.p + 2, "\0\6MQIs", 6) == 0);
}

/* ApiVersions, with which clients begin: length, API key 18, a small version. */
static bool is_kafka(struct span s) {
    struct rd r = rd_of(s);
    uint32_t len = rd_u32(&r);
    bool begins = rd_u16(&r) == 18 && rd_u16(&r) <= 8;
    return !r.bad && begins && len >= 8 && len <= 10000;
}

/* A header of four numbers, little-endian, of which the last is OP_MSG or OP_QUERY. */
static bool is_mongodb(struct span s) {
    static const uint8_t message[] = {0xdd, 0x07, 0, 0}, query[] = {0xd4, 0x07, 0, 0};
    return s.len >= 16 && s.p[3] == 0 && (memcmp(s.p + 12, message, 4) == 0 || memcmp(s.p + 12, query, 4) == 0);
}

/* TPKT (RFC 1006) with a connection request. */
static bool is_rdp(struct span s) {
    return s.len >= 6 && s.p[0] == 3 && s.p[1] == 0 && s.p[2] == 0 && s.p[5] == 0xe0;
}

/* A tag and a command. */
static bool is_imap(struct span s) {
    static const char *const commands[] = {"CAPABILITY", "LOGIN ", "STARTTLS", "AUTHENTICATE ", "ID ", "NOOP"};
    const uint8_t *space = s.len ? memchr(s.p, ' ', MIN(s.len, (size_t)16)) : NULL;
    for (size_t i = 0; space && i < ARRAY_LEN(commands); i++)
        if (begins(span_of(space + 1, s.len - (size_t)(space + 1 - s.p)), commands[i]))
            return true;
    return false;
}

const struct plain_kind *plain_kind(struct span first_bytes) {
    if (is_postgresql(first_bytes))
        return &postgresql;
    if (is_ldap(first_bytes))
        return &ldap;
    if (is_mqtt(first_bytes))
        return &mqtt;
    if (is_kafka(first_bytes))
        return &kafka;
    if (is_rdp(first_bytes))
        return &rdp;
    if (is_mongodb(first_bytes))
        return &mongodb;
    for (size_t i = 0; i < ARRAY_LEN(beginnings); i++)
        if (begins(first_bytes, beginnings[i].bytes))
            return &beginnings[i].kind;
    return is_imap(first_bytes) ? &imap : NULL;
}
