/* What OpenSSL's configuration words are called here. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "convert/model.h"
#include "tls/hs_libssl_server.h"
#include "tls/suite.h"

#define SEPARATORS ": ,\t"

typedef void (*word_fn)(void *ctx, const char *word);

static void each_word(struct model *m, const char *list, word_fn fn, void *ctx) {
    char *copy = strdup(list), *rest = NULL;
    MUST(copy);
    for (char *w = strtok_r(copy, SEPARATORS, &rest); w; w = strtok_r(NULL, SEPARATORS, &rest))
        fn(ctx, model_text(m, "%s", w));
    free(copy);
}

struct suites {
    struct model *m;
    struct model_service *s;
    const char *other; /* the first name that is none of ours */
    unsigned nother;
    bool has12;
    bool keywords; /* "HIGH", "!aNULL": what they stand for is OpenSSL's business */
};

static const struct suite *suite_by_name(const char *word) {
    const struct suite *s;
    for (size_t i = 0; (s = suite_at(i)); i++)
        if (strcmp(s->openssl_name, word) == 0 || strcmp(s->name, word) == 0)
            return s;
    return NULL;
}

static void take_suite(void *ctx, const char *word) {
    struct suites *c = ctx;
    const struct suite *s = suite_by_name(word);
    if (s) {
        model_add(c->m, c->s, "", "cipher_suites", s->name);
        c->has12 = c->has12 || s->version == TLS_1_2;
    } else if (strchr("!-@", word[0])) {
        return; /* takes away, or is about the order: what is named stays */
    } else if (word[0] == '+' || !strchr(word, '-')) {
        c->keywords = true;
    } else {
        c->other = c->other ? c->other : word;
        c->nother++;
    }
}

/* One of the lists names all of its version: the others of that version are no choice of the file. */
static void add_all(struct suites *c, uint16_t version) {
    const struct suite *s;
    for (size_t i = 0; (s = suite_at(i)); i++)
        if (s->version == version)
            model_add(c->m, c->s, "", "cipher_suites", s->name);
}

void model_suites(struct model *m, struct model_service *s, unsigned line, const char *list12, const char *list13) {
    struct suites c = {.m = m, .s = s};
    if (!list12 && !list13)
        return;
    model_unset(s, "", "cipher_suites");
    if (list13)
        each_word(m, list13, take_suite, &c);
    else
        add_all(&c, TLS_1_3);
    if (list12)
        each_word(m, list12, take_suite, &c);
    else
        add_all(&c, TLS_1_2);
    if (!model_has(s, "", "cipher_suites"))
        c.keywords = true;
    if (c.keywords) {
        model_unset(s, "", "cipher_suites");
        model_note(m, MODEL_NOT_NEEDED, line,
                   "cipher suites are all that tls-off has (AEAD with ECDHE), not OpenSSL's keywords");
    } else if (list12 && !c.has12) {
        model_note(m, MODEL_LOST, line, "TLS 1.2 has none of the cipher suites that are named, like %s: AEAD with ECDHE only",
                   c.other);
    } else if (c.other) {
        model_note(m, MODEL_NOT_NEEDED, line, "%u cipher suites like %s, which tls-off does not have: AEAD with ECDHE only",
                   c.nother, c.other);
    }
}

struct groups {
    struct model *m;
    struct model_service *s;
    unsigned line;
};

static void take_group(void *ctx, const char *word) {
    static const char *const aliases[][2] = {
        {"P-256", "secp256r1"}, {"prime256v1", "secp256r1"}, {"P-384", "secp384r1"}, {"P-521", "secp521r1"}};
    const struct groups *g = ctx;
    const struct group *group;
    if (strcasecmp(word, "auto") == 0)
        return;
    for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
        if (strcasecmp(word, aliases[i][0]) == 0)
            word = aliases[i][1];
    for (size_t i = 0; (group = group_at(i)); i++)
        if (strcasecmp(word, group->name) == 0 || strcasecmp(word, group->openssl_name) == 0)
            break;
    if (group && hs_libssl_has_group(group->openssl_name)) {
        model_add(g->m, g->s, "", "groups", group->name);
        return;
    }
    model_note(g->m, MODEL_NOT_NEEDED, g->line, "the group %s, which %s does not have", word,
               group ? "this machine's libssl" : "tls-off");
}

void model_groups(struct model *m, struct model_service *s, unsigned line, const char *list) {
    struct groups g = {m, s, line};
    model_unset(s, "", "groups");
    each_word(m, list, take_group, &g);
}

void model_min_version(struct model *m, struct model_service *s, unsigned line, const char *version) {
    if (strcasecmp(version, "TLSv1.3") == 0)
        model_set(m, s, "", "min_version", "1.3");
    else if (strcasecmp(version, "TLSv1.2") == 0)
        model_set(m, s, "", "min_version", "1.2");
    else if (strncasecmp(version, "TLSv1", 5) == 0 || strncasecmp(version, "SSLv", 4) == 0)
        model_note(m, MODEL_NOT_NEEDED, line, "%s: tls-off begins at TLS 1.2", version);
    else
        model_note(m, MODEL_LOST, line, "found \"%s\", expected a version of TLS", version);
}
