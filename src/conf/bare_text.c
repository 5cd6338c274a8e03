#include "conf/bare_text.h"

#include <string.h>

#include "base/text.h"

/* As the library begins its sentences about values that are no strings. */
static bool is_about_a_value(const char *fault) {
    static const char begins[] = "error while parsing ";
    static const char *const kinds[] = {"value",  "boolean", "integer", "decimal", "octal",   "hexadecimal",
                                        "binary", "float",   "date",    "time",    "floating"};
    if (strncmp(fault, begins, sizeof(begins) - 1) != 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strncmp(fault + sizeof(begins) - 1, kinds[i], strlen(kinds[i])) == 0)
            return true;
    return false;
}

static bool is_gap(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

static bool in_word(char c) {
    return (unsigned char)c > ' ' && !strchr(",[]{}=\"'#", c);
}

static struct span without_gaps(const char *p, size_t n) {
    for (; n && is_gap(p[0]); n--)
        p++;
    while (n && is_gap(p[n - 1]))
        n--;
    return span_of(p, n);
}

/* The section that a line begins: "[service.web]"; a line of an array that looks so is rare, and only misnames a key. */
static void note_section(const char *line, size_t n, struct text *section) {
    struct span s = without_gaps(line, n);
    const char *p = (const char *)s.p, *end = s.len ? memchr(p, ']', s.len) : NULL;
    if (!end || p[0] != '[' || end == p + 1 || memchr(p, '=', (size_t)(end - p)) || memchr(p, ',', (size_t)(end - p)))
        return;
    section->len = 0;
    text_add_span(section, without_gaps(p + 1, (size_t)(end - p) - 1));
}

/* The word at AT of a line, or the one that ends there. */
static struct span word_at(const char *line, size_t n, size_t at) {
    if ((at >= n || !in_word(line[at])) && at > 0 && at <= n)
        at--;
    if (at >= n || !in_word(line[at]))
        return span_of(line, 0);
    size_t from = at, to = at;
    while (from > 0 && in_word(line[from - 1]))
        from--;
    while (to < n && in_word(line[to]))
        to++;
    return span_of(line + from, to - from);
}

bool bare_text_find(const char *text, size_t len, const struct toml_fault *fault, struct bare_text *ret) {
    char name[CONF_KEY_TEXT_MAX];
    struct text section = text_of(name, sizeof(name));
    const char *line = text, *end = text + len, *next;
    size_t n = 0;
    uint32_t number = 0;
    if (!is_about_a_value(fault->text) || !fault->at.line)
        return false;
    for (; line < end; line = next) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        n = (size_t)((stop ? stop : end) - line);
        next = stop ? stop + 1 : end;
        if (++number == fault->at.line)
            break;
        note_section(line, n, &section);
    }
    if (number != fault->at.line || line >= end || memchr(line, 0, n))
        return false;
    struct span word = word_at(line, n, fault->at.column ? fault->at.column - 1 : 0);
    size_t from = (size_t)((const char *)word.p - line);
    const char *equals = from ? memchr(line, '=', from) : NULL, *last = from ? memrchr(line, '=', from) : NULL;
    if (!word.len || (!equals && memchr(line, '=', n)))
        return false;
    struct text key = text_of(ret->key, sizeof(ret->key)), w = text_of(ret->word, sizeof(ret->word));
    ret->at = (struct toml_pos){number, (uint32_t)from + 1};
    text_add_span(&w, word);
    if (equals) {
        text_addf(&key, "%s%s", section.len ? name : "", section.len ? "." : "");
        text_add_span(&key, without_gaps(line, (size_t)(equals - line)));
    }
    if (last != equals) { /* of a table in the line */
        struct span below = without_gaps(equals + 1, (size_t)(last - equals) - 1);
        below = below.len ? word_at((const char *)below.p, below.len, below.len) : below;
        text_add(&key, below.len ? "." : "");
        text_add_span(&key, below);
    }
    return true;
}
