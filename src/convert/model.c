#include "convert/model.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

struct model_string {
    struct model_string *next;
    char text[];
};

struct model_note {
    struct model_note *next;
    enum model_loss loss;
    unsigned line;
    const char *text;
};

/* One key: its values as TOML. */
struct model_key {
    struct model_key *next;
    const char *table, *key;
    const char **values;
    size_t n;
    bool is_list;
};

struct model_service {
    struct model_service *next;
    const char *head; /* "service.NAME", "listener.\"ADDRESS\"", or "" */
    struct model_key *keys;
};

static void *take(size_t size) {
    void *p = calloc(1, size);
    MUST(p);
    return p;
}

static struct model_service *add_head(struct model *m, const char *head) {
    struct model_service **at = &m->services;
    while (*at)
        at = &(*at)->next;
    *at = take(sizeof(**at));
    (*at)->head = head;
    return *at;
}

static void free_keys(struct model_key *k) {
    while (k) {
        struct model_key *next = k->next;
        free(k->values);
        free(k);
        k = next;
    }
}

void model_fini(struct model *m) {
    for (struct model_service *s = m->services, *next; s; s = next) {
        next = s->next;
        free_keys(s->keys);
        free(s);
    }
    for (struct model_note *n = m->notes, *next; n; n = next) {
        next = n->next;
        free(n);
    }
    for (struct model_string *t = m->strings, *next; t; t = next) {
        next = t->next;
        free(t);
    }
    *m = (struct model){.file = NULL};
}

PRINTF_LIKE(2, 0) static const char *format_text(struct model *m, const char *fmt, va_list args) {
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    MUST(n >= 0);
    struct model_string *t = take(sizeof(*t) + (size_t)n + 1);
    (void)vsnprintf(t->text, (size_t)n + 1, fmt, again);
    va_end(again);
    t->next = m->strings;
    m->strings = t;
    return t->text;
}

const char *model_text(struct model *m, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    const char *text = format_text(m, fmt, args);
    va_end(args);
    return text;
}

/* Bytes of a UTF-8 sequence that TOML takes; 0 when there is none at P. */
static size_t sequence_len(const unsigned char *p) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (*p < 0x80)
        return *p >= 0x20 && *p != 0x7f;
    size_t n = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
    uint32_t c = *p & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    bool ok = *p >= 0xc2 && *p < 0xf5 && c >= least[n] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
    return ok ? n : 0;
}

/* TEXT with '?' for what is no character of a line. */
static const char *printable(struct model *m, const char *text) {
    char *to = take(strlen(text) + 1), *q = to;
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        size_t n = sequence_len(p);
        if (n) {
            memcpy(q, p, n);
            q += n;
            p += n;
        } else {
            *q++ = '?';
            p++;
        }
    }
    const char *ret = model_text(m, "%s", to);
    free(to);
    return ret;
}

/* A basic string of TOML. */
static const char *quoted(struct model *m, const char *text) {
    char *to = take(2 * strlen(text) + 3), *p = to;
    *p++ = '"';
    for (const char *c = printable(m, text); *c; c++) {
        if (*c == '"' || *c == '\\')
            *p++ = '\\';
        *p++ = *c;
    }
    *p++ = '"';
    *p = '\0';
    const char *ret = model_text(m, "%s", to);
    free(to);
    return ret;
}

void model_init(struct model *m, const char *file, const char *dir) {
    *m = (struct model){.dir = dir};
    m->file = printable(m, file);
    m->notes_end = &m->notes;
    m->top = add_head(m, "");
}

const char *model_path(struct model *m, const char *name) {
    return name[0] == '/' ? model_text(m, "%s", name) : model_text(m, "%s/%s", m->dir, name);
}

const char *model_address(struct model *m, const char *host, const char *port) {
    if (!host || !host[0] || strcmp(host, "*") == 0)
        return model_text(m, ":%s", port);
    bool bare6 = strchr(host, ':') && host[0] != '[';
    return model_text(m, bare6 ? "[%s]:%s" : "%s:%s", host, port);
}

const char *model_backend(struct model *m, const char *host, const char *port) {
    if (host && host[0] == '/')
        return model_text(m, "unix:%s", host);
    bool here = !host || !host[0] || strcmp(host, "*") == 0;
    return model_text(m, "tcp:%s", model_address(m, here ? "127.0.0.1" : host, port));
}

void model_note(struct model *m, enum model_loss loss, unsigned line, const char *fmt, ...) {
    va_list args;
    struct model_note *n = take(sizeof(*n));
    va_start(args, fmt);
    *n = (struct model_note){NULL, loss, line, printable(m, format_text(m, fmt, args))};
    va_end(args);
    for (const struct model_note *old = m->notes; old; old = old->next)
        if (old->line == line && strcmp(old->text, n->text) == 0) { /* of a part that is used twice */
            free(n);
            return;
        }
    *m->notes_end = n;
    m->notes_end = &n->next;
    m->lost += loss == MODEL_LOST;
}

void model_lose(struct model *m, const struct lexer_word *words, size_t n, const char *why) {
    char text[256];
    struct text t = text_of(text, sizeof(text));
    for (size_t i = 0; i < n; i++)
        text_addf(&t, "%s%s", i ? " " : "", words[i].text);
    model_note(m, MODEL_LOST, words[0].line, "%s%s%s", text, why ? ": " : "", why ? why : "");
}

/* ---- services and keys ---- */

static bool head_is_taken(const struct model *m, const char *head) {
    for (const struct model_service *s = m->services; s; s = s->next)
        if (strcmp(s->head, head) == 0)
            return true;
    return false;
}

struct model_service *model_add_service(struct model *m, const char *name) {
    char plain[32];
    size_t n = 0;
    for (const char *p = name; *p && n + 1 < sizeof(plain); p++)
        plain[n++] = isalnum((unsigned char)*p) || *p == '-' || *p == '_' ? *p : '-';
    plain[n] = '\0';
    const char *head = model_text(m, "service.%s", n ? plain : "main");
    for (unsigned i = 2; head_is_taken(m, head); i++)
        head = model_text(m, "service.%s-%u", n ? plain : "main", i);
    m->nservices++;
    return add_head(m, head);
}

struct model_service *model_top(struct model *m) {
    return m->top;
}

struct model_service *model_listener(struct model *m, const char *address) {
    const char *head = model_text(m, "listener.%s", quoted(m, address));
    for (struct model_service *s = m->services; s; s = s->next)
        if (strcmp(s->head, head) == 0)
            return s;
    return add_head(m, head);
}

static struct model_key *find_key(const struct model_service *s, const char *table, const char *key) {
    for (struct model_key *k = s->keys; k; k = k->next)
        if (strcmp(k->table, table) == 0 && strcmp(k->key, key) == 0)
            return k;
    return NULL;
}

/* TABLE and KEY are literals, or live as long as the model. */
static struct model_key *key_of(struct model_service *s, const char *table, const char *key) {
    struct model_key *found = find_key(s, table, key), **at = &s->keys;
    if (found)
        return found;
    while (*at)
        at = &(*at)->next;
    *at = take(sizeof(**at));
    (*at)->table = table;
    (*at)->key = key;
    return *at;
}

static void push(struct model_key *k, const char *toml) {
    for (size_t i = 0; i < k->n; i++)
        if (strcmp(k->values[i], toml) == 0)
            return;
    const char **grown = realloc(k->values, (k->n + 1) * sizeof(*grown));
    MUST(grown);
    k->values = grown;
    k->values[k->n++] = toml;
}

void model_inherit(struct model_service *to, const struct model_service *from, const char *key) {
    for (const struct model_key *k = from->keys; k; k = k->next) {
        if (model_has(to, k->table, k->key) || (!k->table[0] && strcmp(k->key, key) == 0))
            continue;
        struct model_key *copy = key_of(to, k->table, k->key);
        copy->is_list = k->is_list;
        for (size_t i = 0; i < k->n; i++)
            push(copy, k->values[i]);
    }
}

bool model_has_keys(const struct model_service *s) {
    for (const struct model_key *k = s->keys; k; k = k->next)
        if (k->n)
            return true;
    return false;
}

void model_clear(struct model *m, struct model_service *s) {
    for (struct model_key *k = s->keys; k; k = k->next)
        k->n = 0;
    m->nservices--;
}

void model_set_raw(struct model *m, struct model_service *s, const char *table, const char *key, const char *toml) {
    struct model_key *k = key_of(s, table, key);
    k->n = 0;
    push(k, model_text(m, "%s", toml));
}

void model_set(struct model *m, struct model_service *s, const char *table, const char *key, const char *text) {
    model_set_raw(m, s, table, key, quoted(m, text));
}

void model_set_number(struct model *m, struct model_service *s, unsigned line, const char *table, const char *key,
                      const char *text) {
    uint64_t n;
    if (text_parse_u64(text, INT32_MAX, &n) == 0)
        model_set_raw(m, s, table, key, model_text(m, "%llu", (unsigned long long)n));
    else
        model_note(m, MODEL_LOST, line, "found \"%s\", expected a number, for \"%s\"", text, key);
}

void model_add(struct model *m, struct model_service *s, const char *table, const char *key, const char *text) {
    struct model_key *k = key_of(s, table, key);
    k->is_list = true;
    push(k, quoted(m, text));
}

void model_add_cert(struct model *m, struct model_service *s, const char *cert, const char *key, const char *passphrase) {
    struct model_key *k = key_of(s, "", "certificates");
    k->is_list = true;
    if (!key)
        push(k, quoted(m, cert));
    else if (!passphrase)
        push(k, model_text(m, "{ cert = %s, key = %s }", quoted(m, cert), quoted(m, key)));
    else
        push(k,
             model_text(m, "{ cert = %s, key = %s, passphrase = %s }", quoted(m, cert), quoted(m, key), quoted(m, passphrase)));
}

bool model_has(const struct model_service *s, const char *table, const char *key) {
    const struct model_key *k = find_key(s, table, key);
    return k && k->n > 0;
}

void model_unset(struct model_service *s, const char *table, const char *key) {
    struct model_key *k = find_key(s, table, key);
    if (k)
        k->n = 0;
}

const char *model_duration(struct model *m, const char *text, const char *plain) {
    size_t digits = strspn(text, "0123456789");
    const char *unit = text[digits] ? text + digits : plain;
    uint64_t n;
    if (!digits || text_parse_u64(model_text(m, "%.*s", (int)digits, text), UINT32_MAX, &n) < 0)
        return NULL;
    if (n == 0)
        return "none";
    if (strcmp(unit, "d") == 0)
        return model_text(m, "%lluh", (unsigned long long)n * 24);
    if (strcmp(unit, "us") == 0)
        return model_text(m, "%llums", (unsigned long long)(n + 999) / 1000);
    static const char *const units[] = {"ms", "s", "m", "h"};
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strcmp(unit, units[i]) == 0)
            return model_text(m, "%llu%s", (unsigned long long)n, unit);
    return NULL;
}

void model_unset_table(struct model_service *s, const char *table) {
    for (struct model_key *k = s->keys; k; k = k->next)
        if (strcmp(k->table, table) == 0)
            k->n = 0;
}

/* ---- writing ---- */

static void write_key(FILE *to, const struct model_key *k) {
    fprintf(to, "%s = ", k->key);
    if (!k->is_list) {
        fprintf(to, "%s\n", k->values[0]);
        return;
    }
    bool lines = k->n > 3;
    fputs(lines ? "[\n" : "[", to);
    for (size_t i = 0; i < k->n; i++)
        fprintf(to, "%s%s%s", lines ? "    " : i ? ", " : "", k->values[i], lines ? ",\n" : "");
    fputs("]\n", to);
}

static void write_tables(FILE *to, const struct model_service *s) {
    for (const struct model_key *k = s->keys; k; k = k->next) {
        bool first = k->n && k->table[0];
        for (const struct model_key *before = s->keys; first && before != k; before = before->next)
            first = !(before->n && strcmp(before->table, k->table) == 0);
        if (!first)
            continue;
        fprintf(to, "\n[%s%s%s]\n", s->head, s->head[0] ? "." : "", k->table);
        for (const struct model_key *same = k; same; same = same->next)
            if (same->n && strcmp(same->table, k->table) == 0)
                write_key(to, same);
    }
}

static void write_head(FILE *to, const struct model_service *s) {
    if (!model_has_keys(s))
        return;
    if (s->head[0])
        fprintf(to, "\n[%s]\n", s->head);
    for (const struct model_key *k = s->keys; k; k = k->next)
        if (k->n && !k->table[0])
            write_key(to, k);
    write_tables(to, s);
}

static void write_note(FILE *to, const struct model *m, const struct model_note *n, const char *before) {
    fprintf(to, "%s%s:%u: %s: %s\n", before, m->file, n->line, n->loss == MODEL_LOST ? "not taken" : "not needed", n->text);
}

void model_write(const struct model *m, FILE *to) {
    fprintf(to, "# Converted from %s by `tls-off convert`; look at it before you use it: tls-off check FILE\n", m->file);
    for (const struct model_note *n = m->notes; n; n = n->next)
        write_note(to, m, n, "# ");
    for (const struct model_service *s = m->services; s; s = s->next)
        write_head(to, s);
}

void model_write_notes(const struct model *m, FILE *to) {
    for (const struct model_note *n = m->notes; n; n = n->next)
        write_note(to, m, n, "");
}
