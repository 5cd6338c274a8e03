/* nginx.conf as a tree of directives. */
#pragma once

#include <stddef.h>

#include "convert/lexer.h"
#include "convert/model.h"

#define NGINX_DEPTH 16

struct nginx_directive {
    const struct lexer_word *words; /* the name first */
    size_t n;
    unsigned line;
    struct nginx_directive *children, *next; /* of a block; beside it */
    const struct nginx_directive *parent;
};

struct nginx_tree {
    struct nginx_file *files; /* the one that is converted, and those that it includes */
    struct nginx_directive *first;
    unsigned nincluded;    /* files that were included, */
    size_t included_bytes; /* and bytes of them */
    bool is_endless;       /* there was no end to that */
};

/* Files that are included are read where they stand, but not where they can hold neither streams nor addresses of others. One
 * that cannot be read is noted in M, its directive stays. ERR_FORMAT with the reason in WHY, also for a file that includes
 * itself. */
MUST_CHECK int nginx_tree_read(struct model *m, struct span bytes, struct nginx_tree *ret, struct text *why);
void nginx_tree_free(struct nginx_tree *t);

/* Word I, "" when there are fewer; 0 is the name. */
const char *nginx_word(const struct nginx_directive *d, size_t i);
/* The nearest block with a directive of one of the two names, SECOND may be NULL; NULL = none. */
const struct nginx_directive *nginx_block_with(const struct nginx_directive *block, const char *name, const char *second);
/* The last directive of that name in the block, or in one around it; NULL = none. */
const struct nginx_directive *nginx_setting(const struct nginx_directive *block, const char *name);
