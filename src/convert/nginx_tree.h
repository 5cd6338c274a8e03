/* nginx.conf as a tree of directives. */
#pragma once

#include <stddef.h>

#include "convert/lexer.h"

#define NGINX_DEPTH 16

struct nginx_directive {
    const struct lexer_word *words; /* the name first */
    size_t n;
    unsigned line;
    struct nginx_directive *children, *next; /* of a block; beside it */
    const struct nginx_directive *parent;
};

struct nginx_tree {
    struct lexer_words words;
    struct nginx_directive *all; /* every one, in one piece */
    size_t nall;
    struct nginx_directive *first;
};

MUST_CHECK int nginx_tree_read(struct span bytes, struct nginx_tree *ret, struct text *why);
void nginx_tree_free(struct nginx_tree *t);

/* Word I, "" when there are fewer; 0 is the name. */
const char *nginx_word(const struct nginx_directive *d, size_t i);
/* The last directive of that name in the block, or in one around it; NULL = none. */
const struct nginx_directive *nginx_setting(const struct nginx_directive *block, const char *name);
