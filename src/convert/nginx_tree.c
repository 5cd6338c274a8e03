#include "convert/nginx_tree.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

struct reader {
    struct nginx_tree *t;
    size_t at;
    struct text *why;
};

static int fail(const struct reader *r, unsigned line, const char *expected) {
    text_addf(r->why, "line %u: expected %s", line, expected);
    return ERR_FORMAT;
}

/* Directives up to "}", or up to the end outside of blocks. */
static int read_block(struct reader *r, struct nginx_directive **to, const struct nginx_directive *parent, unsigned depth) {
    const struct lexer_words *w = &r->t->words;
    while (r->at < w->n) {
        const struct lexer_word *first = &w->list[r->at];
        if (first->is_mark && first->text[0] == '}') {
            r->at++;
            return parent ? 0 : fail(r, first->line, "a directive, found \"}\"");
        }
        if (first->is_mark)
            return fail(r, first->line, "a directive");
        struct nginx_directive *d = &r->t->all[r->t->nall++];
        *d = (struct nginx_directive){.words = first, .line = first->line, .parent = parent};
        *to = d;
        to = &d->next;
        for (; r->at < w->n && !w->list[r->at].is_mark; r->at++)
            d->n++;
        if (r->at == w->n || w->list[r->at].text[0] == '}')
            return fail(r, d->line, "\";\" or \"{\" behind this directive");
        if (w->list[r->at++].text[0] == ';')
            continue;
        int err =
            depth < NGINX_DEPTH ? read_block(r, &d->children, d, depth + 1) : fail(r, d->line, "fewer blocks within blocks");
        if (err)
            return err;
    }
    return parent ? fail(r, parent->line, "\"}\" at the end of this block") : 0;
}

int nginx_tree_read(struct span bytes, struct nginx_tree *ret, struct text *why) {
    static const struct lexer_format format = {"{};", "#", false, true};
    *ret = (struct nginx_tree){.nall = 0};
    int err = lexer_read(bytes, &format, &ret->words, why);
    if (err)
        return err;
    ret->all = calloc(ret->words.n + 1, sizeof(*ret->all));
    MUST(ret->all);
    struct reader r = {ret, 0, why};
    err = read_block(&r, &ret->first, NULL, 0);
    if (err)
        nginx_tree_free(ret);
    return err;
}

void nginx_tree_free(struct nginx_tree *t) {
    free(t->all);
    lexer_free(&t->words);
}

const char *nginx_word(const struct nginx_directive *d, size_t i) {
    return d && i < d->n ? d->words[i].text : "";
}

const struct nginx_directive *nginx_setting(const struct nginx_directive *block, const char *name) {
    for (; block; block = block->parent) {
        const struct nginx_directive *found = NULL;
        for (const struct nginx_directive *d = block->children; d; d = d->next)
            found = strcmp(nginx_word(d, 0), name) == 0 ? d : found;
        if (found)
            return found;
    }
    return NULL;
}
