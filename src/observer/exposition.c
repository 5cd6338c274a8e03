#include "observer/exposition.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/escape.h"
#include "base/text.h"

#define METRIC_PREFIX "tls_off_"
#define LINE_MAX      4096

static void put_bytes(struct exposition *x, const char *text, size_t len) {
    if (!x->bad && buf_append(x->to, text, len) < 0)
        x->bad = true;
}

static void put_line(struct exposition *x, const struct text *t) {
    x->bad = x->bad || t->cut;
    put_bytes(x, t->p, t->len);
}

/* The base unit that ends NAME, or NULL. */
static const char *unit_of(const char *name) {
    const char *last = strrchr(name, '_');
    return last && (strcmp(last, "_bytes") == 0 || strcmp(last, "_seconds") == 0) ? last + 1 : NULL;
}

void exposition_family(struct exposition *x, enum exposition_type type, const char *name, const char *help) {
    static const char *const types[] = {"counter", "gauge", "histogram", "summary", "info"};
    char line[LINE_MAX];
    struct text t = text_of(line, sizeof(line));
    const char *unit = unit_of(name);
    const char *suffix = x->open_metrics ? "" : type == EXPOSE_COUNTER ? "_total" : type == EXPOSE_INFO ? "_info" : "";
    const char *word = !x->open_metrics && type == EXPOSE_INFO ? "gauge" : types[type];
    x->name = name;
    x->type = type;
    text_addf(&t, "# TYPE " METRIC_PREFIX "%s%s %s\n", name, suffix, word);
    if (x->open_metrics && unit)
        text_addf(&t, "# UNIT " METRIC_PREFIX "%s %s\n", name, unit);
    text_addf(&t, "# HELP " METRIC_PREFIX "%s%s %s\n", name, suffix, help);
    put_line(x, &t);
}

static void add_value(struct text *t, const char *value) {
    char clean[1024];
    struct text c = text_of(clean, sizeof(clean));
    escape_clean(&c, span_str(value));
    for (const char *p = clean; *p; p++) {
        if (*p == '"' || *p == '\\')
            text_add(t, "\\");
        text_add_span(t, span_of(p, 1));
    }
}

static void begin_sample(struct exposition *x, struct text *t, const char *suffix, const struct exposition_label *labels,
                         const char *le) {
    const char *before = "{";
    text_addf(t, METRIC_PREFIX "%s%s", x->name, suffix);
    for (; labels && labels->name; labels++) {
        text_addf(t, "%s%s=\"", before, labels->name);
        add_value(t, labels->value);
        text_add(t, "\"");
        before = ",";
    }
    if (le)
        text_addf(t, "%sle=\"%s\"", before, le);
    text_add(t, before[0] == ',' || le ? "} " : " ");
}

static const char *suffix_of(const struct exposition *x) {
    return x->type == EXPOSE_COUNTER ? "_total" : x->type == EXPOSE_INFO ? "_info" : "";
}

void exposition_part(struct exposition *x, const char *suffix, const struct exposition_label *labels, const char *le,
                     uint64_t v) {
    char line[LINE_MAX];
    struct text t = text_of(line, sizeof(line));
    begin_sample(x, &t, suffix, labels, le);
    text_addf(&t, "%" PRIu64 "\n", v);
    put_line(x, &t);
}

static void real_part(struct exposition *x, const char *suffix, const struct exposition_label *labels, double v) {
    char line[LINE_MAX];
    struct text t = text_of(line, sizeof(line));
    begin_sample(x, &t, suffix, labels, NULL);
    text_addf(&t, "%.16g\n", v);
    put_line(x, &t);
}

void exposition_number(struct exposition *x, const struct exposition_label *labels, uint64_t v) {
    exposition_part(x, suffix_of(x), labels, NULL, v);
}

void exposition_real(struct exposition *x, const struct exposition_label *labels, double v) {
    real_part(x, suffix_of(x), labels, v);
}

void exposition_sum(struct exposition *x, const struct exposition_label *labels, double v) {
    real_part(x, "_sum", labels, v);
}

void exposition_end(struct exposition *x) {
    if (x->open_metrics)
        put_bytes(x, "# EOF\n", 6);
}
