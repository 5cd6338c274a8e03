#include "base/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
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
    return fd_write_all(fd, s) == 0 && fchmod(fd, mode) == 0 && fsync(fd) == 0;
}

int durable_replace(const char *path, const char *temporary, int fd, mode_t mode, struct span bytes) {
    char dir[PATH_MAX];
    struct text d = text_of(dir, sizeof(dir));
    const char *slash = strrchr(path, '/');
    text_add_span(&d, slash ? span_of(path, (size_t)(slash - path)) : span_str("."));
    bool ok = write_synced(fd, mode, bytes);
    int error = errno;
    if (close(fd) < 0 && ok) {
        ok = false;
        error = errno;
    }
    if (ok && rename(temporary, path) < 0) {
        ok = false;
        error = errno;
    }
    if (ok)
        return durable_sync_dir(dir);
    (void)unlink(temporary); /* the first fault is the one to report */
    errno = error;
    return ERR_SYSTEM;
}

int durable_write(const char *path, mode_t mode, struct span bytes) {
    char other[PATH_MAX];
    struct text t = text_of(other, sizeof(other));
    text_addf(&t, "%s.new", path);
    if (t.cut) {
        errno = ENAMETOOLONG;
        return ERR_SYSTEM;
    }
    int fd = open(other, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? ERR_SYSTEM : durable_replace(path, other, fd, mode, bytes);
}
