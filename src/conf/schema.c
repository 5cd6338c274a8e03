#include "conf/schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/tcp_options.h"
#include "base/text.h"
#include "conf/acme_keys.h"
#include "conf/acme_ways.h"
#include "conf/admin_keys.h"
#include "conf/bare_text.h"
#include "conf/key_table.h"
#include "conf/keylog.h"
#include "conf/listen_address.h"
#include "conf/lists.h"
#include "conf/report.h"
#include "conf/scalars.h"
#include "conf/store_keys.h"
#include "conf/suggestion.h"

#define NAMES_MAX   (KEY_COUNT + 8)
#define SECTION_MAX 64 /* longest section of the table, and then some */

void reading_refuse(struct reading *r, const struct toml_node *node, const char *expected_fmt, ...) {
    char shown[VALUE_SHOWN_MAX], expected[512];
    va_list args;
    va_start(args, expected_fmt);
    (void)vsnprintf(expected, sizeof(expected), expected_fmt, args); /* cut is fine in a message */
    va_end(args);
    load_error(r->l, node->at, r->key, "found %s, expected %s", value_shown(node, shown), expected);
}

static void read_log_target(struct reading *r, const struct toml_node *node) {
    static const struct word targets[] = {{"stderr", LOG_TO_STDERR},
                                          {"stdout", LOG_TO_STDOUT},
                                          {"syslog", LOG_TO_SYSLOG},
                                          {"journal", LOG_TO_JOURNAL},
                                          {NULL, 0}};
    struct conf *c = r->l->conf;
    int v = value_word(targets, node->string);
    if (v >= 0) {
        c->log_target = (enum log_target)v;
        return;
    }
    const char *path = node->string[0] ? load_path(r->l, node->string) : NULL;
    if (!path) {
        reading_refuse(r, node, "\"stderr\", \"stdout\", \"journal\", \"syslog\" or a file name");
        return;
    }
    c->log_target = LOG_TO_FILE;
    c->log_file = path;
}

#define TOP(m)      .offset = offsetof(struct conf, m), .size = sizeof(((struct conf *)0)->m)
#define SERVICE(m)  .offset = offsetof(struct conf_service, m), .size = sizeof(((struct conf_service *)0)->m)
#define LISTENER(m) .offset = offsetof(struct conf_listener, m), .size = sizeof(((struct conf_listener *)0)->m)
#define OWN(kind, reader)                                                                                                      \
    &(const struct key_type) {                                                                                                 \
        (kind), (kind), false, (reader), NULL                                                                                  \
    }
#define WORDS(...)                                                                                                             \
    (const struct word[]) {                                                                                                    \
        __VA_ARGS__, {                                                                                                         \
            NULL, 0                                                                                                            \
        }                                                                                                                      \
    }
#define ROW(key, p, t, ...) [key] = {.path = (p), .type = (t), __VA_ARGS__},

const struct key_row key_rows[KEY_COUNT] = {KEY_TABLE(ROW)};

const char *key_scope(const struct key_row *row) {
    return strncmp(row->path, "service.*.", 10) == 0    ? "service.*"
           : strncmp(row->path, "listener.*.", 11) == 0 ? "listener.*"
                                                        : "";
}

/* A section being walked: its path in the table ("service.*.limits") and as the operator wrote it ("service.web.limits"). */
struct section {
    const char *path;
    const char *shown;
    size_t service;  /* SIZE_MAX outside services */
    size_t listener; /* SIZE_MAX outside listeners */
};

/* What follows the section in a row's path: "sessions" of "service.*.limits.sessions"; NULL when the row is elsewhere. */
static const char *key_below(const char *row_path, const char *section) {
    size_t n = strlen(section);
    if (n == 0)
        return row_path;
    return strncmp(row_path, section, n) == 0 && row_path[n] == '.' ? row_path + n + 1 : NULL;
}

/* The names that may be directly in a section, each once, ended by NULL. Names of sections are copied into STORE. */
static void known_names(const char *section, char store[NAMES_MAX][SECTION_MAX], const char *names[static NAMES_MAX + 1]) {
    size_t n = 0;
    for (size_t k = 0; k < KEY_COUNT; k++) {
        const char *rest = key_below(key_rows[k].path, section);
        size_t len = rest ? strcspn(rest, ".") : 0;
        if (!rest || len >= SECTION_MAX)
            continue;
        memcpy(store[n], rest, len);
        store[n][len] = 0;
        bool seen = false;
        for (size_t i = 0; i < n; i++)
            seen = seen || strcmp(names[i], store[n]) == 0;
        if (!seen) {
            names[n] = store[n];
            n++;
        }
    }
    names[n] = NULL;
}

/* Whether WORD is one of the parts of NAME: "mode" of "socket_mode". */
static bool has_part(const char *name, const char *word) {
    size_t n = strlen(word);
    for (const char *p = name; n && (p = strstr(p, word)); p++)
        if ((p == name || p[-1] == '_') && (p[n] == 0 || p[n] == '_'))
            return true;
    return false;
}

/* Which of NAMES a word was meant to be; NULL = cannot be said. SURE: that one and no other, wherever there may be others. */
static const char *nearest_name(const char *word, const char *const *names, bool sure) {
    struct suggestion near = {.word = word};
    const char *with_part = NULL;
    size_t parts = 0;
    for (size_t i = 0; names[i]; i++) {
        suggestion_offer(&near, names[i]);
        if (has_part(names[i], word)) {
            with_part = names[i];
            parts++;
        }
    }
    const char *best = suggestion_get(&near);
    if (best && near.distance <= 1)
        return best;
    return parts == 1 ? with_part : sure ? NULL : best;
}

void reading_unknown_key(struct load *l, const struct toml_node *node, const char *section, const char *const *names) {
    char key[CONF_KEY_TEXT_MAX], all[512];
    struct text t = text_of(key, sizeof(key)), a = text_of(all, sizeof(all));
    for (size_t i = 0; names[i]; i++)
        text_addf(&a, "%s\"%s\"", i == 0 ? "" : names[i + 1] ? ", " : " or ", names[i]);
    text_addf(&t, "%s%s%.100s", section, section[0] ? "." : "", node->key);
    const char *best = nearest_name(node->key, names, false);
    if (best)
        load_error(l, node->key_at, key, "found an unknown key, expected \"%s\"", best);
    else
        load_error(l, node->key_at, key, "found an unknown key, expected %s", all);
}

/* The row whose last part is NAME: that of a service when there are several, which is what most keys are about. */
static const char *find_elsewhere(const char *name) {
    const char *found = NULL;
    for (size_t k = 0; k < KEY_COUNT; k++) {
        const char *path = key_rows[k].path, *last = strrchr(path, '.');
        if (strcmp(last ? last + 1 : path, name) != 0)
            continue;
        if (!found || strncmp(found, "service.*", 9) != 0)
            found = path;
    }
    return found;
}

/* A key that exists, but in another section: a better hint than a name here that is only somewhat like it. */
static bool belongs_elsewhere(struct load *l, const struct toml_node *node, const struct section *s) {
    const char *path = find_elsewhere(node->key), *last = path ? strrchr(path, '.') : NULL;
    char key[CONF_KEY_TEXT_MAX];
    struct text t = text_of(key, sizeof(key));
    if (!path)
        return false;
    text_addf(&t, "%s%s%.100s", s->shown, s->shown[0] ? "." : "", node->key);
    bool of_service = strncmp(path, "service.*", 9) == 0, of_listener = strncmp(path, "listener.*", 10) == 0;
    size_t scope = of_service ? 9 : of_listener ? 10 : 0;
    if (!last)
        load_error(l, node->key_at, key, "found an unknown key, expected \"%s\" above all sections", node->key);
    else
        load_error(l, node->key_at, key, "found an unknown key, expected \"%s\" in [%s%.*s]", node->key,
                   of_service    ? "service.NAME"
                   : of_listener ? "listener.\"ADDRESS\""
                                 : "",
                   (int)((size_t)(last - path) - scope), path + scope);
    return true;
}

static void unknown_key(struct load *l, const struct toml_node *node, const struct section *s) {
    char store[NAMES_MAX][SECTION_MAX];
    const char *names[NAMES_MAX + 1];
    known_names(s->path, store, names);
    if (nearest_name(node->key, names, true) || !belongs_elsewhere(l, node, s))
        reading_unknown_key(l, node, s->shown, names);
}

static void add_expected_kind(const struct key_row *row, struct text *t) {
    const struct key_type *type = row->type;
    if (row->words)
        value_words_text(row->words, t);
    else
        text_addf(t, "%s%s%s", value_kind(type->kind), type->kind == type->or_kind ? "" : " or ",
                  type->kind == type->or_kind ? "" : value_kind(type->or_kind));
}

/* A value of the wrong type. */
static void refuse_kind(struct reading *r, const struct toml_node *node) {
    char expected[256];
    struct text t = text_of(expected, sizeof(expected));
    add_expected_kind(r->row, &t);
    reading_refuse(r, node, "%s", expected);
}

static void read_key_value(struct load *l, enum conf_key k, const struct toml_node *node, const struct section *s) {
    const struct key_row *row = &key_rows[k];
    struct reading r = {.l = l, .row = row};
    if (s->listener != SIZE_MAX) {
        r.key = load_listener_key(l, s->listener, k);
        r.base = &l->conf->listeners[s->listener];
        l->listeners[s->listener].node[k] = node;
    } else if (s->service == SIZE_MAX) {
        r.key = load_top_key(k);
        r.base = l->conf;
        l->node[k] = node;
    } else {
        r.key = load_key(l, s->service, k);
        r.service = &l->conf->services[s->service];
        r.origin = &l->services[s->service];
        r.origin->node[k] = node;
        r.base = r.service;
    }
    if (node->kind == row->type->kind || node->kind == row->type->or_kind)
        row->type->read(&r, node);
    else
        refuse_kind(&r, node);
}

static bool is_section(const char *path) {
    for (size_t k = 0; k < KEY_COUNT; k++)
        if (key_below(key_rows[k].path, path))
            return true;
    return false;
}

static enum conf_key key_at_path(const char *path) {
    for (size_t k = 0; k < KEY_COUNT; k++)
        if (strcmp(key_rows[k].path, path) == 0)
            return (enum conf_key)k;
    return KEY_COUNT;
}

static void walk_services(struct load *l, const struct toml_node *table);

/* Sections lie at most three deep, so does this recursion. */
static void read_section(struct load *l, const struct toml_node *table, const struct section *s) {
    for (size_t i = 0; i < table->nchildren; i++) {
        const struct toml_node *n = &table->children[i];
        char path[SECTION_MAX], shown[CONF_KEY_TEXT_MAX];
        struct text p = text_of(path, sizeof(path)), t = text_of(shown, sizeof(shown));
        const char *dot = s->path[0] ? "." : "";
        text_addf(&p, "%s%s%s", s->path, dot, n->key);
        text_addf(&t, "%s%s%.100s", s->shown, dot, n->key);
        enum conf_key k = p.cut || strchr(n->key, '.') || strchr(n->key, '*') ? KEY_COUNT : key_at_path(path);
        bool section = !p.cut && !strchr(n->key, '.') && !strchr(n->key, '*') && n->key[0] && is_section(path);

        if (k != KEY_COUNT)
            read_key_value(l, k, n, s);
        else if (!section)
            unknown_key(l, n, s);
        else if (n->kind != TOML_TABLE)
            load_error(l, n->at, shown, "found %s, expected a section [%s%s]", n->kind == TOML_ARRAY ? "an array" : "a value",
                       shown,
                       strcmp(path, "service") == 0    ? ".NAME"
                       : strcmp(path, "listener") == 0 ? ".\"ADDRESS\""
                                                       : "");
        else if (strcmp(path, "service") == 0)
            walk_services(l, n);
        else if (strcmp(path, "listener") == 0)
            l->listener_sections = n; /* when the services have said where they listen */
        else
            read_section(l, n, &(struct section){path, shown, s->service, s->listener});
    }
}

static bool is_service_name(const char *s) {
    size_t n = strnlen(s, 65);
    return n >= 1 && n <= 64 && s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_-")] == 0;
}

static void walk_services(struct load *l, const struct toml_node *table) {
    struct conf *c = l->conf;
    size_t n = MIN(table->nchildren, SERVICES_MAX);
    if (table->nchildren > SERVICES_MAX)
        load_error(l, table->at, "service", "found %zu services, expected at most %d", table->nchildren, SERVICES_MAX);
    c->services = conf_alloc(c, (n + SERVICES_OWN) * sizeof(*c->services));
    l->services = conf_alloc(c, (n + SERVICES_OWN) * sizeof(*l->services));
    for (size_t i = 0; i < n; i++) {
        const struct toml_node *node = &table->children[i];
        char shown[CONF_KEY_TEXT_MAX];
        struct text t = text_of(shown, sizeof(shown));
        text_addf(&t, "service.%.100s", node->key);
        if (node->kind != TOML_TABLE) {
            load_error(l, node->at, shown, "found a value, expected a section [service.NAME]");
            continue;
        }
        if (!is_service_name(node->key)) {
            load_error(l, node->key_at, shown, "found \"%.100s\", expected a name of 1 to 64 of a-z, 0-9, '_' and '-'",
                       node->key);
            continue;
        }
        struct conf_service *s = &c->services[c->nservices];
        scalar_defaults("service.*", s);
        s->name = conf_strdup(c, node->key);
        l->services[c->nservices].at = node->at;
        read_section(l, node, &(struct section){"service.*", shown, c->nservices++, SIZE_MAX});
    }
}

/* No service listens there: the nearest address where one does, or some of them. */
static void unknown_listener(struct load *l, const struct toml_node *node, const char *name, const char *shown) {
    char all[256];
    struct suggestion near = {.word = name};
    struct text t = text_of(all, sizeof(all));
    for (size_t i = 0; i < l->conf->nlisteners; i++) {
        suggestion_offer(&near, l->conf->listeners[i].name);
        text_addf(&t, "%s\"%s\"", i ? ", " : "", l->conf->listeners[i].name);
    }
    const char *best = suggestion_get(&near);
    if (best)
        load_error(l, node->key_at, shown, "found an address where no service listens, expected \"%s\"", best);
    else
        load_error(l, node->key_at, shown, "found an address where no service listens, expected one of %s%s",
                   all[0] ? all : "the services' \"listen\"", t.cut ? "..." : "");
}

/* Several of one address (port 0) have one section: what the first one read is copied. */
static void copy_listener(struct load *l, size_t from, size_t to) {
    struct conf_listener *c = l->conf->listeners;
    const struct origin first = l->listeners[to].first;
    c[to] = c[from];
    l->listeners[to] = l->listeners[from];
    l->listeners[to].first = first;
}

static void walk_listener(struct load *l, const struct toml_node *node, const char *shown) {
    struct conf_listener wanted = {0};
    char expected[256];
    struct text why = text_of(expected, sizeof(expected));
    size_t found = SIZE_MAX;
    if (load_listen_address(l, node->key, &wanted, &why) != 0) {
        load_error(l, node->key_at, shown, "found \"%.100s\", expected %s, in quotes", node->key, expected);
        return;
    }
    for (size_t i = 0; i < l->conf->nlisteners; i++) {
        if (!load_same_listener(&l->conf->listeners[i], &wanted))
            continue;
        if (found != SIZE_MAX) {
            copy_listener(l, found, i);
            continue;
        }
        found = i;
        if (l->listeners[i].at.line) {
            load_error(l, node->key_at, shown, "found the same address again, expected one section for \"%s\"", wanted.name);
            return;
        }
        l->listeners[i].at = node->at;
        read_section(l, node, &(struct section){"listener.*", shown, SIZE_MAX, i});
    }
    if (found == SIZE_MAX)
        unknown_listener(l, node, wanted.name, shown);
}

static void walk_listeners(struct load *l, const struct toml_node *table) {
    for (size_t i = 0; i < table->nchildren; i++) {
        const struct toml_node *node = &table->children[i];
        char shown[CONF_KEY_TEXT_MAX];
        struct text t = text_of(shown, sizeof(shown));
        text_addf(&t, "listener.\"%.100s\"", node->key);
        if (node->kind == TOML_TABLE)
            walk_listener(l, node, shown);
        else
            load_error(l, node->at, shown, "found a value, expected a section [listener.\"ADDRESS\"]");
    }
}

/* The row of "service.web.mode"; NULL = none. */
static const struct key_row *row_of(const char *key) {
    const char *scopes[] = {"service.", "listener."};
    char path[CONF_KEY_TEXT_MAX];
    struct text t = text_of(path, sizeof(path));
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++)
        if (strncmp(key, scopes[i], strlen(scopes[i])) == 0) {
            const char *name = key + strlen(scopes[i]), *rest = i ? strrchr(name, '.') : strchr(name, '.');
            text_addf(&t, "%s*%s", scopes[i], rest ? rest : "");
        }
    enum conf_key k = key_at_path(t.len ? path : key);
    return k == KEY_COUNT ? NULL : &key_rows[k];
}

/* What is no TOML: mostly a text without its quotes. */
static void refuse_text(struct load *l, const char *text, size_t len, const struct toml_fault *fault) {
    struct bare_text b;
    char expected[256];
    struct text t = text_of(expected, sizeof(expected));
    if (!bare_text_find(text, len, fault, &b)) {
        load_error(l, fault->at, NULL, "%s", fault->text);
        return;
    }
    const struct key_row *row = row_of(b.key);
    bool takes_text = !row || row->type->kind == TOML_STRING || row->type->or_kind == TOML_STRING ||
                      row->type->kind == TOML_ARRAY || row->type->kind == TOML_TABLE;
    if (row && (row->words || !takes_text))
        add_expected_kind(row, &t);
    else
        text_addf(&t, "a text in quotes, \"%s\"", b.word);
    load_error(l, b.at, b.key[0] ? b.key : NULL, "found %s, expected %s", b.word, expected);
}

bool load_schema(struct load *l, const char *text, size_t len) {
    struct toml_fault fault;
    l->root = toml_read(text, len, &fault);
    if (!l->root) {
        refuse_text(l, text, len, &fault);
        return false;
    }
    read_section(l, l->root, &(struct section){"", "", SIZE_MAX, SIZE_MAX});
    if (l->listener_sections)
        walk_listeners(l, l->listener_sections);
    return true;
}
