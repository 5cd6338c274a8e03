#include "creds/client_rule.h"

#include <string.h>

#include "base/base64url.h"
#include "base/err.h"

static uint8_t lower_byte(uint8_t c) {
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 'a' - 'A') : c;
}

static bool is_host_char(uint8_t c) {
    c = lower_byte(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

/* Labels of host characters with single dots between them; one dot at the end is cut off. */
static bool read_host(struct span *s) {
    if (s->len && s->p[s->len - 1] == '.')
        s->len--;
    if (s->len == 0 || s->len > 255 || s->p[0] == '.' || s->p[s->len - 1] == '.')
        return false;
    for (size_t i = 0; i < s->len; i++)
        if (!is_host_char(s->p[i]) || (s->p[i] == '.' && s->p[i - 1] == '.'))
            return false;
    return true;
}

static bool same_host(struct span a, struct span b) {
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower_byte(a.p[i]) != lower_byte(b.p[i]))
            return false;
    return true;
}

static bool takes_host(struct span rule, struct span name) {
    if (!read_host(&name))
        return false;
    if (rule.p[0] != '*')
        return same_host(rule, name);
    const uint8_t *dot = memchr(name.p, '.', name.len);
    if (!dot)
        return false;
    size_t label = (size_t)(dot - name.p);
    return same_host(span_of(rule.p + 1, rule.len - 1), span_of(dot, name.len - label));
}

static struct span cut_segment(struct span *s) {
    const uint8_t *slash = s->len ? memchr(s->p, '/', s->len) : NULL;
    struct span segment = span_of(s->p, slash ? (size_t)(slash - s->p) : s->len);
    s->p += segment.len + (slash != NULL);
    s->len -= segment.len + (slash != NULL);
    return segment;
}

/* RULE has at most one star. Its last one, at the very end of the rule, is given all that follows as TEXT. */
static bool takes_segment(struct span rule, struct span text) {
    const uint8_t *star = rule.len ? memchr(rule.p, '*', rule.len) : NULL;
    if (!star)
        return span_eq(rule, text);
    size_t before = (size_t)(star - rule.p), after = rule.len - before - 1;
    return text.len > before + after && memcmp(rule.p, text.p, before) == 0 &&
           memcmp(star + 1, text.p + text.len - after, after) == 0;
}

static bool takes_uri(struct span rule, struct span uri) {
    while (rule.len && uri.len) {
        struct span whole = rule, segment = cut_segment(&rule), rest = uri, text = cut_segment(&rest);
        bool last = segment.len == whole.len, open_end = last && whole.p[whole.len - 1] == '*';
        if (!takes_segment(segment, open_end ? uri : text))
            return false;
        if (last)
            return open_end || text.len == uri.len;
        if (text.len == uri.len) /* the rule has a slash here */
            return false;
        uri = rest;
    }
    return rule.len == uri.len; /* both end with a slash */
}

bool client_rule_takes(const struct client_rule *r, enum identity_source by, struct span value) {
    if (r->by != by)
        return false;
    switch (by) {
    case IDENTITY_DNS:
        return takes_host(r->value, value);
    case IDENTITY_URI:
        return takes_uri(r->value, value);
    case IDENTITY_SPKI:
        return value.len == sizeof(r->spki) && memcmp(value.p, r->spki, sizeof(r->spki)) == 0;
    case IDENTITY_CN:
    case IDENTITY_OU:
        return span_eq(r->value, value);
    default:
        return false;
    }
}

/* ---- reading ---- */

static int bad_rule(struct text *why, const char *expected) {
    text_add(why, expected);
    return ERR_FORMAT;
}

static int read_dns(struct client_rule *r, struct text *why) {
    struct span host = r->value;
    bool wildcard = host.len > 2 && host.p[0] == '*' && host.p[1] == '.';
    if (wildcard)
        host = span_of(host.p + 2, host.len - 2);
    size_t len = host.len;
    if (!read_host(&host))
        return bad_rule(why, "\"dns:\" and a host name in ASCII, with \"*.\" in front for any one label");
    r->value.len -= len - host.len;
    return 0;
}

/* Where the path begins: behind "scheme://authority", or behind "scheme:" when there is no authority. */
static size_t path_at(struct span uri) {
    const uint8_t *colon = memchr(uri.p, ':', uri.len);
    if (!colon || colon == uri.p)
        return 0;
    size_t at = (size_t)(colon - uri.p) + 1;
    if (uri.len - at < 2 || uri.p[at] != '/' || uri.p[at + 1] != '/')
        return at;
    const uint8_t *slash = memchr(uri.p + at + 2, '/', uri.len - at - 2);
    return slash ? (size_t)(slash - uri.p) : uri.len;
}

static int read_uri(struct client_rule *r, struct text *why) {
    size_t path = path_at(r->value);
    bool star = false;
    if (path == 0)
        return bad_rule(why, "\"uri:\" and a URI with its scheme, like \"uri:spiffe://example.org/ns/prod/*\"");
    for (size_t i = 0; i < r->value.len; i++) {
        uint8_t c = r->value.p[i];
        if (c <= ' ' || c >= 0x7f)
            return bad_rule(why, "a URI of visible ASCII characters");
        if (c == '*' && (star || i < path))
            return bad_rule(why, "at most one '*' in each segment of the path, and none before the path");
        star = c == '*' || (star && c != '/');
    }
    return 0;
}

/* In base64, 32 bytes are 43 digits and one '='. */
static int read_spki(struct client_rule *r, struct text *why) {
    struct span v = r->value;
    bool padded = v.len == 44 && v.p[43] == '=';
    size_t len = 0;
    if (text_read_hex(v, r->spki, sizeof(r->spki), &len) < 0 && padded)
        (void)!base64_read(span_of(v.p, 43), r->spki, sizeof(r->spki), &len); /* judged by its length */
    if (len == sizeof(r->spki))
        return 0;
    return bad_rule(why, "\"spki-sha256:\" and 64 hexadecimal digits, or 44 characters of base64");
}

int client_rule_read(const char *text, struct client_rule *ret, struct text *why) {
    const char *rest = NULL;
    struct client_rule r = {.by = identity_source_prefix(text, &rest)};
    if (r.by == IDENTITY_NOTHING)
        return bad_rule(why, "a rule that begins with \"dns:\", \"uri:\", \"cn:\", \"ou:\" or \"spki-sha256:\"");
    r.value = span_str(rest);
    if (r.value.len == 0 || strlen(text) > CLIENT_RULE_MAX)
        return bad_rule(why, "1 to 500 bytes behind the colon");
    int err = 0;
    if (r.by == IDENTITY_DNS)
        err = read_dns(&r, why);
    else if (r.by == IDENTITY_URI)
        err = read_uri(&r, why);
    else if (r.by == IDENTITY_SPKI)
        err = read_spki(&r, why);
    if (err == 0)
        *ret = r;
    return err;
}
