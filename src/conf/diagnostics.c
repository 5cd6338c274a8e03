/* Lines for the operator, in bounded memory. Control bytes never reach a terminal or a log from here. */
#include "conf/diagnostics.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/load.h"

#define DIAGNOSTICS_LINE_MAX_LEN 1024
#define CLOSE_ROOM               64 /* kept free for the line of diagnostics_close() */

void diagnostics_init(struct diagnostics *f) {
    *f = (struct diagnostics){0};
}

void diagnostics_fini(struct diagnostics *f) {
    free(f->text);
    *f = (struct diagnostics){0};
}

/* AT: a place in the text between two lines. */
static void insert(struct diagnostics *f, size_t at, const char *line, size_t n) {
    if (!f->text) {
        f->cap = DIAGNOSTICS_TEXT_MAX;
        f->text = calloc(1, f->cap);
        MUST(f->text);
    }
    MUST(n < f->cap - f->len);
    memmove(f->text + at + n, f->text + at, f->len - at);
    memcpy(f->text + at, line, n);
    f->len += n;
    f->text[f->len] = 0;
}

/* Warnings give way to an error, the last one first. False when N bytes find no room even so. */
static bool drop_warnings(struct diagnostics *f, bool is_error, size_t n) {
    while (f->len + n + CLOSE_ROOM >= DIAGNOSTICS_TEXT_MAX) {
        if (!is_error || f->len == f->errors_len)
            return false;
        const char *end = memrchr(f->text + f->errors_len, '\n', f->len - f->errors_len - 1);
        f->len = end ? (size_t)(end - f->text) + 1 : f->errors_len;
        f->text[f->len] = 0;
        f->dropped++;
    }
    return true;
}

void diagnostics_add(struct diagnostics *f, bool is_error, const char *position, const char *key, const char *fmt, ...) {
    char line[DIAGNOSTICS_LINE_MAX_LEN];
    struct text t = text_of(line, sizeof(line) - 1);
    text_addf(&t, "%s: %s%s%s", position, is_error ? "" : "warning: ", key ? key : "", key ? ": " : "");
    size_t begins = t.len;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(t.p + t.len, t.cap - t.len, fmt, args);
    va_end(args);
    t.cut = t.cut || (n > 0 && (size_t)n >= t.cap - t.len);
    if (n > 0)
        t.len += MIN((size_t)n, t.cap - t.len - 1);
    text_mark_cut(&t);

    for (size_t i = 0; i < t.len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = ' ';
    while (t.len > 0 && line[t.len - 1] == ' ')
        t.len--;
    line[t.len] = 0;
    if (f->each)
        f->each(f->each_ctx, is_error, position, key, line + MIN(begins, t.len));
    line[t.len++] = '\n';

    if (is_error)
        f->errors++;
    else
        f->warnings++;
    if (!drop_warnings(f, is_error, t.len)) {
        f->dropped++;
        return;
    }
    insert(f, is_error ? f->errors_len : f->len, line, t.len);
    if (is_error)
        f->errors_len += t.len;
}

void diagnostics_close(struct diagnostics *f) {
    char line[CLOSE_ROOM];
    if (!f->dropped)
        return;
    struct text t = text_of(line, sizeof(line));
    text_addf(&t, "and %u more lines like these\n", f->dropped);
    insert(f, f->len, line, t.len);
}
