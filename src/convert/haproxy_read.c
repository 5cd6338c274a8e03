/* haproxy.cfg as sections of lines of words, and the conditions behind "if" and "unless". */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "convert/haproxy.h"

static const char *const kinds[] = {"global",      "defaults", "frontend",    "backend",     "listen", "userlist", "peers",
                                    "resolvers",   "mailers",  "program",     "http-errors", "ring",   "cache",    "crt-store",
                                    "log-forward", "fcgi-app", "log-profile", "traces",      "acme"};

const char *haproxy_word(const struct haproxy_line *l, size_t i) {
    return l && i < l->n ? l->words[i].text : "";
}

static bool is_head(const struct haproxy_line *l) {
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(haproxy_word(l, 0), kinds[i]) == 0)
            return true;
    return false;
}

static void split_lines(struct haproxy_file *f) {
    const struct lexer_words *w = &f->words;
    f->lines = calloc(w->n + 1, sizeof(*f->lines));
    f->sections = calloc(w->n + 1, sizeof(*f->sections));
    MUST(f->lines && f->sections);
    for (size_t i = 0; i < w->n; i++) {
        struct haproxy_line *last = f->nlines ? &f->lines[f->nlines - 1] : NULL;
        if (last && last->line == w->list[i].line)
            last->n++;
        else
            f->lines[f->nlines++] = (struct haproxy_line){&w->list[i], 1, w->list[i].line};
    }
}

/* "defaults NAME" hold for those that say "from NAME"; the last ones above for all others. */
static const struct haproxy_section *defaults_of(const struct haproxy_file *f, const struct haproxy_line *head,
                                                 const struct haproxy_section *latest) {
    for (size_t i = 1; i + 1 < head->n; i++)
        if (strcmp(head->words[i].text, "from") == 0)
            return haproxy_find(f, "defaults", head->words[i + 1].text);
    return strcmp(haproxy_word(head, 0), "defaults") == 0 ? NULL : latest;
}

bool haproxy_is_directive(const struct haproxy_line *l) {
    return haproxy_word(l, 0)[0] == '.';
}

/* ".if" and the like: how deep the lines behind it are, and the line of the outermost one. */
static void take_directive(const struct haproxy_line *l, unsigned *depth, unsigned *line) {
    bool begins = strcmp(haproxy_word(l, 0), ".if") == 0, ends = strcmp(haproxy_word(l, 0), ".endif") == 0;
    if (begins && *depth == 0)
        *line = l->line;
    *depth += begins;
    *depth -= ends && *depth;
}

/* Whether a line of S that is there under a condition can change who comes in. */
static bool condition_matters(const struct haproxy_section *s, const struct haproxy_line *l) {
    return strcmp(s->kind, "global") != 0 || strncmp(haproxy_word(l, 0), "ssl-default-bind", 16) == 0 ||
           strstr(haproxy_word(l, 0), "-base") || strstr(haproxy_word(l, 0), "setenv");
}

static void begin_haproxy_section(struct haproxy_file *f, const struct haproxy_line *l, const struct haproxy_section *latest) {
    struct haproxy_section *s = &f->sections[f->nsections];
    *s = (struct haproxy_section){haproxy_word(l, 0), haproxy_word(l, 1), *l, l + 1, 0, defaults_of(f, l, latest), 0};
    for (size_t i = f->nsections; strcmp(s->kind, "global") == 0 && i-- > 0;)
        if (strcmp(f->sections[i].kind, "global") == 0) {
            s->defaults = &f->sections[i];
            break;
        }
    f->nsections++;
}

/* Lines behind the end of a condition in which their section began: they may be the one's above, too. */
static void mark_those_above(struct haproxy_file *f) {
    unsigned line = f->sections[f->nsections - 1].conditional;
    for (size_t i = f->nsections; line && i-- > 0 && f->sections[i].head.line > line;)
        f->sections[i].conditional = line;
    for (size_t i = f->nsections; line && i-- > 0;)
        if (f->sections[i].head.line < line) {
            f->sections[i].conditional = line;
            break;
        }
}

int haproxy_read(struct span bytes, struct haproxy_file *ret, struct text *why) {
    static const struct lexer_format format = {"", "#", true, true, false};
    const struct haproxy_section *latest = NULL;
    unsigned depth = 0, condition = 0;
    *ret = (struct haproxy_file){.nlines = 0};
    int err = lexer_read(bytes, 1, &format, &ret->words, why);
    if (err)
        return err;
    split_lines(ret);
    for (size_t i = 0; i < ret->nlines; i++) {
        const struct haproxy_line *l = &ret->lines[i];
        if (haproxy_is_directive(l))
            take_directive(l, &depth, &condition);
        if (is_head(l)) {
            begin_haproxy_section(ret, l, latest);
            latest = strcmp(haproxy_word(l, 0), "defaults") == 0 ? &ret->sections[ret->nsections - 1] : latest;
        } else if (ret->nsections) {
            ret->sections[ret->nsections - 1].nlines++;
        } else if (!haproxy_is_directive(l)) {
            text_addf(why, "line %u: found \"%s\", expected a section, such as \"frontend NAME\"", l->line, haproxy_word(l, 0));
            haproxy_free(ret);
            return ERR_FORMAT;
        }
        if (haproxy_is_directive(l))
            continue;
        struct haproxy_section *now = &ret->sections[ret->nsections - 1];
        if (depth && condition_matters(now, l))
            now->conditional = condition;
        else if (!depth && !is_head(l))
            mark_those_above(ret);
    }
    return 0;
}

void haproxy_free(struct haproxy_file *f) {
    free(f->lines);
    free(f->sections);
    lexer_free(&f->words);
}

const struct haproxy_section *haproxy_find(const struct haproxy_file *f, const char *kind, const char *name) {
    for (size_t i = 0; i < f->nsections; i++)
        if (strcmp(f->sections[i].kind, kind) == 0 && strcmp(f->sections[i].name, name) == 0)
            return &f->sections[i];
    return NULL;
}

const struct haproxy_line *haproxy_setting(const struct haproxy_section *s, const char *word, const char *second) {
    for (; s; s = s->defaults)
        for (size_t i = s->nlines; i-- > 0;)
            if (strcmp(haproxy_word(&s->lines[i], 0), word) == 0 &&
                (!second || strcmp(haproxy_word(&s->lines[i], 1), second) == 0))
                return &s->lines[i];
    return NULL;
}

/* ---- conditions ---- */

static bool is_or(const char *w) {
    return strcmp(w, "or") == 0 || strcmp(w, "||") == 0;
}

static const struct {
    const char *name;
    enum haproxy_fetch fetch;
    bool ends, preread;
} fetches[] = {
    {"ssl_fc_sni", HAPROXY_SNI, false, false},          {"req.ssl_sni", HAPROXY_SNI, false, true},
    {"req_ssl_sni", HAPROXY_SNI, false, true},          {"ssl_fc_sni_end", HAPROXY_SNI, true, false},
    {"req_ssl_sni_end", HAPROXY_SNI, true, true},       {"req.ssl_sni_end", HAPROXY_SNI, true, true},
    {"ssl_fc_alpn", HAPROXY_ALPN, false, false},        {"req.ssl_alpn", HAPROXY_ALPN, false, true},
    {"req_ssl_alpn", HAPROXY_ALPN, false, true},        {"src", HAPROXY_SRC, false, false},
    {"req.ssl_hello_type", HAPROXY_HELLO, false, true}, {"req_ssl_hello_type", HAPROXY_HELLO, false, true},
};

bool haproxy_never_matches(const struct haproxy_test *t, bool tls) {
    return t->fetch != HAPROXY_SRC && t->fetch != HAPROXY_OTHER && t->preread == tls;
}

/* A fetch, or a call of one, by its first letters: any client passes if it says so, or if servers are up. */
static bool is_free_fetch(const char *fetch) {
    static const char *const free_ones[] = {"req.ssl_", "req_ssl_",   "ssl_fc_sni",  "ssl_fc_alpn",
                                            "nbsrv(",   "srv_is_up(", "always_true", "always_false"};
    for (size_t i = 0; i < ARRAY_LEN(free_ones); i++)
        if (strncmp(fetch, free_ones[i], strlen(free_ones[i])) == 0)
            return true;
    return false;
}

static bool is_free_test(const struct haproxy_section *of, const char *name) {
    bool found = false;
    for (size_t i = 0; i < of->nlines; i++)
        if (strcmp(haproxy_word(&of->lines[i], 0), "acl") == 0 && strcmp(haproxy_word(&of->lines[i], 1), name) == 0) {
            if (!is_free_fetch(haproxy_word(&of->lines[i], 2)))
                return false;
            found = true;
        }
    return found;
}

bool haproxy_is_free_choice(const struct haproxy_section *of, const struct haproxy_line *l) {
    for (const char *p = strstr(haproxy_word(l, 1), "%["); p; p = strstr(p + 2, "%["))
        if (!is_free_fetch(p + 2))
            return false;
    for (size_t i = 3; i < l->n; i++) {
        const char *w = l->words[i].text + strspn(l->words[i].text, "!");
        if (!w[0] || is_or(w))
            continue;
        if (strcmp(w, "{") != 0 ? !is_free_test(of, w) : !is_free_fetch(haproxy_word(l, i + 1)))
            return false;
        while (strcmp(w, "{") == 0 && i + 1 < l->n && strcmp(l->words[i].text, "}") != 0)
            i++;
    }
    return true;
}

enum haproxy_fetch haproxy_fetch_of(const char *fetch, struct haproxy_values *ret, bool *ret_preread) {
    size_t n = strcspn(fetch, ",");
    *ret_preread = false;
    for (const char *c = fetch + n; *c; c += strcspn(c + 1, ",") + 1)
        if (strncmp(c, ",lower", 6) != 0 || (c[6] && c[6] != ','))
            return HAPROXY_OTHER;
    for (size_t i = 0; i < ARRAY_LEN(fetches); i++)
        if (strlen(fetches[i].name) == n && strncmp(fetch, fetches[i].name, n) == 0) {
            ret->ends = fetches[i].ends;
            *ret_preread = fetches[i].preread;
            return fetches[i].fetch;
        }
    return HAPROXY_OTHER;
}

/* WORDS: a fetch, its flags, its values; they are added to RET's, which must be of the same fetch. */
static bool read_test(const struct lexer_word *words, size_t n, struct haproxy_test *ret) {
    size_t i = 1;
    if (!n || ret->n == HAPROXY_VALUES)
        return false;
    struct haproxy_values v = {.ends = false};
    bool preread;
    enum haproxy_fetch fetch = haproxy_fetch_of(words[0].text, &v, &preread);
    if (fetch == HAPROXY_OTHER || (ret->n && (fetch != ret->fetch || preread != ret->preread)))
        return false;
    for (; i < n && words[i].text[0] == '-'; i++) {
        const char *flag = words[i].text, *value = i + 1 < n ? words[i + 1].text : "";
        if (strcmp(flag, "-i") == 0 || strcmp(flag, "-n") == 0)
            continue;
        if (strcmp(flag, "--") == 0) {
            i++;
            break;
        }
        if (strcmp(flag, "-f") == 0 && !v.file)
            v.file = value;
        else if (strcmp(flag, "-m") == 0 && strcmp(value, "end") == 0)
            v.ends = true;
        else if (!(strcmp(flag, "-m") == 0 && (strcmp(value, "str") == 0 || strcmp(value, "ip") == 0)))
            return false;
        i++;
    }
    v.words = words + i;
    v.n = i < n ? n - i : 0;
    if (fetch == HAPROXY_HELLO && (v.file || v.n != 1 || strcmp(v.words[0].text, "1") != 0))
        return false; /* no ClientHello */
    ret->fetch = fetch;
    ret->preread = preread;
    ret->values[ret->n++] = v;
    return true;
}

/* A named test: all lines of that name, in the section. */
static bool named_test(const struct haproxy_section *s, const char *name, struct haproxy_test *ret) {
    for (size_t i = 0; i < s->nlines; i++) {
        const struct haproxy_line *l = &s->lines[i];
        if (strcmp(l->words[0].text, "acl") == 0 && strcmp(haproxy_word(l, 1), name) == 0 &&
            !read_test(l->words + 2, l->n > 2 ? l->n - 2 : 0, ret))
            return false;
    }
    return ret->n > 0;
}

bool haproxy_condition_next(const struct haproxy_section *s, const struct haproxy_line *l, size_t *at,
                            struct haproxy_condition *ret, bool *ret_bad) {
    bool negated = false;
    *ret = (struct haproxy_condition){.n = 0};
    *ret_bad = false;
    if (*at >= l->n)
        return false;
    for (; *at < l->n && !is_or(l->words[*at].text); (*at)++) {
        const char *w = l->words[*at].text;
        struct haproxy_test t = {.n = 0};
        if (strcmp(w, "!") == 0) {
            negated = !negated;
            continue;
        }
        if (w[0] == '!') {
            negated = !negated;
            w++;
        }
        bool ok;
        if (strcmp(w, "{") == 0) {
            size_t begin = *at + 1, end = begin;
            while (end < l->n && strcmp(l->words[end].text, "}") != 0)
                end++;
            ok = end < l->n && read_test(l->words + begin, end - begin, &t);
            *at = end;
        } else {
            ok = named_test(s, w, &t);
        }
        *ret_bad = *ret_bad || !ok || ret->n == HAPROXY_TESTS;
        if (!*ret_bad) {
            t.negated = negated;
            ret->tests[ret->n++] = t;
        }
        negated = false;
    }
    *at += *at < l->n; /* "or" */
    return true;
}
