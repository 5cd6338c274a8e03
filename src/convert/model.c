#include "convert/model.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "convert/model_parts.h"
#include "convert/named_file.h"

static void *model_alloc(size_t size) {
    void *p = calloc(1, size);
    MUST(p);
    return p;
}

static struct model_service *add_head(struct model *m, const char *head) {
    struct model_service **at = &m->services;
    while (*at)
        at = &(*at)->next;
    *at = model_alloc(sizeof(**at));
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
    named_file_free(m);
    *m = (struct model){.file = NULL};
}

PRINTF_LIKE(2, 0) static const char *format_text(struct model *m, const char *fmt, va_list args) {
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    MUST(n >= 0);
    struct model_string *t = model_alloc(sizeof(*t) + (size_t)n + 1);
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
    char *to = model_alloc(strlen(text) + 1), *q = to;
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
    char *to = model_alloc(2 * strlen(text) + 3), *p = to;
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
    m->top = add_head(m, "");
}

const char *model_path(struct model *m, const char *name) {
    return name[0] == '/' ? model_text(m, "%s", name) : model_text(m, "%s/%s", m->dir, name);
}

void model_note(struct model *m, enum model_loss loss, unsigned line, const char *fmt, ...) {
    va_list args;
    struct model_note *n = model_alloc(sizeof(*n));
    DEBUG_ASSERT(line > 0);
    va_start(args, fmt);
    *n = (struct model_note){NULL, loss, line, printable(m, format_text(m, fmt, args))};
    va_end(args);
    struct model_note **at = m->last_note && m->last_note->line < line ? &m->last_note->next : &m->notes;
    for (; *at && (*at)->line <= line; at = &(*at)->next)
        if ((*at)->line == line && strcmp((*at)->text, n->text) == 0) { /* of a part that is used twice */
            free(n);
            return;
        }
    n->next = *at;
    *at = m->last_note = n;
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

struct model_service *model_add_service(struct model *m, const char *name, unsigned line) {
    char plain[32];
    size_t n = 0;
    for (const char *p = name; *p && n + 1 < sizeof(plain); p++)
        plain[n++] = isalnum((unsigned char)*p) || *p == '_' ? (char)tolower((unsigned char)*p) : '-';
    plain[n] = '\0';
    const char *head = model_text(m, "service.%s", n ? plain : "main");
    for (unsigned i = 2; head_is_taken(m, head); i++)
        head = model_text(m, "service.%s-%u", n ? plain : "main", i);
    struct model_service *s = add_head(m, head);
    s->line = line;
    return s;
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
static struct model_key *model_key_of(struct model_service *s, const char *table, const char *key) {
    struct model_key *found = find_key(s, table, key), **at = &s->keys;
    if (found)
        return found;
    while (*at)
        at = &(*at)->next;
    *at = model_alloc(sizeof(**at));
    (*at)->table = table;
    (*at)->key = key;
    return *at;
}

static void push_value(struct model_key *k, const char *toml) {
    for (size_t i = 0; i < k->n; i++)
        if (strcmp(k->values[i], toml) == 0)
            return;
    const char **grown = realloc(k->values, (k->n + 1) * sizeof(*grown));
    MUST(grown);
    k->values = grown;
    k->values[k->n++] = toml;
}

void model_guard_lost(struct model_service *s, unsigned line) {
    if (!s->guard_line)
        s->guard_line = line;
}

void model_drop(struct model_service *s, unsigned line) {
    if (!s->drop_line)
        s->drop_line = line;
}

void model_lose_name(struct model_service *s, unsigned line) {
    if (!s->lost_name)
        s->lost_name = line;
}

bool model_loses_name(const struct model_service *s) {
    return s->lost_name > 0;
}

bool model_keeps_out(const struct model_service *s) {
    return s->guard_line || model_has(s, "access", "allow") || model_has(s, "access", "deny") ||
           model_has(s, "client_auth", "mode");
}

void model_refuse(struct model_service *s, unsigned line) {
    model_guard_lost(s, line);
    s->refuses = true;
}

void model_inherit(struct model_service *to, const struct model_service *from, const char *key) {
    model_guard_lost(to, from->guard_line);
    model_drop(to, from->drop_line);
    if (strcmp(key, "names") != 0)
        model_lose_name(to, from->lost_name);
    for (const struct model_key *k = from->keys; k; k = k->next) {
        if (model_has(to, k->table, k->key) || (!k->table[0] && strcmp(k->key, key) == 0))
            continue;
        struct model_key *copy = model_key_of(to, k->table, k->key);
        copy->is_list = k->is_list;
        for (size_t i = 0; i < k->n; i++)
            push_value(copy, k->values[i]);
    }
}

bool model_has_keys(const struct model_service *s) {
    for (const struct model_key *k = s->keys; k; k = k->next)
        if (k->n)
            return true;
    return false;
}

void model_clear(struct model_service *s) {
    for (struct model_key *k = s->keys; k; k = k->next)
        k->n = 0;
}

void model_set_raw(struct model *m, struct model_service *s, const char *table, const char *key, const char *toml) {
    struct model_key *k = model_key_of(s, table, key);
    k->n = 0;
    push_value(k, model_text(m, "%s", toml));
}

void model_set(struct model *m, struct model_service *s, const char *table, const char *key, const char *text) {
    model_set_raw(m, s, table, key, quoted(m, text));
}

void model_set_number(struct model *m, struct model_service *s, unsigned line, const char *table, const char *key,
                      const char *text, uint64_t most) {
    uint64_t n;
    if (text_parse_u64(text, INT32_MAX, &n) < 0) {
        model_note(m, MODEL_LOST, line, "found \"%s\", expected a number, for \"%s\"", text, key);
        return;
    }
    if (n > most)
        model_note(m, MODEL_NOT_NEEDED, line, "%s is %llu, the most that \"%s\" takes", text, (unsigned long long)most, key);
    model_set_raw(m, s, table, key, model_text(m, "%llu", (unsigned long long)MIN(n, most)));
}

void model_set_verify(struct model *m, struct model_service *s, unsigned line, const char *word) {
    static const char *const modes[][2] = {
        {"none", "none"}, {"optional", "optional"}, {"required", "required"}, {"require", "required"}};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++)
        if (strcasecmp(word, modes[i][0]) == 0) {
            model_set(m, s, "client_auth", "mode", modes[i][1]);
            return;
        }
    model_note(m, MODEL_LOST, line, "found \"%s\" about clients' certificates, expected none, optional or required", word);
    model_guard_lost(s, line);
}

void model_add(struct model *m, struct model_service *s, const char *table, const char *key, const char *text) {
    struct model_key *k = model_key_of(s, table, key);
    k->is_list = true;
    push_value(k, quoted(m, text));
}

void model_add_cert(struct model *m, struct model_service *s, const char *cert, const char *key, const char *passphrase) {
    struct model_key *k = model_key_of(s, "", "certificates");
    k->is_list = true;
    if (!key)
        push_value(k, quoted(m, cert));
    else if (!passphrase)
        push_value(k, model_text(m, "{ cert = %s, key = %s }", quoted(m, cert), quoted(m, key)));
    else
        push_value(k, model_text(m, "{ cert = %s, key = %s, passphrase = %s }", quoted(m, cert), quoted(m, key),
                                 quoted(m, passphrase)));
}

size_t model_count(const struct model_service *s, const char *table, const char *key) {
    const struct model_key *k = find_key(s, table, key);
    return k ? k->n : 0;
}

bool model_has(const struct model_service *s, const char *table, const char *key) {
    return model_count(s, table, key) > 0;
}

void model_unset(struct model_service *s, const char *table, const char *key) {
    struct model_key *k = find_key(s, table, key);
    if (k)
        k->n = 0;
}

void model_unset_table(struct model_service *s, const char *table) {
    for (struct model_key *k = s->keys; k; k = k->next)
        if (strcmp(k->table, table) == 0)
            k->n = 0;
}
