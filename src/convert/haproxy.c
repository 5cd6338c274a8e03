/* haproxy.cfg: frontends in TCP mode that accept TLS, or pass it on by the name in its hello; each choice of a backend is a
 * service. */
#include "convert/haproxy.h"

#include <stdlib.h>
#include <string.h>

#include "convert/haproxy_routes.h"
#include "convert/readers.h"

#define GROUPS_MAX 64

/* Addresses of a frontend that are served alike. */
struct served_alike {
    struct model_service *base; /* what their services have in common; is not written itself */
    const struct haproxy_line *bind;
    bool tls;
};

struct haproxy {
    struct model *m;
    const struct haproxy_file *f;
    const struct haproxy_section *global;
    const struct haproxy_section *front; /* that is read */
    bool *reached;                       /* sections that are backends of a service */
};

/* Lines that are looked at elsewhere. */
static const char *const elsewhere[] = {"acl",
                                        "bind",
                                        "mode",
                                        "use_backend",
                                        "default_backend",
                                        "server",
                                        "default-server",
                                        "timeout",
                                        "balance",
                                        "maxconn",
                                        "enabled",
                                        "user",
                                        "nbthread",
                                        "ca-base",
                                        "crt-base",
                                        "ssl-default-bind-ciphers",
                                        "ssl-default-bind-ciphersuites",
                                        "ssl-default-bind-curves",
                                        "ssl-default-bind-options"};

/* What means nothing here, by its first letters, and why. */
static const char *const not_needed[][2] = {
    {"log", "see [log]"},
    {"error-log", "see [log]"},
    {"unique-id", "every session has a unique id"},
    {"option", "about HAProxy's own logs, checks and sockets"},
    {"no", "about HAProxy's own logs, checks and sockets"},
    {"description", "a comment does"},
    {"id", "services have names"},
    {"guid", "services have names"},
    {"backlog", "see listener.\"ADDRESS\".backlog"},
    {"retries", "other backends are tried until timeouts.connect"},
    {"fullconn", "see limits.sessions"},
    {"hash-type", "hashing is consistent"},
    {"tcp-check", "a backend that fails is ejected for a while"},
    {"http", "about HTTP"},
    {"external-check", "a backend that fails is ejected for a while"},
    {"email-alert", "see alerts for Prometheus"},
    {"load-server-state-from-file", "backends are tried again after a reload"},
    {"server-state", "backends are tried again after a reload"},
    {"stats", "see [admin]"},
    {"errorfile", "about HTTP"},
    {"errorloc", "about HTTP"},
    {"compression", "about HTTP"},
    {"cookie", "about HTTP"},
    {"monitor", "see [admin]"},
};

/* Of the global section: all others are HAProxy's own processes. */
static const char *const not_global[] = {"setenv", "presetenv", "resetenv", "unsetenv", "lua-load", "lua-load-per-thread"};

static bool in_list(const char *word, const char *const *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(word, list[i]) == 0)
            return true;
    return false;
}

/* Addresses of sections that become no service, by line LINE. */
static void drop_addresses(struct haproxy *h, const struct haproxy_section *of, unsigned line) {
    struct model_service *s = model_add_service(h->m, "dropped", line);
    for (size_t i = 0; i < of->nlines; i++)
        if (strcmp(of->lines[i].words[0].text, "bind") == 0)
            haproxy_bind_addresses(h->m, s, &of->lines[i]);
    model_drop(s, line);
}

static void lose_line(struct haproxy *h, const struct haproxy_line *l, const char *why) {
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
        lose_line(h, l, "expected a duration");
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
    lose_line(h, l, "expected roundrobin, leastconn, source or random");
}

/* ---- lines that are no setting ---- */

static const char *why_keyword_not_needed(const char *word) {
    for (size_t i = 0; i < ARRAY_LEN(not_needed); i++)
        if (strncmp(word, not_needed[i][0], strlen(not_needed[i][0])) == 0)
            return not_needed[i][1];
    return NULL;
}

/* Whether the line is a timeout that nothing looks at. */
static bool is_other_timeout(const struct haproxy_line *l) {
    static const char *const taken[] = {"client", "client-fin", "server", "tunnel", "connect"};
    return strcmp(l->words[0].text, "timeout") == 0 && !in_list(haproxy_word(l, 1), taken, ARRAY_LEN(taken));
}

static void note_other(struct haproxy *h, const struct haproxy_section *of, const struct haproxy_line *l) {
    const char *word = l->words[0].text, *why = why_keyword_not_needed(word);
    bool global = strcmp(of->kind, "global") == 0;
    if ((haproxy_is_http_rule(of, l) && strcmp(of->kind, "defaults") != 0) || haproxy_is_directive(l))
        return; /* lost elsewhere */
    if (is_other_timeout(l)) {
        model_note(h->m, MODEL_NOT_NEEDED, l->line, "timeout %s: see [service.x.timeouts]", haproxy_word(l, 1));
        return;
    }
    if (in_list(word, elsewhere, ARRAY_LEN(elsewhere)) && !(global && strcmp(word, "maxconn") == 0))
        return;
    if (why)
        model_note(h->m, MODEL_NOT_NEEDED, l->line, "%s: %s", word, why);
    else if (global && !in_list(word, not_global, ARRAY_LEN(not_global)))
        model_note(h->m, MODEL_NOT_NEEDED, l->line, "%s: about HAProxy's own processes", word);
    else
        lose_line(h, l, NULL);
}

static void take_other_lines(struct haproxy *h, struct model_service *s, const struct haproxy_section *of) {
    for (size_t i = 0; i < of->nlines; i++)
        if (strcmp(of->lines[i].words[0].text, "tcp-request") != 0)
            note_other(h, of, &of->lines[i]);
    haproxy_take_access(h->m, s, of);
}

static void take_backend(void *ctx, struct model_service *s, const struct haproxy_section *of) {
    struct haproxy *h = ctx;
    h->reached[of - h->f->sections] = true;
    for (size_t i = 0; i < of->nlines; i++)
        if (strcmp(of->lines[i].words[0].text, "server") == 0)
            haproxy_server(h->m, s, &of->lines[i], of);
    set_balance(h, s, of);
    set_timeout(h, s, of, "server", "idle");
    set_timeout(h, s, of, "tunnel", "idle");
    set_timeout(h, s, of, "connect", "connect");
    if (!model_has(s, "timeouts", "idle"))
        model_set(h->m, s, "timeouts", "idle", "none"); /* as haproxy without a word */
    if (of != h->front)
        take_other_lines(h, s, of);
}

/* ---- frontends ---- */

static bool same_parameters(const struct haproxy_line *a, const struct haproxy_line *b) {
    bool same = a->n == b->n;
    for (size_t i = 2; same && i < a->n; i++)
        same = strcmp(a->words[i].text, b->words[i].text) == 0;
    return same;
}

/* All lines of "ssl-default-bind-options", of all global sections up to G. HAS_VERSION: the bind line has one. */
static void take_default_options(struct haproxy *h, struct model_service *s, const struct haproxy_section *g,
                                 bool has_version) {
    if (!g)
        return;
    take_default_options(h, s, g->defaults, has_version);
    model_guard_lost(s, g->conditional);
    for (size_t i = 0; i < g->nlines; i++) {
        const struct haproxy_line *l = &g->lines[i];
        size_t n = strcmp(haproxy_word(l, 0), "ssl-default-bind-options") == 0 ? l->n : 0;
        for (size_t k = 1; k < n; k++) {
            const char *w = l->words[k].text;
            if (strcmp(w, "strict-sni") == 0)
                model_set_raw(h->m, s, "", "strict_sni", "true");
            else if (!has_version && strcmp(w, "ssl-min-ver") == 0)
                model_min_version(h->m, s, l->line, haproxy_word(l, k + 1));
            else if (!has_version && (strcmp(w, "no-tlsv12") == 0 || strcmp(w, "force-tlsv13") == 0))
                model_min_version(h->m, s, l->line, "TLSv1.3");
        }
    }
}

static void finish_group(struct haproxy *h, const struct haproxy_section *of, struct served_alike *g,
                         const struct haproxy_bind *b) {
    const char *ciphers = haproxy_word(haproxy_setting(h->global, "ssl-default-bind-ciphers", NULL), 1);
    const char *suites = haproxy_word(haproxy_setting(h->global, "ssl-default-bind-ciphersuites", NULL), 1);
    const struct haproxy_line *curves = haproxy_setting(h->global, "ssl-default-bind-curves", NULL);
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
    if (g->tls)
        take_default_options(h, g->base, h->global, model_has(g->base, "", "min_version"));
    if (b->names_line && model_has(g->base, "", "strict_sni"))
        model_guard_lost(g->base, b->names_line); /* other names of its certificates are refused */
    if (g->tls && curves && !model_has(g->base, "", "groups"))
        model_groups(h->m, g->base, curves->line, haproxy_word(curves, 1));
    if (model_has(g->base, "client_auth", "ca") && !model_has(g->base, "client_auth", "mode"))
        model_unset_table(g->base, "client_auth"); /* without "verify" nothing is asked for */
    const struct haproxy_line *most = haproxy_setting(of, "maxconn", NULL);
    if (most && !model_has(g->base, "limits", "sessions"))
        model_set_number(h->m, g->base, most->line, "limits", "sessions", haproxy_word(most, 1), INT32_MAX);
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
    struct served_alike groups[GROUPS_MAX];
    struct haproxy_bind binds[GROUPS_MAX];
    size_t n = 0;
    h->front = of;
    for (size_t i = 0; i < of->nlines; i++) {
        const struct haproxy_line *l = &of->lines[i];
        size_t k = 0;
        if (strcmp(l->words[0].text, "bind") != 0)
            continue;
        while (k < n && !same_parameters(groups[k].bind, l))
            k++;
        if (k == GROUPS_MAX) {
            struct model_service *dropped = model_add_service(h->m, "dropped", l->line);
            haproxy_bind_addresses(h->m, dropped, l);
            model_drop(dropped, l->line);
            lose_line(h, l, "too many different addresses");
            continue;
        }
        if (k == n) {
            groups[n] = (struct served_alike){.base = model_add_service(h->m, "frontend", l->line), .bind = l};
            binds[n++] = (struct haproxy_bind){.tls = false};
        }
        haproxy_bind(h->m, groups[k].base, l, h->global, &binds[k]);
        groups[k].tls = binds[k].tls;
    }
    for (size_t k = 0; k < n; k++) {
        if (groups[k].tls || reads_hellos(of)) {
            finish_group(h, of, &groups[k], &binds[k]);
            if (haproxy_take_routes(h->m, h->f, of, groups[k].base, groups[k].tls, take_backend, h)) {
                model_clear(groups[k].base);
                continue;
            }
            lose_line(h, &of->head, "no line leads to a backend");
        } else {
            lose_line(h, groups[k].bind, "neither TLS nor passed on by its hello");
        }
        model_drop(groups[k].base, groups[k].bind->line);
    }
}

/* Of global and defaults sections: what is no setting of others. */
static void take_settings(struct haproxy *h, const struct haproxy_section *of) {
    for (size_t i = 0; i < of->nlines; i++)
        note_other(h, of, &of->lines[i]);
}

static void take_global(struct haproxy *h) {
    const struct haproxy_line *user = haproxy_setting(h->global, "user", NULL);
    const struct haproxy_line *threads = haproxy_setting(h->global, "nbthread", NULL);
    if (user)
        model_set_user(h->m, user->line, haproxy_word(user, 1));
    if (threads)
        model_set_number(h->m, model_top(h->m), threads->line, "", "workers", haproxy_word(threads, 1), MODEL_WORKERS_MAX);
}

/* The last section; those above are what it lacks. */
static const struct haproxy_section *last_global(const struct haproxy_file *f) {
    for (size_t i = f->nsections; i-- > 0;)
        if (strcmp(f->sections[i].kind, "global") == 0)
            return &f->sections[i];
    return NULL;
}

/* ".if" and ".elif": what follows is in force or not, by conditions of the moment when HAProxy starts. */
static void note_directives(struct haproxy *h) {
    for (size_t i = 0; i < h->f->nlines; i++) {
        const struct haproxy_line *l = &h->f->lines[i];
        bool decides = strcmp(l->words[0].text, ".if") == 0 || strcmp(l->words[0].text, ".elif") == 0;
        if (decides)
            lose_line(h, l, "HAProxy decides when it starts");
        else if (haproxy_is_directive(l) && strcmp(l->words[0].text, ".else") != 0 && strcmp(l->words[0].text, ".endif") != 0)
            model_note(h->m, MODEL_NOT_NEEDED, l->line, "%s: a message of HAProxy", l->words[0].text);
    }
}

static void note_unreached(struct haproxy *h) {
    for (size_t i = 0; i < h->f->nsections; i++)
        if (strcmp(h->f->sections[i].kind, "backend") == 0 && !h->reached[i])
            model_note(h->m, MODEL_NOT_NEEDED, h->f->sections[i].head.line, "backend %s: no frontend that is taken leads to it",
                       h->f->sections[i].name);
}

/* A section that has no counterpart. */
static void drop_section(struct haproxy *h, const struct haproxy_section *of) {
    model_note(h->m, MODEL_NOT_NEEDED, of->head.line, "%s %s", of->kind, of->name);
    drop_addresses(h, of, of->head.line);
}

int convert_haproxy(struct model *m, struct span bytes, struct text *why) {
    static const char *const unused[] = {"userlist",    "peers", "mailers",   "program",     "http-errors", "cache", "fcgi-app",
                                         "log-forward", "ring",  "resolvers", "log-profile", "traces",      "acme"};
    struct haproxy_file f;
    int err = haproxy_read(bytes, &f, why);
    if (err)
        return err;
    struct haproxy h = {m, &f, last_global(&f), NULL, calloc(f.nsections + 1, sizeof(*h.reached))};
    MUST(h.reached);
    take_global(&h);
    for (size_t i = 0; i < f.nsections; i++) {
        const struct haproxy_section *s = &f.sections[i];
        bool fronts = strcmp(s->kind, "frontend") == 0 || strcmp(s->kind, "listen") == 0;
        if (fronts && strcmp(haproxy_word(haproxy_setting(s, "mode", NULL), 1), "http") == 0) {
            lose_line(&h, &s->head, "mode http: HAProxy reads HTTP there, tls-off passes bytes; with mode tcp it is taken");
            drop_addresses(&h, s, s->head.line);
        } else if (fronts)
            take_frontend(&h, s);
        else if (strcmp(s->kind, "global") == 0 || strcmp(s->kind, "defaults") == 0)
            take_settings(&h, s);
        else if (in_list(s->kind, unused, ARRAY_LEN(unused)))
            drop_section(&h, s);
        else if (strcmp(s->kind, "crt-store") == 0)
            lose_line(&h, &s->head, "name its files where they are used");
    }
    note_directives(&h);
    note_unreached(&h);
    free(h.reached);
    haproxy_free(&f);
    return 0;
}
