#include "convert/haproxy_routes.h"

#include <stdlib.h>
#include <string.h>

#include "convert/named_file.h"

#define CLAIMS_MAX 4096

struct haproxy_route {
    struct haproxy_route *next;
    const struct haproxy_section *to;
    const char *alpn;
    struct model_service *s;
    unsigned line;
};

/* What one line says, and where it goes. */
struct routed_line {
    struct haproxy_routes *r;
    const struct haproxy_section *to;
    const struct model_service *base;
    bool tls; /* ends here */
    const char *alpn;
    unsigned line;
    haproxy_take_fn take;
    void *ctx;
};

static bool same_text(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* The service of the choice, made when it is the first one of its kind. */
static struct model_service *chosen_service(const struct routed_line *c) {
    struct haproxy_route **at = &c->r->services;
    for (; *at; at = &(*at)->next)
        if ((*at)->to == c->to && same_text((*at)->alpn, c->alpn))
            return (*at)->s;
    *at = calloc(1, sizeof(**at));
    MUST(*at);
    **at = (struct haproxy_route){NULL, c->to, c->alpn, model_add_service(c->r->m, c->to->name, c->line), c->line};
    model_inherit((*at)->s, c->base, "names");
    c->take(c->ctx, (*at)->s, c->to);
    return (*at)->s;
}

/* Whether the line's backend refuses clients, who would get to others without it; any backend when only HAProxy knows which. */
static bool leads_to_guards(const struct routed_line *c) {
    if (c->to)
        return haproxy_has_guards(c->to);
    for (size_t i = 0; i < c->r->f->nsections; i++) {
        const struct haproxy_section *s = &c->r->f->sections[i];
        if ((strcmp(s->kind, "backend") == 0 || strcmp(s->kind, "listen") == 0) && haproxy_has_guards(s))
            return true;
    }
    return false;
}

/* Clients that the line takes are not known, and get to other backends. */
static void lose_clients(const struct routed_line *c) {
    if (!c->r->guard_line && leads_to_guards(c))
        c->r->guard_line = c->line;
}

/* LINE: of NAME. */
static void claim(const struct routed_line *c, const char *name, unsigned line) {
    struct haproxy_routes *r = c->r;
    if (strcmp(name, "*") != 0 && !model_is_name(name)) {
        model_note(r->m, MODEL_LOST, line, "found \"%s\", expected a host name", name);
        lose_clients(c);
        return;
    }
    if (r->n == CLAIMS_MAX) {
        model_note(r->m, MODEL_LOST, c->line, "more than %d names", CLAIMS_MAX);
        lose_clients(c);
        return;
    }
    if (r->n == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 16;
        struct haproxy_claim *grown = realloc(r->claims, r->cap * sizeof(*grown));
        MUST(grown);
        r->claims = grown;
    }
    r->claims[r->n++] = (struct haproxy_claim){chosen_service(c), name, c->alpn, line};
}

/* A value that the name is, or ends in. */
static void claim_name(const struct routed_line *c, const char *value, bool ends, unsigned line) {
    struct model *m = c->r->m;
    if (strchr(value, '*')) {
        model_note(m, MODEL_NOT_NEEDED, line, "%s: no pattern in HAProxy, so no client's name", value);
    } else if (!ends) {
        claim(c, model_text(m, "%s", value), line);
    } else if (value[0] == '.') {
        claim(c, model_text(m, "**%s", value), line);
    } else {
        claim(c, model_text(m, "%s", value), line);
        claim(c, model_text(m, "**.%s", value), line);
        model_note(m, MODEL_LOST, line, "names that end in %s: those of other labels, like x%s, are not taken", value, value);
        lose_clients(c);
    }
}

/* ---- files of names ---- */

struct file_lines {
    struct span rest;
    unsigned line;
};

/* The next line of a list or map: its first word, and the rest in RET_VALUE. NULL at the end. */
static const char *next_pair(struct model *m, struct file_lines *f, const char **ret_value, unsigned *ret_line) {
    struct span text;
    while (span_take_line(&f->rest, &text)) {
        *ret_line = f->line++;
        const char *all = model_text(m, "%.*s", (int)text.len, (const char *)text.p), *p = all + strspn(all, " \t\r");
        size_t n = strcspn(p, " \t\r");
        if (!n || p[0] == '#')
            continue;
        const char *value = p + n + strspn(p + n, " \t\r");
        *ret_value = model_text(m, "%.*s", (int)strcspn(value, " \t\r"), value);
        return model_text(m, "%.*s", (int)n, p);
    }
    return NULL;
}

static bool open_lines(struct model *m, const char *path, unsigned line, struct file_lines *ret) {
    char reason[512];
    struct text why = text_of(reason, sizeof(reason));
    if (named_file_read(m, model_path(m, path), &ret->rest, &ret->line, &why) == 0)
        return true;
    model_note(m, MODEL_LOST, line, "%s", reason);
    return false;
}

static void claim_file(const struct routed_line *c, const char *path, bool ends) {
    struct file_lines f;
    const char *name, *rest;
    unsigned line;
    if (!open_lines(c->r->m, path, c->line, &f)) {
        lose_clients(c);
        return;
    }
    while ((name = next_pair(c->r->m, &f, &rest, &line)))
        claim_name(c, name, ends, line);
}

/* ---- conditions ---- */

/* Takes out of C what holds of everybody. False: C never holds. */
static bool without_impossible(struct haproxy_condition *c, bool tls) {
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        if (!haproxy_never_matches(&c->tests[i], tls))
            c->tests[n++] = c->tests[i];
        else if (!c->tests[i].negated)
            return false;
    c->n = n;
    return true;
}

static bool can_route(const struct haproxy_condition *c) {
    for (size_t i = 0; i < c->n; i++) {
        const struct haproxy_test *t = &c->tests[i];
        if (t->negated || (t->fetch != HAPROXY_SNI && t->fetch != HAPROXY_ALPN && t->fetch != HAPROXY_HELLO))
            return false;
        for (size_t k = 0; k < t->n; k++)
            if (t->fetch == HAPROXY_ALPN && (t->values[k].file || t->values[k].ends))
                return false;
    }
    return true;
}

static size_t count(const struct haproxy_condition *c, enum haproxy_fetch fetch) {
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        n += c->tests[i].fetch == fetch;
    return n;
}

static const struct haproxy_test *find(const struct haproxy_condition *c, enum haproxy_fetch fetch) {
    for (size_t i = 0; i < c->n; i++)
        if (c->tests[i].fetch == fetch)
            return &c->tests[i];
    return NULL;
}

/* A line that looks for a hello where there is none. */
static void lose_impossible(const struct routed_line *c) {
    model_note(c->r->m, MODEL_NOT_NEEDED, c->line,
               c->tls ? "TLS ends here: \"req.ssl_...\" finds no hello behind it, so this matches nobody"
                      : "TLS does not end here: \"ssl_fc_...\" matches nobody");
}

/* One alternative of a line; false: it has no counterpart. */
static bool take_condition(struct routed_line *c, struct haproxy_condition *condition) {
    if (!without_impossible(condition, c->tls)) {
        lose_impossible(c);
        return true;
    }
    const struct haproxy_test *names = find(condition, HAPROXY_SNI), *protocols = find(condition, HAPROXY_ALPN);
    if (!can_route(condition) || count(condition, HAPROXY_SNI) > 1 || count(condition, HAPROXY_ALPN) > 1)
        return false;
    c->alpn = NULL;
    for (size_t k = 0; protocols && k < protocols->n; k++)
        for (size_t i = 0; i < protocols->values[k].n; i++)
            c->alpn =
                model_text(c->r->m, "%s%s%s", c->alpn ? c->alpn : "", c->alpn ? " " : "", protocols->values[k].words[i].text);
    if (!names)
        claim(c, "*", c->line);
    for (size_t k = 0; names && k < names->n; k++) {
        const struct haproxy_values *v = &names->values[k];
        for (size_t i = 0; i < v->n; i++)
            claim_name(c, v->words[i].text, v->ends, c->line);
        if (v->file)
            claim_file(c, v->file, v->ends);
    }
    return true;
}

/* ---- lines ---- */

static const struct haproxy_section *backend_named(const struct haproxy_routes *r, const char *name) {
    const struct haproxy_section *to = haproxy_find(r->f, "backend", name);
    return to ? to : haproxy_find(r->f, "listen", name);
}

/* "%[FETCH,map(FILE,DEFAULT)]": FILE has a name and a backend a line. False: it is something else. */
static bool take_map_file(struct routed_line *c, const char *expression) {
    struct model *m = c->r->m;
    const char *map = strstr(expression, ",map"), *open = map ? strchr(map, '(') : NULL,
               *close = open ? strchr(open, ')') : NULL;
    struct haproxy_values by = {.ends = false};
    struct haproxy_test test = {.fetch = HAPROXY_SNI};
    if (strncmp(expression, "%[", 2) != 0 || !close || strcmp(close, ")]") != 0)
        return false;
    const char *fetch = model_text(m, "%.*s", (int)(map - expression) - 2, expression + 2);
    const char *kind = model_text(m, "%.*s", (int)(open - map) - 1, map + 1);
    bool ends = strcmp(kind, "map_end") == 0;
    if (haproxy_fetch_of(fetch, &by, &test.preread) != HAPROXY_SNI || by.ends ||
        !(ends || strcmp(kind, "map") == 0 || strcmp(kind, "map_str") == 0))
        return false;
    if (haproxy_never_matches(&test, c->tls)) {
        lose_impossible(c);
        return true;
    }
    const char *args = model_text(m, "%.*s", (int)(close - open) - 1, open + 1), *comma = strchr(args, ',');
    struct file_lines f;
    const char *name, *backend;
    unsigned first = c->line, line;
    if (!open_lines(m, comma ? model_text(m, "%.*s", (int)(comma - args), args) : args, c->line, &f)) {
        lose_clients(c);
        return true;
    }
    while ((name = next_pair(m, &f, &backend, &line))) {
        c->to = backend_named(c->r, backend);
        c->line = line;
        if (c->to)
            claim_name(c, name, ends, line);
        else
            model_note(m, MODEL_LOST, line, "%s %s: there is no such backend", name, backend);
    }
    c->line = first;
    c->to = comma ? backend_named(c->r, comma + 1) : NULL;
    if (c->to)
        claim(c, "*", c->line);
    else if (comma)
        model_note(m, MODEL_LOST, c->line, "%s: there is no such backend", comma + 1);
    return true;
}

static void take_use_backend(struct routed_line *c, const struct haproxy_section *of, const struct haproxy_line *l) {
    const char *name = haproxy_word(l, 1);
    size_t at = 3;
    bool conditional = l->n > 2, bad = conditional && strcmp(haproxy_word(l, 2), "if") != 0, unclear = bad;
    c->to = backend_named(c->r, name);
    c->line = l->line;
    c->alpn = NULL;
    if (!conditional && name[0] == '%')
        unclear = !take_map_file(c, name);
    else if (!c->to)
        unclear = true;
    else if (!conditional)
        claim(c, "*", c->line);
    for (struct haproxy_condition k; conditional && c->to && !bad && haproxy_condition_next(of, l, &at, &k, &bad);)
        unclear = bad || !take_condition(c, &k) || unclear;
    if (!unclear)
        return;
    lose_clients(c);
    if (!c->r->guard_line && !haproxy_is_free_choice(of, l))
        c->r->guard_line = l->line; /* others than these clients may have to stay away from the other backends */
    model_lose(c->r->m, l->words, l->n, "only names and protocols of the hello choose a backend");
}

static void take_default(struct routed_line *c, const struct haproxy_section *of) {
    const struct haproxy_line *l = haproxy_setting(of, "default_backend", NULL);
    c->to = l ? backend_named(c->r, haproxy_word(l, 1)) : NULL;
    if (l && !c->to)
        model_lose(c->r->m, l->words, l->n, "there is no such backend");
    if (!c->to && strcmp(of->kind, "listen") == 0)
        c->to = of;
    c->line = l ? l->line : of->head.line;
    c->alpn = NULL;
    if (c->to)
        claim(c, "*", c->line);
}

/* ---- when all lines are read ---- */

/* Whether a client that PATTERN takes is one that CLAIM takes. */
static bool covers(const char *claim, const char *pattern) {
    size_t n = strlen(claim), len = strlen(pattern);
    if (strcmp(claim, "*") == 0 || strcasecmp(claim, pattern) == 0)
        return true;
    return strncmp(claim, "**.", 3) == 0 && len > n - 2 && strcasecmp(pattern + len - (n - 2), claim + 2) == 0;
}

static bool lists_word(const char *list, const char *word, size_t len) {
    for (const char *p = list; *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        if (n == len && strncmp(p, word, len) == 0)
            return true;
        p += n;
    }
    return false;
}

/* Whether a line above K that takes PATTERN, too, has one of its protocols. */
static bool is_taken_above(const struct haproxy_routes *r, size_t k, const char *pattern) {
    for (size_t j = 0; j < k; j++)
        for (const char *p = r->claims[k].alpn; r->claims[j].alpn && covers(r->claims[j].name, pattern) && *p;
             p += strspn(p, " ")) {
            size_t n = strcspn(p, " ");
            if (lists_word(r->claims[j].alpn, p, n))
                return true;
            p += n;
        }
    return false;
}

/* Each pattern goes to the services of the lines that take it, in their order, up to the first one that takes every protocol.
 */
static void put_names(const struct haproxy_routes *r) {
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = 0; k < r->n; k++) {
            const struct haproxy_claim *c = &r->claims[k];
            if (!covers(c->name, r->claims[i].name) || (c->alpn && is_taken_above(r, k, r->claims[i].name)))
                continue;
            if (strcmp(r->claims[i].name, "*") == 0)
                model_add_any_name(r->m, c->s);
            else
                (void)model_add_name(r->m, c->s, r->claims[i].line, r->claims[i].name); /* it is a name */
            if (!c->alpn)
                break;
        }
}

static void put_protocols(const struct haproxy_routes *r) {
    for (const struct haproxy_route *v = r->services; v; v = v->next)
        for (const char *p = v->alpn ? v->alpn : ""; *p; p += strspn(p, " ")) {
            size_t n = strcspn(p, " ");
            model_add(r->m, v->s, "", "match_alpn", model_text(r->m, "%.*s", (int)n, p));
            p += n;
        }
}

bool haproxy_take_routes(struct model *m, const struct haproxy_file *f, const struct haproxy_section *of,
                         const struct model_service *base, bool tls, haproxy_take_fn take, void *ctx) {
    struct haproxy_routes r = {.m = m, .f = f};
    struct routed_line c = {.r = &r, .base = base, .tls = tls, .take = take, .ctx = ctx};
    for (size_t i = 0; i < of->nlines; i++)
        if (strcmp(of->lines[i].words[0].text, "use_backend") == 0)
            take_use_backend(&c, of, &of->lines[i]);
    take_default(&c, of);
    bool alone = r.n == 1 && tls && strcmp(r.claims[0].name, "*") == 0 && !r.claims[0].alpn;
    if (!alone) /* the names of its certificates are enough */
        put_names(&r);
    put_protocols(&r);
    for (struct haproxy_route *v = r.services, *next; v; v = next) {
        next = v->next;
        if (haproxy_refuses(v->to))
            model_refuse(v->s, v->line);
        if (r.guard_line)
            model_guard_lost(v->s, r.guard_line);
        if (!alone && !model_has(v->s, "", "names")) {
            model_note(m, MODEL_NOT_NEEDED, v->line, "backend %s: lines above take all of its clients", v->to->name);
            model_clear(v->s);
        }
        free(v);
    }
    free(r.claims);
    return r.services != NULL;
}
