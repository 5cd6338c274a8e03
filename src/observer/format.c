#include "observer/format.h"

#include <ctype.h>

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

/* The escapes are those of JSON strings (RFC 8259 7). Runs of plain bytes are copied at once. */
static void add_escaped(struct text *t, struct span s, bool quoted) {
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

void format_clean(struct text *t, struct span s) {
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

static void add_quoted(struct text *t, struct span s) {
    text_add(t, "\"");
    add_escaped(t, s, true);
    text_add(t, "\"");
}

/* Whether logfmt takes the value without quotes. */
static bool is_word(struct span s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == '"' || s.p[i] == '=' || s.p[i] == '\\')
            return false;
    return s.len > 0;
}

static void add_pair(struct text *t, const struct field *f) {
    text_add(t, f->name);
    text_add(t, "=");
    if (is_word(f->value))
        text_add_span(t, f->value);
    else
        add_quoted(t, f->value);
}

static void add_pairs(struct text *t, const struct field *f, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            text_add(t, " ");
        add_pair(t, &f[i]);
    }
}

static void add_json(struct text *t, const struct field *f, size_t n) {
    text_add(t, "{");
    for (size_t i = 0; i < n; i++) {
        text_addf(t, "%s\"%s\":", i > 0 ? "," : "", f[i].name);
        if (f[i].bare)
            text_add_span(t, f[i].value);
        else
            add_quoted(t, f[i].value);
    }
    text_add(t, "}");
}

static void add_upper(struct text *t, struct span s) {
    for (size_t i = 0; i < s.len; i++) {
        char c = (char)toupper(s.p[i]);
        text_add_span(t, span_of(&c, 1));
    }
}

/* For people: a log line reads as a sentence, everything else as its name and pairs. */
static void add_text_line(struct text *t, const struct fields *f, bool with_head) {
    const struct field *when = &f->list[0], *level = &f->list[1], *event = &f->list[2], *role = &f->list[3];
    if (with_head) {
        text_add_span(t, when->value);
        text_add(t, " ");
        add_upper(t, level->value);
        text_add(t, " ");
    }
    text_add_span(t, role->value);
    text_add(t, " ");
    if (span_eq(event->value, span_str(FIELD_EVENT_LOG)) && f->n > FIELDS_HEAD) {
        add_escaped(t, f->list[FIELDS_HEAD].value, false);
        return;
    }
    text_add_span(t, event->value);
    text_add(t, " ");
    add_pairs(t, f->list + FIELDS_HEAD, f->n - FIELDS_HEAD);
}

void format_line(struct text *t, enum log_format format, const struct fields *f, bool with_head) {
    size_t skip = with_head ? 0 : 2;
    switch (format) {
    case LOG_AS_JSON:
        add_json(t, f->list + skip, f->n - skip);
        break;
    case LOG_AS_LOGFMT:
        add_pairs(t, f->list + skip, f->n - skip);
        break;
    default:
        add_text_line(t, f, with_head);
    }
}
