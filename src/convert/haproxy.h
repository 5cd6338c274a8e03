/* What the reader of haproxy.cfg shares: sections of lines, and conditions. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "convert/lexer.h"
#include "convert/model.h"

struct haproxy_line {
    const struct lexer_word *words;
    size_t n;
    unsigned line;
};

struct haproxy_section {
    const char *kind, *name; /* "frontend", "backend", "listen", "defaults", "global", ...; "" without a name */
    struct haproxy_line head;
    const struct haproxy_line *lines;
    size_t nlines;
    const struct haproxy_section *defaults; /* that hold for it; NULL = none */
};

struct haproxy_file {
    struct lexer_words words;
    struct haproxy_line *lines;
    size_t nlines;
    struct haproxy_section *sections;
    size_t nsections;
};

int haproxy_read(struct span bytes, struct haproxy_file *ret, struct text *why);
void haproxy_free(struct haproxy_file *f);

const struct haproxy_section *haproxy_find(const struct haproxy_file *f, const char *kind, const char *name);

/* The last line that begins with WORD, and SECOND unless that is NULL; in the section or its defaults. */
const struct haproxy_line *haproxy_setting(const struct haproxy_section *s, const char *word, const char *second);
/* Word I of a line, "" when there are fewer. */
const char *haproxy_word(const struct haproxy_line *l, size_t i);

/* What a test looks at. */
enum haproxy_fetch { HAPROXY_SNI, HAPROXY_ALPN, HAPROXY_SRC, HAPROXY_HELLO, HAPROXY_OTHER };

/* One test: what is looked at is one of the values. */
struct haproxy_test {
    enum haproxy_fetch fetch;
    bool negated, ends; /* ENDS: "-m end", a suffix */
    const struct lexer_word *values;
    size_t n;
    const char *file; /* "-f": a file of values; NULL = none */
};

#define HAPROXY_TESTS 8

/* Tests that all have to hold. */
struct haproxy_condition {
    struct haproxy_test tests[HAPROXY_TESTS];
    size_t n;
};

/* The next alternative of a condition that begins at word *AT ("or" is between two), negated as a whole for "unless". False at
 * its end; *RET_BAD: it holds what has no counterpart. */
bool haproxy_condition_next(const struct haproxy_section *s, const struct haproxy_line *l, size_t *at,
                            struct haproxy_condition *ret, bool *ret_bad);

/* A parameter of a bind or server line, by how many words follow it and what becomes of it. */
enum haproxy_effect { HAPROXY_NOT_NEEDED, HAPROXY_LOST, HAPROXY_TAKEN };

/* ---- lines with parameters ---- */

/* What a "bind" line has. */
struct haproxy_bind {
    bool tls;
    const char *ciphers, *suites;
};

/* Addresses and keys of the line go to S. GLOBAL: the global section, NULL = none. */
void haproxy_bind(struct model *m, struct model_service *s, const struct haproxy_line *l, const struct haproxy_section *global,
                  struct haproxy_bind *ret);
/* A backend of the line goes to S. DEFAULT_SERVER: the line with what holds for all; NULL = none. */
void haproxy_server(struct model *m, struct model_service *s, const struct haproxy_line *l,
                    const struct haproxy_line *default_server);
