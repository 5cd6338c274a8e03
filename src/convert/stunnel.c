/* stunnel(8): global options, then a section a service. Options of the global part are the defaults of all sections. */
#include "convert/stunnel.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "convert/named_file.h"
#include "convert/readers.h"

#define INCLUDES_MAX 4096 /* directories and files */

static struct stunnel_section *done_section(const struct stunnel *t, const char *name) {
    for (size_t i = 0; i < t->ndone; i++)
        if (strcasecmp(t->done[i].name, name) == 0)
            return &t->done[i];
    return NULL;
}

/* A service that shares another's addresses, and takes what it does not say itself from it. */
static void share_addresses(struct stunnel *t, struct stunnel_section *s) {
    struct stunnel_section *master = done_section(t, s->master);
    if (!master) {
        model_note(t->m, MODEL_LOST, s->line, "[%s]: sni names the service %s, which is not above", s->name, s->master);
        return;
    }
    s->cert = s->cert ? s->cert : master->cert;
    s->key = s->key ? s->key : master->key;
    model_inherit(s->s, master->s, "names");
    master->is_master = true;
    master->any_is_taken = master->any_is_taken || s->is_any;
}

/* Why the section becomes no service; NULL when it does. */
static const char *not_served(const struct stunnel_section *s) {
    if (s->is_client)
        return "client = yes: tls-off does not begin TLS itself";
    if (!s->has_connect)
        return "no \"connect\": only addresses are passed to";
    if (s->has_psk && (!s->cert || (s->ciphers && strcasestr(s->ciphers, "PSK"))))
        return "clients are known by a PSK, which tls-off does not have: without it everybody would be let in";
    return NULL;
}

static void end_section(struct stunnel *t) {
    struct stunnel_section *s = &t->now;
    if (!s->name)
        return;
    const char *why = not_served(s);
    if (why) {
        model_note(t->m, MODEL_LOST, s->line, "[%s]: %s", s->name, why);
        if (s->master)
            share_addresses(t, s);
        model_drop(s->s, s->line);
        return;
    }
    if (s->master)
        share_addresses(t, s);
    if (s->cert)
        model_add_cert(t->m, s->s, s->cert, s->key ? s->key : s->cert, NULL);
    if (s->require && !s->chain && !s->peer)
        model_note(t->m, MODEL_LOST, s->require_line,
                   "requireCert without verifyChain: only certificates of CAfile are let in, not just any");
    s->verify = s->require ? "required" : s->chain || s->peer ? "optional" : NULL;
    if (s->verify)
        model_set(t->m, s->s, "client_auth", "mode", s->verify);
    else
        model_unset_table(s->s, "client_auth");
    for (size_t i = 0; i < STUNNEL_LOSSES; i++)
        if (s->lost[i] && (s->verify || i < STUNNEL_CERTIFICATES))
            model_guard_lost(s->s, s->lost[i]);
    model_suites(t->m, s->s, s->line, s->ciphers, s->suites);
    struct stunnel_section *grown = realloc(t->done, (t->ndone + 1) * sizeof(*grown));
    MUST(grown);
    t->done = grown;
    t->done[t->ndone++] = *s;
}

static void begin_section(struct stunnel *t, const char *name, unsigned line) {
    end_section(t);
    const struct model_service *defaults = t->defaults.s;
    t->now = t->defaults;
    t->now.name = name;
    t->now.line = line;
    t->now.s = model_add_service(t->m, name, line);
    model_inherit(t->now.s, defaults, "");
}

static char *trim(char *s) {
    s += strspn(s, " \t\r");
    size_t n = strlen(s);
    while (n && strchr(" \t\r", s[n - 1]))
        s[--n] = '\0';
    return s;
}

static int include_directory(struct stunnel *t, const char *name, unsigned line, struct text *why);

static int read_line(struct stunnel *t, char *text, unsigned line, struct text *why) {
    char *s = trim(text), *end, *equals = strchr(s, '=');
    if (!*s || *s == ';' || *s == '#')
        return 0;
    if (*s == '[' && (end = strchr(s, ']'))) {
        *end = '\0';
        begin_section(t, model_text(t->m, "%s", trim(s + 1)), line);
        return 0;
    }
    if (!equals) {
        text_addf(why, "line %u: found \"%s\", expected \"option = value\" or \"[service]\"", line % NAMED_FILE_LINES, s);
        return ERR_FORMAT;
    }
    *equals = '\0';
    const char *name = model_text(t->m, "%s", trim(s)), *v = model_text(t->m, "%s", trim(equals + 1));
    if (strcasecmp(name, "include") == 0)
        return include_directory(t, v, line, why);
    stunnel_take_option(t, t->now.name ? &t->now : &t->defaults, name, v, line);
    return 0;
}

static int read_lines(struct stunnel *t, struct span bytes, unsigned line, struct text *why) {
    struct span text;
    int err = 0;
    if (span_has_prefix(bytes, "\xef\xbb\xbf"))
        bytes = span_of(bytes.p + 3, bytes.len - 3);
    for (; !err && span_take_line(&bytes, &text); line++) {
        char *copy = strndup((const char *)text.p, text.len);
        MUST(copy);
        err = read_line(t, copy, line, why);
        free(copy);
    }
    return err;
}

static int is_shown(const struct dirent *d) {
    return d->d_name[0] != '.';
}

/* Whether the directory, or one more file, may be read. */
static bool may_include(struct stunnel *t, const char *path) {
    t->is_endless = t->is_endless || ++t->nincluded > INCLUDES_MAX;
    for (const struct stunnel_directory *d = t->reads; d; d = d->outer)
        t->is_endless = t->is_endless || strcmp(d->path, path) == 0;
    return !t->is_endless;
}

/* A file of an included directory; one that is no such file is noted, and what it had before the fault is taken. */
static void include_of_directory(struct stunnel *t, const char *name, const char *file, unsigned line, struct text *why) {
    struct span bytes;
    unsigned first;
    const char *path = model_text(t->m, "%s/%s", t->reads->path, file);
    if (named_file_read(t->m, path, &bytes, &first, why) == 0 && read_lines(t, bytes, first, why) == 0)
        return;
    if (t->is_endless)
        return;
    model_note(t->m, MODEL_LOST, line, "include = %s: %s: %s", name, file, why->p);
    model_guard_lost(t->now.name ? t->now.s : t->defaults.s, line); /* what follows may be about clients */
}

/* The files of a directory, by their names. ERR_FORMAT for one that includes itself. */
static int include_directory(struct stunnel *t, const char *name, unsigned line, struct text *why) {
    const struct stunnel_directory now = {t->reads, model_path(t->m, name)};
    struct dirent **found = NULL;
    int n = may_include(t, now.path) ? scandir(now.path, &found, is_shown, alphasort) : 0;
    if (n < 0) {
        model_note(t->m, MODEL_LOST, line, "include = %s: the directory cannot be read", name);
        model_guard_lost(t->now.name ? t->now.s : t->defaults.s, line);
    }
    t->reads = &now;
    for (int i = 0; i < n; i++) {
        char reason[512];
        struct text its = text_of(reason, sizeof(reason));
        t->is_endless = t->is_endless || ++t->nincluded > INCLUDES_MAX;
        if (!t->is_endless)
            include_of_directory(t, name, found[i]->d_name, line, &its);
        free(found[i]);
    }
    t->reads = now.outer;
    free(found);
    if (!t->is_endless)
        return 0;
    if (!why->len)
        text_addf(why, "line %u: found \"include = %s\" within itself, or more than %d files", line % NAMED_FILE_LINES, name,
                  INCLUDES_MAX);
    return ERR_FORMAT;
}

/* Who asks for nothing of those that share its addresses stays with a service. */
static void add_other_names(struct stunnel *t) {
    for (size_t i = 0; i < t->ndone; i++)
        if (t->done[i].is_master && t->done[i].any_is_taken)
            model_add(t->m, t->done[i].s, "", "names", "");
        else if (t->done[i].is_master)
            model_add_any_name(t->m, t->done[i].s);
}

int convert_stunnel(struct model *m, struct span bytes, struct text *why) {
    struct stunnel t = {.m = m};
    t.defaults.s = model_add_service(m, "defaults", 1);
    model_set(m, t.defaults.s, "timeouts", "idle", "12h"); /* stunnel's default */
    int err = read_lines(&t, bytes, 1, why);
    end_section(&t);
    add_other_names(&t);
    model_clear(t.defaults.s);
    free(t.done);
    return err;
}
