#include "convert/nginx_tree.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "convert/named_file.h"

#define INCLUDES_MAX       4096
#define INCLUDED_BYTES_MAX (4u << 20) /* of all files, each time that they are included */

struct nginx_file {
    struct nginx_file *next;
    struct lexer_words words;
    struct nginx_directive *all; /* every one, in one piece */
    size_t nall;
};

struct tree_reader {
    struct model *m;
    struct nginx_tree *t;
    struct nginx_file *f;
    size_t at;
    const char *path;                /* of the file, NULL = the one that is converted */
    const struct tree_reader *outer; /* of the file that includes it */
    struct text *why;
};

static int expected_at(const struct tree_reader *r, unsigned line, const char *expected) {
    text_addf(r->why, "line %u: expected %s", line % NAMED_FILE_LINES, expected);
    return ERR_FORMAT;
}

/* Directives of the words of R's file up to "}", or up to the end outside of blocks; *TO moves to where the next one goes. */
static int read_block(struct tree_reader *r, struct nginx_directive ***to, const struct nginx_directive *parent, bool is_block,
                      unsigned depth);

static int read_file_text(struct tree_reader *r, struct span bytes, unsigned line, struct nginx_directive ***to,
                          const struct nginx_directive *parent, unsigned depth) {
    static const struct lexer_format format = {"{};", "#", false, true, true};
    struct nginx_file *f = calloc(1, sizeof(*f));
    MUST(f);
    int err = lexer_read(bytes, line, &format, &f->words, r->why);
    if (err) {
        free(f);
        return err;
    }
    f->all = calloc(f->words.n + 1, sizeof(*f->all));
    MUST(f->all);
    f->next = r->t->files;
    r->t->files = f;
    r->f = f;
    r->at = 0;
    return read_block(r, to, parent, false, depth);
}

static bool is_within(const struct nginx_directive *block, const char *name) {
    for (; block; block = block->parent)
        if (strcmp(nginx_word(block, 0), name) == 0)
            return true;
    return false;
}

/* Of the blocks whose servers are not taken: only their addresses count. */
static bool is_elsewhere_served(const struct nginx_directive *block) {
    return is_within(block, "http") || is_within(block, "mail");
}

/* Whether files that are included in BLOCK, NULL = the file, can matter: for what is served, or where others listen. */
static bool can_matter(const struct nginx_directive *block) {
    static const char *const outer[] = {"http", "mail", "server"};
    if (!is_elsewhere_served(block))
        return !is_within(block, "events");
    for (size_t i = 0; i < ARRAY_LEN(outer); i++)
        if (strcmp(nginx_word(block, 0), outer[i]) == 0)
            return true;
    return false;
}

/* A file that includes itself, or too much that is included: there is no end to it. */
static int end_includes(struct tree_reader *r, const char *path, unsigned line) {
    unsigned number;
    const char *file = named_file_of(r->m, line, &number);
    r->t->is_endless = true;
    text_addf(r->why, "%s:%u: \"include\" of %s: found a file that includes itself, or more than %u files or %u MiB", file,
              number, path, INCLUDES_MAX, INCLUDED_BYTES_MAX >> 20);
    return ERR_FORMAT;
}

static bool is_read_now(const struct tree_reader *r, const char *path) {
    for (; r; r = r->outer)
        if (r->path && strcmp(r->path, path) == 0)
            return true;
    return false;
}

/* A file that is included by R's; ERR_FORMAT with the reason in WHY. */
static int include_file(struct tree_reader *r, const char *path, const struct nginx_directive *d, struct nginx_directive ***to,
                        unsigned depth, struct text *why) {
    struct tree_reader inner = {r->m, r->t, NULL, 0, path, r, why};
    struct span bytes;
    unsigned line;
    if (is_read_now(r, path))
        return end_includes(&inner, path, d->line);
    int err = named_file_read(r->m, path, &bytes, &line, why);
    if (err)
        return err;
    r->t->nincluded++;
    r->t->included_bytes += bytes.len;
    if (r->t->nincluded > INCLUDES_MAX || r->t->included_bytes > INCLUDED_BYTES_MAX)
        return end_includes(&inner, path, d->line);
    return read_file_text(&inner, bytes, line, to, d->parent, depth);
}

/* The files of an "include". *RET_TAKEN is false after a note when one of them cannot be read. An error when there is no end.
 */
static int include(struct tree_reader *r, const struct nginx_directive *d, struct nginx_directive ***to, unsigned depth,
                   bool *ret_taken) {
    char reason[512];
    struct text why = text_of(reason, sizeof(reason));
    glob_t found;
    const char *pattern = model_path(r->m, nginx_word(d, 1));
    bool is_pattern = strpbrk(pattern, "*?[") != NULL;
    int none = glob(pattern, is_pattern ? 0 : GLOB_NOCHECK, NULL, &found), err = 0;
    *ret_taken = none == 0 || none == GLOB_NOMATCH; /* nginx takes a pattern without files, too */
    for (size_t i = 0; none == 0 && !r->t->is_endless && i < found.gl_pathc; i++) {
        const char *path = model_text(r->m, "%s", found.gl_pathv[i]);
        why = text_of(reason, sizeof(reason));
        err = include_file(r, path, d, to, depth, &why);
        if (!err || r->t->is_endless)
            continue;
        model_note(r->m, is_elsewhere_served(d->parent) ? MODEL_NOT_NEEDED : MODEL_LOST, d->line, "include %s: %s: %s",
                   nginx_word(d, 1), path, reason);
        *ret_taken = false;
    }
    if (none == 0)
        globfree(&found);
    if (!r->t->is_endless)
        return 0;
    text_addf(r->why, "%s", reason);
    return ERR_FORMAT;
}

/* One directive from its first word on. */
static int read_directive(struct tree_reader *r, struct nginx_directive ***to, const struct nginx_directive *parent,
                          unsigned depth) {
    const struct lexer_words *w = &r->f->words;
    struct nginx_directive *d = &r->f->all[r->f->nall++], **child = &d->children;
    *d = (struct nginx_directive){.words = &w->list[r->at], .line = w->list[r->at].line, .parent = parent};
    for (; r->at < w->n && !w->list[r->at].is_mark; r->at++)
        d->n++;
    if (r->at == w->n || w->list[r->at].text[0] == '}')
        return expected_at(r, d->line, "\";\" or \"{\" behind this directive");
    if (w->list[r->at++].text[0] == ';') {
        bool is_include = strcmp(nginx_word(d, 0), "include") == 0 && can_matter(parent), taken = false;
        int err = is_include ? include(r, d, to, depth, &taken) : 0;
        if (err || taken)
            return err;
        **to = d;
        *to = &d->next;
        return 0;
    }
    **to = d;
    *to = &d->next;
    return depth < NGINX_DEPTH ? read_block(r, &child, d, true, depth + 1)
                               : expected_at(r, d->line, "fewer blocks within blocks");
}

static int read_block(struct tree_reader *r, struct nginx_directive ***to, const struct nginx_directive *parent, bool is_block,
                      unsigned depth) {
    const struct lexer_words *w = &r->f->words;
    while (r->at < w->n) {
        const struct lexer_word *first = &w->list[r->at];
        if (first->is_mark && first->text[0] == '}') {
            r->at++;
            return is_block ? 0 : expected_at(r, first->line, "a directive, found \"}\"");
        }
        if (first->is_mark)
            return expected_at(r, first->line, "a directive");
        int err = read_directive(r, to, parent, depth);
        if (err)
            return err;
    }
    return is_block ? expected_at(r, parent->line, "\"}\" at the end of this block") : 0;
}

int nginx_tree_read(struct model *m, struct span bytes, struct nginx_tree *ret, struct text *why) {
    struct tree_reader r = {m, ret, NULL, 0, NULL, NULL, why};
    *ret = (struct nginx_tree){.files = NULL};
    struct nginx_directive **to = &ret->first;
    int err = read_file_text(&r, bytes, 1, &to, NULL, 0);
    if (err)
        nginx_tree_free(ret);
    return err;
}

void nginx_tree_free(struct nginx_tree *t) {
    for (struct nginx_file *f = t->files, *next; f; f = next) {
        next = f->next;
        free(f->all);
        lexer_free(&f->words);
        free(f);
    }
    t->files = NULL;
}

const char *nginx_word(const struct nginx_directive *d, size_t i) {
    return d && i < d->n ? d->words[i].text : "";
}

const struct nginx_directive *nginx_block_with(const struct nginx_directive *block, const char *name, const char *second) {
    for (; block; block = block->parent)
        for (const struct nginx_directive *d = block->children; d; d = d->next)
            if (strcmp(nginx_word(d, 0), name) == 0 || (second && strcmp(nginx_word(d, 0), second) == 0))
                return block;
    return NULL;
}

const struct nginx_directive *nginx_setting(const struct nginx_directive *block, const char *name) {
    const struct nginx_directive *found = NULL, *at = nginx_block_with(block, name, NULL);
    for (const struct nginx_directive *d = at ? at->children : NULL; d; d = d->next)
        found = strcmp(nginx_word(d, 0), name) == 0 ? d : found;
    return found;
}
