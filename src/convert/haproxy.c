/* haproxy.cfg: frontends in TCP mode that accept TLS, or pass it on by the name in its hello; each choice of a backend is a
 * service. */
#include "convert/haproxy.h"

#include <stdlib.h>
#include <string.h>

#include "convert/readers.h"

#define GROUPS_MAX 64
#define ALSO_MAX   16

/* Addresses of a frontend that are served alike. */
struct group {
    struct model_service *base; /* what their services have in common; is not written itself */
    const struct haproxy_line *bind;
    bool tls;
    struct haproxy_test also[ALSO_MAX]; /* names that a route takes with a protocol only: the default takes them without it */
    size_t nalso;
};

struct haproxy {
    struct model *m;
    const struct haproxy_file *f;
    const struct haproxy_section *global;
};

/* Lines that are looked at elsewhere, or mean nothing here. */
static const char *const silent[] = {"acl",
                                     "bind",
                                     "mode",
                                     "use_backend",
                                     "default_backend",
                                     "server",
                                     "default-server",
                                     "timeout",
                                     "balance",
                                     "log",
                                     "log-format",
                                     "log-tag",
                                     "option",
                                     "no",
                                     "description",
                                     "id",
                                     "maxconn",
                                     "enabled",
                                     "backlog",
                                     "retries",
                                     "fullconn",
                                     "hash-type",
                                     "tcp-check",
                                     "http-check",
                                     "error-log-format",
                                     "unique-id-format",
                                     "dispatch",
                                     "email-alert",
                                     "load-server-state-from-file"};

static bool in_list(const char *word, const char *const *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(word, list[i]) == 0)
            return true;
    return false;
}

static void lose(struct haproxy *h, const struct haproxy_line *l, const char *why) {
    model_lose(h->m, l->words, l->n, why);
}

/* ---- what holds for a whole service ---- */

static void set_timeout(struct haproxy *h, struct model_service *s, const struct haproxy_section *of, const char *name,
                        const char *key) {
    const struct haproxy_line *l = haproxy_setting(of, "timeout", name);
    const char *duration = l ? model_duration(h->m, haproxy_word(l, 2), "ms") : NULL;
    if (duration)
        model_set(h->m, s, "timeouts", key, duration);
    else if (l)
        lose(h, l, "expected a duration");
}

static void set_balance(struct haproxy *h, struct model_service *s, const struct haproxy_section *of) {
    static const char *const known[][2] = {{"roundrobin", "round-robin"},
                                           {"static-rr", "round-robin"},
                                           {"leastconn", "least-sessions"},
                                           {"source", "client-hash"},
                                           {"random", "least-sessions"}};
    const struct haproxy_line *l = haproxy_setting(of, "balance", NULL);
    if (!l) {
        model_set(h->m, s, "", "balance", "round-robin"); /* haproxy's default */
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        size_t n = strlen(known[i][0]);
        const char *word = haproxy_word(l, 1);
        if (strncmp(word, known[i][0], n) == 0 && (!word[n] || word[n] == '(')) {
            model_set(h->m, s, "", "balance", known[i][1]);
            return;
        }
    }
    lose(h, l, "expected roundrobin, leastconn, source or random");
}

/* Addresses that may come in, or may not. A test of others than networks is lost. */
static void add_networks(struct haproxy *h, struct model_service *s, const struct haproxy_test *t, const char *list) {
    for (size_t i = 0; i < t->n; i++)
        model_add(h->m, s, "access", list, t->values[i].text);
    if (t->file)
        model_add(h->m, s, "access", list, model_path(h->m, t->file));
}

/* "tcp-request connection|session|content accept|reject [if|unless CONDITION]" */
static void take_tcp_request(struct haproxy *h, struct model_service *s, const struct haproxy_section *of,
                             const struct haproxy_line *l) {
    const char *action = haproxy_word(l, 2);
    bool rejects = strcmp(action, "reject") == 0;
    if (strcmp(haproxy_word(l, 1), "inspect-delay") == 0)
        return; /* the deadline of the handshake */
    if (!rejects && strcmp(action, "accept") != 0) {
        lose(h, l, NULL);
        return;
    }
    if (l->n == 3)
        return; /* the end of a list: what its other lines say decides */
    bool unless = strcmp(haproxy_word(l, 3), "unless") == 0, bad;
    size_t at = 4;
    for (struct haproxy_condition c; haproxy_condition_next(of, l, &at, &c, &bad);) {
        const struct haproxy_test *t = &c.tests[0];
        bool hello = !bad && c.n && t->fetch == HAPROXY_HELLO;
        if (hello && !rejects)
            continue; /* what is no TLS is refused anyway */
        bool inverse = t->negated != unless;
        if (bad || c.n != 1 || t->fetch != HAPROXY_SRC || (!rejects && inverse))
            lose(h, l, "only networks are taken, one condition a line");
        else
            add_networks(h, s, t, rejects && !inverse ? "deny" : "allow");
    }
}

static void take_other_lines(struct haproxy *h, struct model_service *s, const struct haproxy_section *of) {
    for (size_t i = 0; i < of->nlines; i++) {
        const struct haproxy_line *l = &of->lines[i];
        const char *word = l->words[0].text;
        if (strcmp(word, "tcp-request") == 0)
            take_tcp_request(h, s, of, l);
        else if (!in_list(word, silent, ARRAY_LEN(silent)) && strncmp(word, "stats", 5) != 0 && strncmp(word, "http-", 5) != 0)
            lose(h, l, NULL);
    }
}

static void take_backend(struct haproxy *h, struct model_service *s, const struct haproxy_section *of) {
    for (size_t i = 0; i < of->nlines; i++)
        if (strcmp(of->lines[i].words[0].text, "server") == 0)
            haproxy_server(h->m, s, &of->lines[i], haproxy_setting(of, "default-server", NULL));
    set_balance(h, s, of);
    set_timeout(h, s, of, "server", "idle");
    set_timeout(h, s, of, "tunnel", "idle");
    set_timeout(h, s, of, "connect", "connect");
    if (strcmp(of->kind, "backend") == 0)
        take_other_lines(h, s, of);
}

/* ---- which backend ---- */

static void add_name(struct haproxy *h, struct model_service *s, const struct haproxy_test *t, const char *name) {
    const char *dot = name[0] == '.' ? "**" : t->ends ? "**." : "";
    model_add(h->m, s, "", "names", model_text(h->m, "%s%s", dot, name));
}

/* One alternative of a use_backend line as a service; false: it has no counterpart. */
static bool add_route(struct haproxy *h, struct group *g, const struct haproxy_condition *c, const struct haproxy_section *to) {
    for (size_t i = 0; i < c->n; i++) {
        const struct haproxy_test *t = &c->tests[i];
        bool is_name = t->fetch == HAPROXY_SNI, is_protocol = t->fetch == HAPROXY_ALPN;
        if (t->negated || t->file || !t->n || !(is_name || is_protocol))
            return false;
    }
    struct model_service *s = model_add_service(h->m, to->name);
    for (size_t i = 0; i < c->n && c->n > 1; i++)
        if (c->tests[i].fetch == HAPROXY_SNI && g->nalso < ALSO_MAX)
            g->also[g->nalso++] = c->tests[i];
    for (size_t i = 0; i < c->n; i++)
        for (size_t k = 0; k < c->tests[i].n; k++) {
            const char *value = c->tests[i].values[k].text;
            if (c->tests[i].fetch == HAPROXY_SNI)
                add_name(h, s, &c->tests[i], value);
            else
                model_add(h->m, s, "", "match_alpn", value);
        }
    if (!model_has(s, "", "names")) {
        model_add(h->m, s, "", "names", "*");
        model_add(h->m, s, "", "names", "");
    }
    model_inherit(s, g->base, "names");
    take_backend(h, s, to);
    return true;
}

static const struct haproxy_section *backend_of(struct haproxy *h, const struct haproxy_line *l) {
    const char *name = haproxy_word(l, 1);
    const struct haproxy_section *to = haproxy_find(h->f, "backend", name);
    return to ? to : haproxy_find(h->f, "listen", name);
}

static unsigned add_routes(struct haproxy *h, const struct haproxy_section *of, struct group *g) {
    unsigned routes = 0;
    for (size_t i = 0; i < of->nlines; i++) {
        const struct haproxy_line *l = &of->lines[i];
        if (strcmp(l->words[0].text, "use_backend") != 0)
            continue;
        const struct haproxy_section *to = backend_of(h, l);
        size_t at = 3;
        bool bad = !to || strcmp(haproxy_word(l, 2), "if") != 0, unclear = bad;
        for (struct haproxy_condition c; !bad && haproxy_condition_next(of, l, &at, &c, &bad);) {
            unclear = unclear || bad || !add_route(h, g, &c, to);
            routes += !unclear;
        }
        if (unclear)
            lose(h, l, "only names and protocols of the hello choose a backend");
    }
    return routes;
}

/* What no other line takes. */
static void add_default(struct haproxy *h, const struct haproxy_section *of, const struct group *g, bool others) {
    const struct haproxy_line *l = haproxy_setting(of, "default_backend", NULL);
    const struct haproxy_section *to = l ? backend_of(h, l) : strcmp(of->kind, "listen") == 0 ? of : NULL;
    if (!to) {
        if (l)
            lose(h, l, "there is no such backend");
        return;
    }
    struct model_service *s = model_add_service(h->m, of->name[0] ? of->name : to->name);
    if (others || !g->tls) {
        model_add(h->m, s, "", "names", "*");
        model_add(h->m, s, "", "names", "");
    }
    for (size_t i = 0; i < g->nalso; i++)
        for (size_t k = 0; k < g->also[i].n; k++)
            add_name(h, s, &g->also[i], g->also[i].values[k].text);
    model_inherit(s, g->base, "");
    take_backend(h, s, to);
}

/* ---- frontends ---- */

static bool same_parameters(const struct haproxy_line *a, const struct haproxy_line *b) {
    bool same = a->n == b->n;
    for (size_t i = 2; same && i < a->n; i++)
        same = strcmp(a->words[i].text, b->words[i].text) == 0;
    return same;
}

static void finish_group(struct haproxy *h, const struct haproxy_section *of, struct group *g, const struct haproxy_bind *b) {
    const char *ciphers = haproxy_word(haproxy_setting(h->global, "ssl-default-bind-ciphers", NULL), 1);
    const char *suites = haproxy_word(haproxy_setting(h->global, "ssl-default-bind-ciphersuites", NULL), 1);
    const struct haproxy_line *options = haproxy_setting(h->global, "ssl-default-bind-options", NULL);
    if (!g->tls)
        model_set(h->m, g->base, "", "mode", "passthrough");
    else
        model_suites(h->m, g->base, g->bind->line,
                     b->ciphers   ? b->ciphers
                     : ciphers[0] ? ciphers
                                  : NULL,
                     b->suites   ? b->suites
                     : suites[0] ? suites
                                 : NULL);
    for (size_t i = 1; g->tls && options && i < options->n; i++)
        if (strcmp(options->words[i].text, "ssl-min-ver") == 0 && !model_has(g->base, "", "min_version"))
            model_min_version(h->m, g->base, options->line, haproxy_word(options, i + 1));
    if (model_has(g->base, "client_auth", "ca") && !model_has(g->base, "client_auth", "mode"))
        model_unset_table(g->base, "client_auth"); /* without "verify" nothing is asked for */
    const struct haproxy_line *most = haproxy_setting(of, "maxconn", NULL);
    if (most && !model_has(g->base, "limits", "sessions"))
        model_set_number(h->m, g->base, most->line, "limits", "sessions", haproxy_word(most, 1));
    set_timeout(h, g->base, of, "client", "idle");
    set_timeout(h, g->base, of, "client-fin", "half_closed");
    take_other_lines(h, g->base, of);
}

/* Whether lines of the frontend look into hellos without ending TLS. */
static bool reads_hellos(const struct haproxy_section *of) {
    for (size_t i = 0; i < of->nlines; i++)
        for (size_t k = 0; k < of->lines[i].n; k++)
            if (strncmp(of->lines[i].words[k].text, "req", 3) == 0 && strstr(of->lines[i].words[k].text, "ssl_"))
                return true;
    return false;
}

static void take_frontend(struct haproxy *h, const struct haproxy_section *of) {
    struct group groups[GROUPS_MAX];
    struct haproxy_bind binds[GROUPS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < of->nlines; i++) {
        const struct haproxy_line *l = &of->lines[i];
        size_t k = 0;
        if (strcmp(l->words[0].text, "bind") != 0)
            continue;
        while (k < n && !same_parameters(groups[k].bind, l))
            k++;
        if (k == GROUPS_MAX) {
            lose(h, l, "too many different addresses");
            continue;
        }
        if (k == n) {
            groups[n] = (struct group){.base = model_add_service(h->m, "base"), .bind = l};
            binds[n++] = (struct haproxy_bind){.tls = false};
        }
        haproxy_bind(h->m, groups[k].base, l, h->global, &binds[k]);
        groups[k].tls = binds[k].tls;
    }
    for (size_t k = 0; k < n; k++) {
        if (groups[k].tls || reads_hellos(of)) {
            finish_group(h, of, &groups[k], &binds[k]);
            add_default(h, of, &groups[k], add_routes(h, of, &groups[k]) > 0);
        } else {
            lose(h, groups[k].bind, "neither TLS nor passed on by its hello");
        }
        model_clear(h->m, groups[k].base);
    }
}

static void take_global(struct haproxy *h) {
    const struct haproxy_line *user = haproxy_setting(h->global, "user", NULL);
    const struct haproxy_line *threads = haproxy_setting(h->global, "nbthread", NULL);
    if (user)
        model_set(h->m, model_top(h->m), "", "user", haproxy_word(user, 1));
    if (threads)
        model_set_number(h->m, model_top(h->m), threads->line, "", "workers", haproxy_word(threads, 1));
}

int convert_haproxy(struct model *m, struct span bytes, struct text *why) {
    static const char *const unused[] = {"userlist", "peers",    "mailers",     "program", "http-errors",
                                         "cache",    "fcgi-app", "log-forward", "ring",    "resolvers"};
    struct haproxy_file f;
    int err = haproxy_read(bytes, &f, why);
    if (err)
        return err;
    struct haproxy h = {m, &f, haproxy_find(&f, "global", "")};
    take_global(&h);
    for (size_t i = 0; i < f.nsections; i++) {
        const struct haproxy_section *s = &f.sections[i];
        bool fronts = strcmp(s->kind, "frontend") == 0 || strcmp(s->kind, "listen") == 0;
        if (fronts && strcmp(haproxy_word(haproxy_setting(s, "mode", NULL), 1), "http") == 0)
            lose(&h, &s->head, "mode http: HAProxy reads HTTP there, tls-off passes bytes; with mode tcp it is taken");
        else if (fronts)
            take_frontend(&h, s);
        else if (in_list(s->kind, unused, ARRAY_LEN(unused)))
            model_note(m, MODEL_NOT_NEEDED, s->head.line, "%s %s", s->kind, s->name);
    }
    haproxy_free(&f);
    return 0;
}
