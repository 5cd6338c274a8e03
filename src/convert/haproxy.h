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
    const struct haproxy_section *defaults; /* that hold for it; NULL = none. Of "global": the one above */
    unsigned conditional;                   /* line of an ".if" that decides about it or a part of it that matters; 0 = none */
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

/* ".if", ".endif" and the like: not a line of the section. */
bool haproxy_is_directive(const struct haproxy_line *l);

/* The last line that begins with WORD, and SECOND unless that is NULL; in the section or its defaults. */
const struct haproxy_line *haproxy_setting(const struct haproxy_section *s, const char *word, const char *second);
/* Word I of a line, "" when there are fewer. */
const char *haproxy_word(const struct haproxy_line *l, size_t i);

/* What a test looks at. */
enum haproxy_fetch { HAPROXY_SNI, HAPROXY_ALPN, HAPROXY_SRC, HAPROXY_HELLO, HAPROXY_OTHER };

/* Values of a test: words, or the lines of a file. */
struct haproxy_values {
    bool ends; /* "-m end", a suffix */
    const struct lexer_word *words;
    size_t n;
    const char *file; /* "-f"; NULL = none */
};

#define HAPROXY_VALUES 32

/* One test: what is looked at is one of the values. Lines of one name are one test. */
struct haproxy_test {
    enum haproxy_fetch fetch;
    bool negated, preread; /* it looks at the bytes that come, "req.ssl_..." */
    struct haproxy_values values[HAPROXY_VALUES];
    size_t n;
};

#define HAPROXY_TESTS 8

/* What FETCH looks at, "ssl_fc_sni,lower" say, its values and whether it is preread go to RET. */
enum haproxy_fetch haproxy_fetch_of(const char *fetch, struct haproxy_values *ret, bool *ret_preread);
/* A test that no client passes: of a hello among the bytes behind TLS that ends here, or of TLS that does not. */
bool haproxy_never_matches(const struct haproxy_test *t, bool tls);
/* Whether the line chooses by what a client says in its hello, or by the state of servers: not by who it is. */
bool haproxy_is_free_choice(const struct haproxy_section *of, const struct haproxy_line *l);

/* Tests that all have to hold. */
struct haproxy_condition {
    struct haproxy_test tests[HAPROXY_TESTS];
    size_t n;
};

/* The next alternative of a condition that begins at word *AT ("or" is between two), negated as a whole for "unless". False at
 * its end; *RET_BAD: it holds what has no counterpart. */
bool haproxy_condition_next(const struct haproxy_section *s, const struct haproxy_line *l, size_t *at,
                            struct haproxy_condition *ret, bool *ret_bad);

/* What becomes of a parameter of a bind or server line. GUARD: it is lost, and keeps clients out. */
enum haproxy_effect { HAPROXY_NOT_NEEDED, HAPROXY_LOST, HAPROXY_GUARD, HAPROXY_TAKEN };

/* ---- access ---- */

/* S gets the networks of the section's "tcp-request" lines. It loses a guard with each line that is not taken and keeps clients
 * out, in the section or its defaults, and with "disabled". */
void haproxy_take_access(struct model *m, struct model_service *s, const struct haproxy_section *of);
/* A rule about requests of HTTP where the section reads them: haproxy_take_access() takes it for one that keeps clients out. */
bool haproxy_is_http_rule(const struct haproxy_section *of, const struct haproxy_line *l);
/* As a backend the section refuses everybody. */
bool haproxy_refuses(const struct haproxy_section *of);
/* As a backend it refuses some. */
bool haproxy_has_guards(const struct haproxy_section *of);

/* ---- lines with parameters ---- */

/* What a "bind" line has. */
struct haproxy_bind {
    bool tls;
    unsigned names_line; /* of a certificate with fewer names than its own, or others; 0 = none */
    const char *ciphers, *suites;
};

/* Addresses and keys of the line go to S. GLOBAL: the global section, NULL = none. */
void haproxy_bind(struct model *m, struct model_service *s, const struct haproxy_line *l, const struct haproxy_section *global,
                  struct haproxy_bind *ret);
/* The addresses alone. */
void haproxy_bind_addresses(struct model *m, struct model_service *s, const struct haproxy_line *l);
/* Every client of S sends a PROXY header, by WORD of the line. */
void haproxy_accept_proxy(struct model *m, struct model_service *s, unsigned line, const char *word);
/* A backend of the line, which is OF's, goes to S. */
void haproxy_server(struct model *m, struct model_service *s, const struct haproxy_line *l, const struct haproxy_section *of);
