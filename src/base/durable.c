#include "base/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/text.h"

int durable_sync_dir(const char *dir) {
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return ok ? 0 : ERR_SYSTEM;
}

static bool write_synced(int fd, mode_t mode, struct span s) {
    while (s.len) {
        ssize_t n = write(fd, s.p, s.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        s = span_of(s.p + n, s.len - (size_t)n);
    }
    return fchmod(fd, mode) == 0 && fsync(fd) == 0;
}

int durable_write(const char *path, mode_t mode, struct span bytes) {
    char other[PATH_MAX], dir[PATH_MAX];
    struct text t = text_of(other, sizeof(other)), d = text_of(dir, sizeof(dir));
    const char *slash = strrchr(path, '/');
    text_addf(&t, "%s.new", path);
    text_add_span(&d, slash ? span_of(path, (size_t)(slash - path)) : span_str("."));
    if (t.cut) {
        errno = ENAMETOOLONG;
        return ERR_SYSTEM;
    }
    int fd = open(other, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write_synced(fd, mode, bytes);
    int error = errno;
    if (fd >= 0 && close(fd) < 0 && ok) {
        ok = false;
        error = errno;
    }
    if (ok && rename(other, path) < 0) {
        ok = false;
        error = errno;
    }
    if (ok)
        return durable_sync_dir(dir);
    if (fd >= 0)
        (void)unlink(other); /* the first fault is the one to report */
    errno = error;
    return ERR_SYSTEM;
}
