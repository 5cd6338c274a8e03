/* Words of a configuration file, with their lines. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"

struct lexer_word {
    const char *text;
    unsigned line;
    bool is_mark; /* one of the format's marks, not quoted */
};

struct lexer_words {
    struct lexer_word *list;
    size_t n;
    char *space; /* what the texts lie in */
};

struct lexer_format {
    const char *marks;    /* characters that are words of their own */
    const char *comments; /* what begins a comment, up to the line's end */
    bool inner_comments;  /* also within a word */
    bool single_quotes;   /* 'text', without escapes */
    bool like_nginx; /* "${name}" is part of a word, quotes count where one begins, and a backslash is one but before quotes */
};

/* FIRST: the number of the first line. ERR_FORMAT with one plain line in WHY: a quotation that does not end, a NUL byte. Else
 * lexer_free() after use. */
MUST_CHECK int lexer_read(struct span bytes, unsigned first, const struct lexer_format *f, struct lexer_words *ret,
                          struct text *why);
void lexer_free(struct lexer_words *w);

/* The word at I when it is of LINE and no mark; else NULL. */
const char *lexer_on_line(const struct lexer_words *w, size_t i, unsigned line);
