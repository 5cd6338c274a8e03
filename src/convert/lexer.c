#include "convert/lexer.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

struct word_reader {
    const char *p, *end;
    const struct lexer_format *f;
    struct lexer_words *w;
    size_t cap;
    char *to; /* in w->space, which is as long as all there is to read, and an end for each word */
    unsigned line;
};

static void push_word(struct word_reader *r, const char *text, unsigned line, bool is_mark) {
    struct lexer_words *w = r->w;
    if (w->n == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 256;
        struct lexer_word *grown = realloc(w->list, r->cap * sizeof(*grown));
        MUST(grown);
        w->list = grown;
    }
    w->list[w->n++] = (struct lexer_word){text, line, is_mark};
}

static bool is_char_of(const char *set, char c) {
    return c && strchr(set, c) != NULL;
}

static bool is_white_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* A backslash with what is behind it: nginx keeps it, unless a quote or another one follows. */
static void read_escaped(struct word_reader *r) {
    if (!r->f->like_nginx || is_char_of("\"'\\", r->p[1]))
        r->p++;
    else
        *r->to++ = *r->p++;
    r->line += *r->p == '\n';
    *r->to++ = *r->p++;
}

/* What is between quotes; -1 when they do not end. */
static int read_quoted(struct word_reader *r) {
    char quote = *r->p++;
    while (r->p < r->end && *r->p != quote) {
        if (*r->p == '\\' && (quote == '"' || r->f->like_nginx) && r->p + 1 < r->end) {
            read_escaped(r);
            continue;
        }
        r->line += *r->p == '\n';
        *r->to++ = *r->p++;
    }
    if (r->p == r->end)
        return -1;
    r->p++;
    return 0;
}

static int read_word(struct word_reader *r) {
    const char *text = r->to, *begin = r->p;
    unsigned line = r->line;
    while (r->p < r->end && !is_white_space(*r->p) && !is_char_of(r->f->marks, *r->p)) {
        if (r->f->like_nginx && *r->p == '$' && r->p + 1 < r->end && r->p[1] == '{') {
            while (r->p < r->end && *r->p != '}' && !is_white_space(*r->p))
                *r->to++ = *r->p++;
            if (r->p < r->end && *r->p == '}')
                *r->to++ = *r->p++;
            continue;
        }
        if (r->f->inner_comments && is_char_of(r->f->comments, *r->p))
            break;
        bool is_quote = *r->p == '"' || (*r->p == '\'' && r->f->single_quotes);
        if (is_quote && (r->p == begin || !r->f->like_nginx)) {
            if (read_quoted(r) < 0)
                return -1;
            continue;
        }
        if (*r->p == '\\' && r->p + 1 < r->end) {
            read_escaped(r);
            continue;
        }
        *r->to++ = *r->p++;
    }
    *r->to++ = '\0';
    push_word(r, text, line, false);
    return 0;
}

static void skip_comment(struct word_reader *r) {
    const char *end = memchr(r->p, '\n', (size_t)(r->end - r->p));
    r->p = end ? end : r->end;
}

static int read_next(struct word_reader *r) {
    char c = *r->p;
    if (is_white_space(c)) {
        r->line += c == '\n';
        r->p++;
    } else if (is_char_of(r->f->comments, c)) {
        skip_comment(r);
    } else if (is_char_of(r->f->marks, c)) {
        push_word(r, r->to, r->line, true);
        *r->to++ = c;
        *r->to++ = '\0';
        r->p++;
    } else {
        return read_word(r);
    }
    return 0;
}

int lexer_read(struct span bytes, unsigned first, const struct lexer_format *f, struct lexer_words *ret, struct text *why) {
    *ret = (struct lexer_words){.n = 0};
    struct word_reader r = {(const char *)bytes.p, (const char *)bytes.p + bytes.len, f, ret, 0, NULL, first};
    if (bytes.len && memchr(bytes.p, 0, bytes.len)) {
        text_add(why, "found a NUL byte, expected text");
        return ERR_FORMAT;
    }
    if (bytes.len >= 3 && memcmp(bytes.p, "\xef\xbb\xbf", 3) == 0)
        r.p += 3; /* a byte order mark */
    r.to = ret->space = malloc(2 * bytes.len + 1);
    MUST(ret->space);
    while (r.p < r.end) {
        unsigned line = r.line;
        if (read_next(&r) < 0) {
            text_addf(why, "line %u: found a quotation that does not end", line - first + 1);
            lexer_free(ret);
            return ERR_FORMAT;
        }
    }
    return 0;
}

void lexer_free(struct lexer_words *w) {
    free(w->list);
    free(w->space);
    *w = (struct lexer_words){.n = 0};
}

const char *lexer_on_line(const struct lexer_words *w, size_t i, unsigned line) {
    return i < w->n && w->list[i].line == line && !w->list[i].is_mark ? w->list[i].text : NULL;
}
