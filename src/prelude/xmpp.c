/*
 * See xmpp.h. A unit is one tag, with white space in front of it. The scanner knows what a client says up to <starttls/> and
 * nothing else of XML: no document type, no entity, no comment, no CDATA, no processing instruction, no text (RFC 6120 11.1).
 */
#include "prelude/xmpp.h"

#include <string.h>
#include <strings.h>

#include "base/err.h"

#define ATTRIBUTES_MAX  16
#define XMPP_DOMAIN_MAX 255

#define NS_TLS    "urn:ietf:params:xml:ns:xmpp-tls"
#define NS_ERRORS "urn:ietf:params:xml:ns:xmpp-streams"
#define NS_STREAM "http://etherx.jabber.org/streams"

#define STREAM_HEAD                                                                                                            \
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" NS_STREAM "' id='tls-off' version='1.0'"
#define FEATURES   "<stream:features><starttls xmlns='" NS_TLS "'><required/></starttls></stream:features>"
#define STREAM_END "</stream:stream>"

enum xmpp_stage { XMPP_NOTHING, XMPP_DECLARED, XMPP_OPEN, XMPP_IN_STARTTLS };

struct xml_attribute {
    struct span name, value;
};

struct xml_tag {
    bool declaration; /* <?xml ... ?> */
    bool closing;     /* </name> */
    bool empty;       /* <name/> */
    struct span name;
    struct xml_attribute attributes[ATTRIBUTES_MAX];
    size_t nattributes;
};

static bool is_white(uint8_t c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Bytes that have no place in what is understood here, wherever they are. */
static bool is_foreign(uint8_t c) {
    return c == '&' || c == 0x7f || (c < 0x20 && !is_white(c));
}

static enum step xmpp_cut(struct span in, size_t *ret_len) {
    size_t i = 0;
    uint8_t quote = 0;
    while (i < in.len && is_white(in.p[i]))
        i++;
    if (i == in.len)
        return STEP_WANT_READ;
    if (in.p[i++] != '<' || (i < in.len && in.p[i] == '!'))
        return STEP_FAILED;
    for (; i < in.len; i++) {
        uint8_t c = in.p[i];
        if (is_foreign(c) || c == '<' || (!quote && c >= 0x80))
            return STEP_FAILED;
        if (quote) {
            quote = c == quote ? 0 : quote;
        } else if (c == '\'' || c == '"') {
            quote = c;
        } else if (c == '>') {
            *ret_len = i + 1;
            return STEP_DONE;
        }
    }
    return STEP_WANT_READ;
}

static bool skip_white(struct span *s) {
    size_t n = 0;
    while (n < s->len && is_white(s->p[n]))
        n++;
    *s = span_of(s->p + n, s->len - n);
    return n > 0;
}

/* A name with or without a prefix, in ASCII; empty when there is none. */
static struct span take_xml_name(struct span *s) {
    size_t n = 0;
    for (; n < s->len; n++) {
        uint8_t c = s->p[n];
        bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        bool later = (c >= '0' && c <= '9') || c == '-' || c == '.';
        if (!letter && c != '_' && c != ':' && (!later || n == 0))
            break;
    }
    struct span name = span_of(s->p, n);
    *s = span_of(s->p + n, s->len - n);
    return name;
}

static const struct span *find_attribute(const struct xml_tag *t, struct span name) {
    for (size_t i = 0; i < t->nattributes; i++)
        if (span_eq(t->attributes[i].name, name))
            return &t->attributes[i].value;
    return NULL;
}

static bool has_value(const struct xml_tag *t, const char *name, const char *value) {
    const struct span *v = find_attribute(t, span_str(name));
    return v && span_eq(*v, span_str(value));
}

static bool take_char(struct span *s, char c) {
    if (s->len == 0 || s->p[0] != (uint8_t)c)
        return false;
    *s = span_of(s->p + 1, s->len - 1);
    return true;
}

/* name='value', each name once. */
static bool take_attribute(struct span *s, struct xml_tag *t) {
    struct span name = take_xml_name(s);
    (void)skip_white(s);
    bool equals = take_char(s, '=');
    (void)skip_white(s);
    if (!equals || s->len == 0 || (s->p[0] != '\'' && s->p[0] != '"') || find_attribute(t, name) ||
        t->nattributes == ATTRIBUTES_MAX)
        return false;
    const uint8_t *end = memchr(s->p + 1, s->p[0], s->len - 1);
    if (!end || name.len == 0)
        return false;
    struct span value = span_of(s->p + 1, (size_t)(end - s->p) - 1);
    t->attributes[t->nattributes++] = (struct xml_attribute){name, value};
    *s = span_of(end + 1, s->len - value.len - 2);
    return true;
}

/* What stands between the brackets of one tag. */
static bool parse_tag(struct span s, struct xml_tag *t) {
    *t = (struct xml_tag){.declaration = s.len && s.p[0] == '?', .closing = s.len && s.p[0] == '/'};
    if (t->declaration || t->closing)
        s = span_of(s.p + 1, s.len - 1);
    if (t->declaration) {
        if (s.len == 0 || s.p[s.len - 1] != '?')
            return false;
        s.len--;
    } else if (!t->closing && s.len && s.p[s.len - 1] == '/') {
        t->empty = true;
        s.len--;
    }
    t->name = take_xml_name(&s);
    if (t->name.len == 0)
        return false;
    while (s.len) {
        bool apart = skip_white(&s);
        if (s.len && (!apart || t->closing || !take_attribute(&s, t)))
            return false;
    }
    return true;
}

/* RFC 6120 11.4-11.6: version 1.0, and UTF-8 if any encoding is named. It can only be the very first. */
static int take_declaration(struct prelude *p, const struct xml_tag *t) {
    const struct span *encoding = find_attribute(t, span_str("encoding"));
    bool utf8 = !encoding || (encoding->len == 5 && strncasecmp((const char *)encoding->p, "UTF-8", 5) == 0);
    if (p->stage != XMPP_NOTHING || !span_eq(t->name, span_str("xml")) || !has_value(t, "version", "1.0") || !utf8)
        return ERR_STARTTLS_MALFORMED;
    p->stage = XMPP_DECLARED;
    return PRELUDE_ANSWERED;
}

/* The host that the client asks for, which the answer must name (4.7.1): only when it is a plain host name. */
static void put_from(struct wr *answer, const struct span *to) {
    if (!to || to->len == 0 || to->len > XMPP_DOMAIN_MAX)
        return;
    for (size_t i = 0; i < to->len; i++) {
        uint8_t c = to->p[i];
        bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (!letter && !(c >= '0' && c <= '9') && c != '-' && c != '.')
            return;
    }
    wr_span(answer, span_str(" from='"));
    wr_span(answer, *to);
    wr_u8(answer, '\'');
}

static void put_error(struct wr *answer, const char *condition) {
    wr_span(answer, span_str("<stream:error><"));
    wr_span(answer, span_str(condition));
    wr_span(answer, span_str(" xmlns='" NS_ERRORS "'/></stream:error>" STREAM_END));
}

static int open_stream(struct prelude *p, const struct xml_tag *t, struct wr *answer) {
    if (!span_eq(t->name, span_str("stream:stream")) || t->empty)
        return ERR_STARTTLS_MALFORMED;
    p->stage = XMPP_OPEN;
    wr_span(answer, span_str(STREAM_HEAD));
    put_from(answer, find_attribute(t, span_str("to")));
    wr_u8(answer, '>');
    const char *fault = NULL;
    if (!has_value(t, "xmlns", "jabber:client") || !has_value(t, "xmlns:stream", NS_STREAM))
        fault = "invalid-namespace"; /* jabber:server, for one */
    else if (!has_value(t, "version", "1.0"))
        fault = "unsupported-version";
    if (fault) {
        put_error(answer, fault);
        return ERR_STARTTLS_CLEAR;
    }
    wr_span(answer, span_str(FEATURES));
    return PRELUDE_ANSWERED;
}

static int proceed(struct wr *answer) {
    wr_span(answer, span_str("<proceed xmlns='" NS_TLS "'/>"));
    return PRELUDE_GO;
}

static int take_stanza(struct prelude *p, const struct xml_tag *t, struct wr *answer) {
    bool starttls = span_eq(t->name, span_str("starttls"));
    if (t->closing && span_eq(t->name, span_str("stream:stream"))) {
        wr_span(answer, span_str(STREAM_END));
        return ERR_STARTTLS_QUIT;
    }
    if (t->closing)
        return ERR_STARTTLS_MALFORMED;
    if (starttls && has_value(t, "xmlns", NS_TLS)) {
        if (t->empty)
            return proceed(answer);
        p->stage = XMPP_IN_STARTTLS;
        return PRELUDE_ANSWERED;
    }
    put_error(answer, "policy-violation");
    return ERR_STARTTLS_CLEAR;
}

static int xmpp_take(struct prelude *p, struct span unit, struct wr *answer) {
    struct xml_tag t;
    bool white = skip_white(&unit);
    if (!parse_tag(span_of(unit.p + 1, unit.len - 2), &t))
        return ERR_STARTTLS_MALFORMED;
    if (t.declaration)
        return white ? ERR_STARTTLS_MALFORMED : take_declaration(p, &t);
    if (p->stage == XMPP_IN_STARTTLS)
        return t.closing && span_eq(t.name, span_str("starttls")) ? proceed(answer) : ERR_STARTTLS_MALFORMED;
    if (p->stage == XMPP_OPEN)
        return take_stanza(p, &t, answer);
    return t.closing ? ERR_STARTTLS_MALFORMED : open_stream(p, &t, answer);
}

/* An error comes within a stream, which is opened for it where there is none (4.9.1.2). */
static void xmpp_last_words(const struct prelude *p, int reason, struct wr *answer) {
    const char *condition = "policy-violation";
    if (reason == ERR_STARTTLS_MALFORMED)
        condition = "not-well-formed";
    else if (reason == ERR_HANDSHAKE_TIMEOUT)
        condition = "connection-timeout";
    if (p->stage < XMPP_OPEN)
        wr_span(answer, span_str(STREAM_HEAD ">"));
    put_error(answer, condition);
}

const struct prelude_protocol prelude_xmpp_client = {
    .name = "xmpp-client",
    .cut = xmpp_cut,
    .take = xmpp_take,
    .last_words = xmpp_last_words,
};
