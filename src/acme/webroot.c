#include "acme/webroot.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/durable.h"
#include "base/err.h"
#include "base/text.h"

#define PLACE "/.well-known/acme-challenge"

static bool make_public(const char *dir) {
    return mkdir(dir, 0755) == 0 ? chmod(dir, 0755) == 0 : errno == EEXIST; /* whatever our umask is */
}

static bool file_name(char to[static PATH_MAX], const char *root, const char *name) {
    struct text t = text_of(to, PATH_MAX);
    text_addf(&t, "%s%s", root, name);
    if (t.cut)
        errno = ENAMETOOLONG;
    return !t.cut;
}

int webroot_put(const char *root, const char *token, struct span content) {
    char path[PATH_MAX];
    struct text t = text_of(path, sizeof(path));
    if (!file_name(path, root, "/.well-known") || !make_public(path) || !file_name(path, root, PLACE) || !make_public(path))
        return ERR_SYSTEM;
    text_addf(&t, "%s" PLACE "/%s", root, token);
    return durable_write(path, 0644, content);
}

void webroot_remove(const char *root, const char *token) {
    char path[PATH_MAX];
    struct text t = text_of(path, sizeof(path));
    text_addf(&t, "%s" PLACE "/%s", root, token);
    (void)unlink(path); /* somebody may have cleared up */
}
