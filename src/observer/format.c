#include "observer/format.h"

#include <ctype.h>

#include "base/escape.h"

/* Whether logfmt takes the value without quotes. */
static bool is_word(struct span s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == '"' || s.p[i] == '=' || s.p[i] == '\\')
            return false;
    return s.len > 0;
}

static void add_logfmt_pair(struct text *t, const struct field *f) {
    text_add(t, f->name);
    text_add(t, "=");
    if (is_word(f->value))
        text_add_span(t, f->value);
    else
        escape_quoted(t, f->value);
}

static void add_pairs(struct text *t, const struct field *f, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            text_add(t, " ");
        add_logfmt_pair(t, &f[i]);
    }
}

static void add_json(struct text *t, const struct field *f, size_t n) {
    text_add(t, "{");
    for (size_t i = 0; i < n; i++) {
        text_addf(t, "%s\"%s\":", i > 0 ? "," : "", f[i].name);
        if (f[i].bare)
            text_add_span(t, f[i].value);
        else
            escape_quoted(t, f[i].value);
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
        escape_add(t, f->list[FIELDS_HEAD].value, false);
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
