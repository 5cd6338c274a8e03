/* A model as TOML, with what was not taken as comments at its head. */
#include <string.h>

#include "convert/model_parts.h"
#include "convert/named_file.h"

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
    unsigned line;
    const char *file = named_file_of(m, n->line, &line);
    fprintf(to, "%s%s:%u: %s: %s\n", before, file, line, n->loss == MODEL_LOST ? "not taken" : "not needed", n->text);
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
