#include "supervisor/exe.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/defs.h"
#include "base/text.h"

#define DELETED " (deleted)"

static char path[PATH_MAX];

static bool is_us(const char *name) {
    struct stat us, it;
    return stat("/proc/self/exe", &us) == 0 && stat(name, &it) == 0 && us.st_dev == it.st_dev && us.st_ino == it.st_ino;
}

/* What execve() was called with, already looked up in PATH. The kernel keeps it beside the environment. */
static const char *called_by(void) {
    union {
        unsigned long in;
        const char *out;
    } u = {getauxval(AT_EXECFN)};
    return u.out;
}

const char *exe_path_find(void) {
    const char *name = called_by();
    struct text t = text_of(path, sizeof(path));
    if (name && name[0] != '/') {
        char dir[PATH_MAX];
        text_addf(&t, "%s/", getcwd(dir, sizeof(dir)) ? dir : ".");
    }
    text_add(&t, name ? name : "");
    if (!t.cut && is_us(path) && strncmp(path, "/proc/", 6) != 0 && strncmp(path, "/dev/", 5) != 0)
        return path;
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = 0;
    size_t len = strlen(path), end = strlen(DELETED);
    if (len > end && strcmp(path + len - end, DELETED) == 0) /* replaced since: the new one has the name */
        path[len - end] = 0;
    return path;
}
