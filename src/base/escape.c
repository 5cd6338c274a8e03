#include "base/escape.h"

/* Bytes of the valid UTF-8 sequence in front of S (RFC 3629 4), 0 when there is none. */
static size_t utf8_len(struct span s, uint32_t *ret_code) {
    uint8_t lead = s.p[0];
    size_t n = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (n == 0 || n > s.len)
        return 0;
    uint32_t code = n == 1 ? lead : lead & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s.p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (s.p[i] & 0x3fu);
    }
    if (code < least[n] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    *ret_code = code;
    return n;
}

/* Control characters, and those that end lines or turn the direction of what a terminal shows. */
static bool is_unsafe(uint32_t code) {
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 || code == 0x061c ||
           (code >= 0x200e && code <= 0x200f) || (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
           code == 0xfeff;
}

static void add_char(struct text *t, struct span c, uint32_t code, bool quoted) {
    if (code == '\n')
        text_add(t, "\\n");
    else if (code == '\r')
        text_add(t, "\\r");
    else if (code == '\t')
        text_add(t, "\\t");
    else if (is_unsafe(code))
        text_addf(t, "\\u%04x", (unsigned)code);
    else if (quoted && (code == '"' || code == '\\'))
        text_addf(t, "\\%c", (int)code);
    else
        text_add_span(t, c);
}

/* Runs of plain bytes are copied at once. */
void escape_add(struct text *t, struct span s, bool quoted) {
    while (s.len > 0) {
        size_t plain = 0;
        while (plain < s.len && s.p[plain] >= 0x20 && s.p[plain] < 0x7f && s.p[plain] != '"' && s.p[plain] != '\\')
            plain++;
        text_add_span(t, span_of(s.p, plain));
        s = span_of(s.p + plain, s.len - plain);
        if (s.len == 0)
            break;
        uint32_t code = 0;
        size_t n = utf8_len(s, &code);
        if (n > 0)
            add_char(t, span_of(s.p, n), code, quoted);
        else
            text_add(t, "\\ufffd");
        s = span_of(s.p + MAX(n, 1u), s.len - MAX(n, 1u));
    }
}

void escape_clean(struct text *t, struct span s) {
    while (s.len > 0 && !t->cut) {
        uint32_t code = 0;
        size_t n = utf8_len(s, &code);
        if (n > 0 && !is_unsafe(code))
            text_add_span(t, span_of(s.p, n));
        else
            text_add(t, "\xef\xbf\xbd");
        s = span_of(s.p + MAX(n, 1u), s.len - MAX(n, 1u));
    }
}

void escape_quoted(struct text *t, struct span s) {
    text_add(t, "\"");
    escape_add(t, s, true);
    text_add(t, "\"");
}
