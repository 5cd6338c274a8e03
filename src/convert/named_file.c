#include "convert/named_file.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"

#define FILE_MOST (1u << 20)

struct named_file {
    struct named_file *next;
    const char *path;
    unsigned first; /* number of the line before its first one */
    size_t len;
    uint8_t bytes[];
};

int named_file_read(struct model *m, const char *path, struct span *ret, unsigned *ret_line, struct text *why) {
    for (const struct named_file *s = m->named_files; s; s = s->next)
        if (strcmp(s->path, path) == 0) {
            *ret = span_of(s->bytes, s->len);
            *ret_line = s->first + 1;
            return 0;
        }
    struct file f = {.path = path, .expected = "a text file of at most 1 MiB", .max = FILE_MOST};
    if (m->nnamed_files == NAMED_FILES_MAX) {
        text_addf(why, "%s: found more than %d files, expected at most so many", path, NAMED_FILES_MAX);
        return ERR_LIMIT;
    }
    int err = file_open(&f, why);
    if (err)
        return err;
    struct named_file *s = calloc(1, sizeof(*s) + file_room(&f));
    MUST(s);
    size_t len = 0;
    err = f.st.st_size ? file_read(&f, s->bytes, &len, why) : 0;
    file_close(&f);
    if (err) {
        free(s);
        return err;
    }
    s->path = model_text(m, "%s", path);
    s->first = ++m->nnamed_files * NAMED_FILE_LINES;
    s->len = len;
    s->next = m->named_files;
    m->named_files = s;
    *ret = span_of(s->bytes, len);
    *ret_line = s->first + 1;
    return 0;
}

const char *named_file_of(const struct model *m, unsigned line, unsigned *ret_line) {
    *ret_line = line % NAMED_FILE_LINES;
    for (const struct named_file *s = m->named_files; s; s = s->next)
        if (s->first == line - *ret_line)
            return s->path;
    return m->file;
}

void named_file_free(struct model *m) {
    for (struct named_file *s = m->named_files, *next; s; s = next) {
        next = s->next;
        free(s);
    }
    m->named_files = NULL;
}
