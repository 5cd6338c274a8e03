#include "creds/cert_item.h"

#include <dirent.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/path.h"
#include "base/text.h"

bool cert_item_is_pattern(const char *item) {
    return strpbrk(item, "*?[") != NULL;
}

static bool is_directory(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool cert_item_each(const char *item, cert_item_fn fn, void *ctx) {
    if (!cert_item_is_pattern(item)) {
        fn(ctx, item);
        return true;
    }
    glob_t found;
    int err = glob(item, 0, NULL, &found);
    for (size_t i = 0; err == 0 && i < found.gl_pathc; i++)
        fn(ctx, found.gl_pathv[i]);
    globfree(&found);
    return err != GLOB_NOSPACE;
}

static int is_visible(const struct dirent *d) {
    return d->d_name[0] != '.';
}

static int by_file_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

bool cert_item_subdirs(const char *dir, cert_item_fn fn, void *ctx) {
    struct dirent **list = NULL;
    int n = scandir(dir, &list, is_visible, by_file_name);
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];
        if (is_directory(path_join(path, dir, list[i]->d_name)))
            fn(ctx, path);
        free(list[i]);
    }
    free(list);
    return n >= 0;
}

struct places {
    cert_item_fn fn;
    void *ctx;
};

/* Pairs lie in a directory that is named, and in its directories. */
static void place_of_match(void *ctx, const char *path) {
    const struct places *p = ctx;
    if (!is_directory(path))
        return;
    p->fn(p->ctx, path);
    (void)cert_item_subdirs(path, p->fn, p->ctx); /* unreadable: a change of rights is seen in the directory above */
}

static void place(void *ctx, const char *path) {
    const struct places *p = ctx;
    if (is_directory(path))
        p->fn(p->ctx, path);
}

/* Out of memory: what is not watched is checked by the clock. */
void cert_item_places(const char *item, cert_item_fn fn, void *ctx) {
    char above[PATH_MAX];
    struct places p = {fn, ctx};
    struct text t = text_of(above, sizeof(above));
    text_add(&t, item);
    (void)cert_item_each(item, place_of_match, &p);
    bool more = true;
    while (more && !t.cut) {
        size_t n = strlen(above);
        while (n > 1 && above[n - 1] == '/')
            above[--n] = '\0';
        char *slash = strrchr(above, '/');
        if (!slash)
            return;
        slash[slash == above] = '\0'; /* "/" stays */
        (void)cert_item_each(above, place, &p);
        more = cert_item_is_pattern(above);
    }
}
