/* haproxy.cfg as sections of lines of words, and the conditions behind "if" and "unless". */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "convert/haproxy.h"

static const char *const kinds[] = {"global", "defaults",  "frontend",    "backend", "listen",      "userlist",
                                    "peers",  "resolvers", "mailers",     "program", "http-errors", "ring",
                                    "cache",  "crt-store", "log-forward", "fcgi-app"};

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

int haproxy_read(struct span bytes, struct haproxy_file *ret, struct text *why) {
    static const struct lexer_format format = {"", "#", false, true};
    const struct haproxy_section *latest = NULL;
    *ret = (struct haproxy_file){.nlines = 0};
    int err = lexer_read(bytes, &format, &ret->words, why);
    if (err)
        return err;
    split_lines(ret);
    for (size_t i = 0; i < ret->nlines; i++) {
        const struct haproxy_line *l = &ret->lines[i];
        if (is_head(l)) {
            struct haproxy_section *s = &ret->sections[ret->nsections];
            *s = (struct haproxy_section){haproxy_word(l, 0), haproxy_word(l, 1), *l, l + 1, 0, defaults_of(ret, l, latest)};
            ret->nsections++;
            latest = strcmp(s->kind, "defaults") == 0 ? s : latest;
        } else if (ret->nsections == 0) {
            text_addf(why, "line %u: found \"%s\", expected a section, such as \"frontend NAME\"", l->line, haproxy_word(l, 0));
            haproxy_free(ret);
            return ERR_FORMAT;
        } else {
            ret->sections[ret->nsections - 1].nlines++;
        }
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

static const struct {
    const char *name;
    enum haproxy_fetch fetch;
    bool ends;
} fetches[] = {
    {"ssl_fc_sni", HAPROXY_SNI, false},           {"req.ssl_sni", HAPROXY_SNI, false},
    {"req_ssl_sni", HAPROXY_SNI, false},          {"ssl_fc_sni_end", HAPROXY_SNI, true},
    {"req_ssl_sni_end", HAPROXY_SNI, true},       {"req.ssl_sni_end", HAPROXY_SNI, true},
    {"ssl_fc_alpn", HAPROXY_ALPN, false},         {"req.ssl_alpn", HAPROXY_ALPN, false},
    {"req_ssl_alpn", HAPROXY_ALPN, false},        {"src", HAPROXY_SRC, false},
    {"req.ssl_hello_type", HAPROXY_HELLO, false}, {"req_ssl_hello_type", HAPROXY_HELLO, false},
};

/* WORDS: a fetch, its flags, its values. */
static bool read_test(const struct lexer_word *words, size_t n, struct haproxy_test *ret) {
    size_t i = 1;
    *ret = (struct haproxy_test){.fetch = HAPROXY_OTHER};
    for (size_t k = 0; n && k < ARRAY_LEN(fetches); k++)
        if (strcmp(words[0].text, fetches[k].name) == 0) {
            ret->fetch = fetches[k].fetch;
            ret->ends = fetches[k].ends;
        }
    for (; i < n && words[i].text[0] == '-'; i++) {
        const char *flag = words[i].text, *value = i + 1 < n ? words[i + 1].text : "";
        if (strcmp(flag, "-i") == 0)
            continue;
        if (strcmp(flag, "--") == 0) {
            i++;
            break;
        }
        if (strcmp(flag, "-f") == 0 && !ret->file)
            ret->file = value;
        else if (strcmp(flag, "-m") == 0 && strcmp(value, "end") == 0)
            ret->ends = true;
        else if (!(strcmp(flag, "-m") == 0 && (strcmp(value, "str") == 0 || strcmp(value, "ip") == 0)))
            return false;
        i++;
    }
    ret->values = words + i;
    ret->n = i < n ? n - i : 0;
    return ret->fetch != HAPROXY_OTHER;
}

/* A named test; those of one name hold when one of them does, which is more than we follow. */
static bool named_test(const struct haproxy_section *s, const char *name, struct haproxy_test *ret) {
    const struct haproxy_line *found = NULL;
    for (size_t i = 0; i < s->nlines; i++) {
        const struct haproxy_line *l = &s->lines[i];
        if (strcmp(l->words[0].text, "acl") != 0 || strcmp(haproxy_word(l, 1), name) != 0)
            continue;
        if (found)
            return false;
        found = l;
    }
    return found && found->n > 2 && read_test(found->words + 2, found->n - 2, ret);
}

static bool is_or(const char *w) {
    return strcmp(w, "or") == 0 || strcmp(w, "||") == 0;
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
        struct haproxy_test t;
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
