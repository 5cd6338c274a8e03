/* Directories of certificates: elsewhere each file is one, whatever its name; here names end in .pem or .crt. */
#include <dirent.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/path.h"
#include "convert/model.h"

#define FILES_MAX 1024 /* certificates that one service may name */

static bool ends_like(const char *name, const char *end) {
    size_t n = strlen(name), len = strlen(end);
    return n >= len && strcmp(name + n - len, end) == 0;
}

static bool is_file(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static int is_shown_file(const struct dirent *d) {
    return d->d_name[0] != '.';
}

/* Whether the file of that name is one of the certificates; PATH is where it is. */
static bool is_cert(const char *path, const char *name, const char *glob, const char *const *beside) {
    for (size_t i = 0; beside && beside[i]; i++)
        if (ends_like(name, beside[i]))
            return false;
    return (!glob || fnmatch(glob, name, 0) == 0) && is_file(path);
}

/* The key of CERT: beside it, as CERT.key or under its own name, or within. */
static const char *key_of(struct model *m, const char *cert) {
    const char *beside = model_text(m, "%s.key", cert), *stem = model_text(m, "%.*s.key", (int)strlen(cert) - 4, cert);
    return is_file(beside) ? beside : ends_like(cert, ".crt") && is_file(stem) ? stem : cert;
}

/* Whether it is found in a directory here, too. */
static bool is_found_here(const char *cert, const char *key) {
    size_t stem = strlen(cert) - 4;
    return (ends_like(cert, ".pem") && key == cert) ||
           (ends_like(cert, ".crt") && strlen(key) == stem + 4 && strncmp(key, cert, stem) == 0 && key != cert);
}

static void add_one_by_one(struct model *m, struct model_service *s, const char *const *certs, size_t n) {
    for (size_t i = 0; i < n; i++)
        model_add_cert(m, s, certs[i], key_of(m, certs[i]), NULL);
}

void model_add_cert_dir(struct model *m, struct model_service *s, unsigned line, const char *dir, const char *glob,
                        const char *const *beside) {
    struct dirent **list = NULL;
    int n = scandir(dir, &list, is_shown_file, alphasort);
    const char *certs[FILES_MAX], *odd = NULL;
    size_t ncerts = 0;
    bool more = false;
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];
        if (is_cert(path_join(path, dir, list[i]->d_name), list[i]->d_name, glob, beside)) {
            const char *cert = model_text(m, "%s", path);
            odd = odd || is_found_here(cert, key_of(m, cert)) ? odd : model_text(m, "%s", list[i]->d_name);
            more = more || ncerts == FILES_MAX;
            if (!more)
                certs[ncerts++] = cert;
        }
        free(list[i]);
    }
    free(list);
    if (odd && more)
        model_note(m, MODEL_LOST, line, "%s: more than %d files, and %s is not called x.pem or x.crt", dir, FILES_MAX, odd);
    if (!odd || more) {
        model_add_cert(m, s, beside ? dir : model_text(m, "%s/%s", dir, glob ? glob : "*"), NULL, NULL);
        return;
    }
    model_note(m, MODEL_NOT_NEEDED, line,
               "%s: its files are named one by one, since %s is not called as in a directory here; a new one has to be added",
               dir, odd);
    add_one_by_one(m, s, certs, ncerts);
}
