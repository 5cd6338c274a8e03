#include "handshaker/http_redirect.h"

#include <string.h>

#include "base/addr.h"
#include "base/text.h"
#include "tls/hostname.h"

/* The next line without its end (CRLF, or LF alone: RFC 9112 2.2); false when it is not complete. */
static bool take_line(struct span *rest, struct span *ret) {
    const uint8_t *lf = rest->len ? memchr(rest->p, '\n', rest->len) : NULL;
    if (!lf)
        return false;
    size_t n = (size_t)(lf - rest->p);
    *ret = span_of(rest->p, n && rest->p[n - 1] == '\r' ? n - 1 : n);
    *rest = span_of(lf + 1, rest->len - n - 1);
    return true;
}

/* What is before the first C, or all; the rest, without C, stays. */
static struct span take_until(struct span *s, uint8_t c) {
    const uint8_t *at = s->len ? memchr(s->p, c, s->len) : NULL;
    size_t n = at ? (size_t)(at - s->p) : s->len;
    struct span first = span_of(s->p, n);
    *s = at ? span_of(at + 1, s->len - n - 1) : span_of(s->p + s->len, 0);
    return first;
}

static bool same_word(struct span s, const char *lower) {
    size_t n = strlen(lower);
    bool same = s.len == n;
    for (size_t i = 0; i < n && same; i++)
        same = (s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] + 'a' - 'A' : s.p[i]) == lower[i];
    return same;
}

static struct span trimmed(struct span s) {
    while (s.len && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = span_of(s.p + 1, s.len - 1);
    while (s.len && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* A path and query as they may stand in a URL; empty is fine. */
static bool is_path(struct span s) {
    if (s.len && s.p[0] != '/' && s.p[0] != '?')
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || strchr("\"<>\\#", s.p[i]))
            return false;
    return true;
}

/* "a.example", "192.0.2.1", "[2001:db8::1]", each with or without ":PORT": as the URL is to have it, in RET. Port 80 is
 * dropped. */
static bool add_host(struct span s, struct text *ret) {
    char host[HOSTNAME_MAX + 1], port[8] = "";
    struct addr literal;
    struct text t = text_of(host, sizeof(host)), p = text_of(port, sizeof(port));
    const uint8_t *bracket = s.len && s.p[0] == '[' ? memchr(s.p, ']', s.len) : NULL;
    size_t end = bracket ? (size_t)(bracket - s.p) + 1 : 0; /* of an IPv6 address */
    if (s.len == 0 || s.len > HOSTNAME_MAX + 6)
        return false;
    struct span rest = span_of(s.p + end, s.len - end), name = end ? span_of(s.p + 1, end - 2) : take_until(&rest, ':');
    bool has_port = end ? rest.len > 0 : name.len < s.len;
    if (end && has_port && take_until(&rest, ':').len)
        return false;
    text_add_span(&p, rest);
    uint64_t number = 0;
    if (p.cut || (has_port && (rest.len == 0 || text_parse_u64(port, 65535, &number) < 0 || number == 0)))
        return false;
    if (end) {
        text_add_span(&t, name);
        if (t.cut || memchr(name.p, 0, name.len) || addr_parse_ip(host, &literal) != 0 || literal.family != AF_INET6)
            return false;
        text_addf(ret, "[%s]", host);
    } else {
        if (hostname_read(name, false, host) < 0)
            return false;
        text_add(ret, host);
    }
    if (number && number != 80)
        text_addf(ret, ":%u", (unsigned)number);
    return true;
}

/* The value of the only Host header; NULL when there is none, or more than one. */
static struct span find_host(struct span headers) {
    struct span line, host = {NULL, 0};
    bool found = false;
    while (take_line(&headers, &line) && line.len) {
        struct span name = take_until(&line, ':');
        if (!same_word(name, "host"))
            continue;
        if (found)
            return span_of(NULL, 0);
        host = trimmed(line);
        found = true;
    }
    return host;
}

static bool is_complete(struct span s) {
    struct span line;
    while (take_line(&s, &line))
        if (line.len == 0)
            return true;
    return false;
}

enum step http_redirect(struct span request, struct buf *out) {
    static const char absolute[] = "http://";
    char answer[HTTP_REDIRECT_MAX + 512];
    struct text t = text_of(answer, sizeof(answer));
    struct span rest = request, line;
    if (!is_complete(request))
        return request.len < HTTP_REDIRECT_MAX ? STEP_WANT_READ : STEP_FAILED;
    if (request.len > HTTP_REDIRECT_MAX || !take_line(&rest, &line))
        return STEP_FAILED;
    (void)take_until(&line, ' '); /* whatever the method is */
    struct span target = take_until(&line, ' '), host = find_host(rest);
    if (line.len < 7 || memcmp(line.p, "HTTP/1.", 7) != 0)
        return STEP_FAILED;
    if (target.len > 7 && same_word(span_of(target.p, 7), absolute)) { /* it counts, and not Host (RFC 9112 3.2.2) */
        size_t n = 7;
        while (n < target.len && !strchr("/?#", target.p[n]))
            n++;
        host = host.p ? span_of(target.p + 7, n - 7) : host;
        target = span_of(target.p + n, target.len - n);
    } else if (target.len == 0 || target.p[0] != '/') {
        return STEP_FAILED;
    }
    text_add(&t, "HTTP/1.1 308 Permanent Redirect\r\nLocation: https://");
    if (!is_path(target) || !host.p || !add_host(host, &t))
        return STEP_FAILED;
    text_add(&t, target.len && target.p[0] == '/' ? "" : "/");
    text_add_span(&t, target);
    text_add(&t, "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    return !t.cut && buf_append(out, answer, t.len) == 0 ? STEP_DONE : STEP_FAILED;
}
