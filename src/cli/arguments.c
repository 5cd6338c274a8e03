#include "cli/arguments.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/span.h"
#include "base/text.h"
#include "cli/command_table.h"
#include "conf/suggestion.h"

#define NEAR 2 /* edits: one flag is meant, and the others need not be listed */

int arguments_refuse(const struct arguments *a, const char *fmt, ...) {
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof(line), fmt, ap); /* a cut line still says what is wrong */
    va_end(ap);
    fprintf(stderr, "tls-off %s: %s\n%s", a->command->name, line, a->command->usage);
    return EXIT_USAGE;
}

const char *arguments_operand(const struct arguments *a, size_t i) {
    for (size_t k = 0; k < a->n; k++)
        if (!a->list[k].flag && i-- == 0)
            return a->list[k].value;
    return NULL;
}

static const struct argument *last_of(const struct arguments *a, const char *flag) {
    for (size_t k = a->n; k-- > 0;)
        if (a->list[k].flag && strcmp(a->list[k].flag, flag) == 0)
            return &a->list[k];
    return NULL;
}

bool arguments_has(const struct arguments *a, const char *flag) {
    return last_of(a, flag) != NULL;
}

const char *arguments_value(const struct arguments *a, const char *flag) {
    const struct argument *last = last_of(a, flag);
    return last ? last->value : NULL;
}

static const struct command_flag *find_flag(const struct command *c, const char *name) {
    const char *whole = strcmp(name, "-c") == 0 ? "--config" : name;
    for (const struct command_flag *f = c->flags; f->name; f++)
        if (strcmp(f->name, whole) == 0)
            return f;
    return NULL;
}

/* The words of LIST, apart by blanks, as "a, b or c". */
static void add_words(struct text *t, const char *list) {
    struct span left = span_str(list);
    for (bool first = true; left.len; first = false) {
        const char *blank = memchr(left.p, ' ', left.len);
        size_t len = blank ? (size_t)(blank - (const char *)left.p) : left.len;
        text_add(t, first ? "" : blank ? ", " : " or ");
        text_add_span(t, span_of(left.p, len));
        left = span_of(left.p + len + (blank != NULL), left.len - len - (blank != NULL));
    }
}

static bool is_among(const char *list, const char *word) {
    size_t len = strlen(word);
    for (const char *at = list; len && !strchr(word, ' ') && (at = strstr(at, word)); at += len)
        if ((at == list || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
            return true;
    return false;
}

static void refuse_flag(const struct arguments *a, const char *name) {
    char line[256];
    struct text t = text_of(line, sizeof(line));
    struct suggestion nearest = {.word = name};
    for (const struct command_flag *f = a->command->flags; f->name; f++) {
        suggestion_offer(&nearest, f->name);
        text_addf(&t, "%s%s", t.len ? ", " : "", f->name);
    }
    (void)arguments_refuse(a, "%.100s: found an unknown flag, expected %s", name,
                           nearest.best && nearest.distance <= NEAR ? nearest.best
                           : a->command->flags[0].name              ? line
                                                                    : "none");
}

/* It stands at argv[*I]; *I is its value's place afterwards. */
static bool take_flag(struct arguments *a, int argc, char **argv, int *i) {
    char *name = argv[*i], *value = strchr(name, '=');
    if (value)
        *value++ = '\0';
    const struct command_flag *f = find_flag(a->command, name);
    if (!f) {
        refuse_flag(a, name);
        return false;
    }
    if (f->value == FLAG_ALONE && value) {
        (void)arguments_refuse(a, "%s: found \"%.100s\", expected no value", name, value);
        return false;
    }
    if (f->value != FLAG_ALONE && !value && ++*i < argc)
        value = argv[*i];
    if (f->value != FLAG_ALONE && !value) {
        (void)arguments_refuse(a, "%s: expected a value behind it", name);
        return false;
    }
    if (f->words && !is_among(f->words, value)) {
        char words[256];
        struct text t = text_of(words, sizeof(words));
        add_words(&t, f->words);
        (void)arguments_refuse(a, "%s: found \"%.100s\", expected %s", name, value, words);
        return false;
    }
    a->list[a->n++] = (struct argument){f->name, value};
    return true;
}

static bool check_operands(const struct arguments *a) {
    const struct command_operands *o = a->command->operands;
    const char *first = arguments_operand(a, 0);
    char words[256];
    struct text t = text_of(words, sizeof(words));
    if (o->words)
        add_words(&t, o->words);
    if (o->words && first && !is_among(o->words, first))
        (void)arguments_refuse(a, "found \"%.100s\", expected %s", first, words);
    else if (o->words && !first)
        (void)arguments_refuse(a, "expected %s", words);
    else if (a->noperands < o->least)
        (void)arguments_refuse(a, "expected %s", o->name);
    else if (a->noperands > o->most)
        (void)arguments_refuse(a, "found \"%.100s\", expected nothing more", arguments_operand(a, o->most));
    else
        return true;
    return false;
}

bool arguments_read(struct arguments *ret, const struct command *c, int argc, char **argv) {
    *ret = (struct arguments){.command = c, .list = calloc((size_t)argc + 1, sizeof(*ret->list))};
    bool flags = true;
    if (!ret->list) {
        fprintf(stderr, "tls-off %s: %s\n", c->name, strerror(errno));
        return false;
    }
    for (int i = 0; i < argc; i++) {
        if (flags && strcmp(argv[i], "--") == 0) {
            flags = false;
        } else if (flags && argv[i][0] == '-' && argv[i][1]) {
            if (!take_flag(ret, argc, argv, &i))
                return false;
        } else {
            ret->list[ret->n++] = (struct argument){NULL, argv[i]};
            ret->noperands++;
        }
    }
    return check_operands(ret);
}

void arguments_fini(struct arguments *a) {
    free(a->list);
}
