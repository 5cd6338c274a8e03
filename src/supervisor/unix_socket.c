#include "supervisor/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"

#define LOCK_TRIES    50
#define LOCK_PAUSE_MS 10

/*
 * An existing socket file is handled below the descriptor of its directory and through a descriptor of the file itself: anyone
 * who may write in the directory can put something else under its name, and that is never touched. (Binding follows no link and
 * makes a file or fails; it uses the whole name, which ss(8) and the like then show.)
 */
static const char *name_in_dir(const char *path) {
    return strrchr(path, '/') + 1;
}

static struct sockaddr_un address_of(const char *path) {
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    memcpy(sun.sun_path, path, strnlen(path, sizeof(sun.sun_path) - 1));
    return sun;
}

/* The directory of PATH. -1 (errno). */
static int open_dir(const char *path, bool make) {
    char dir[CONF_SOCKET_PATH_MAX + 1];
    struct text t = text_of(dir, sizeof(dir));
    const char *slash = strrchr(path, '/');
    text_add_span(&t, span_of(path, MAX((size_t)(slash - path), (size_t)1)));
    if (make && mkdir(dir, 0755) < 0 && errno != EEXIST && errno != ENOENT)
        return -1;
    return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/*
 * Two instances that start at once must not replace the same stale file. A lock of another process is waited for only briefly.
 */
static void lock_dir(int fd) {
    for (int i = 0; i < LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB) < 0; i++)
        (void)poll(NULL, 0, LOCK_PAUSE_MS); /* a pause */
}

/* A socket left by a dead process does not answer. Anything but a socket is never touched. */
static bool is_stale(int dir, const char *path) {
    struct sockaddr_un sun = address_of(path);
    struct stat st;
    if (fstatat(dir, name_in_dir(path), &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISSOCK(st.st_mode)) {
        errno = EEXIST;
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool refused = fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    errno = EADDRINUSE;
    return refused;
}

/* The file itself, by a descriptor that can only be looked at. -1: it is no socket with this name alone (errno). */
static int pin_socket(int dir, const char *name, struct stat *ret_st) {
    int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || (fstat(fd, ret_st) == 0 && S_ISSOCK(ret_st->st_mode) && ret_st->st_nlink == 1))
        return fd;
    close(fd);
    errno = EEXIST;
    return -1;
}

/* Made for us alone. */
static int bind_file(int fd, int dir, const char *path, int backlog, struct unix_socket *ret) {
    const char *name = name_in_dir(path);
    struct sockaddr_un sun = address_of(path);
    struct stat st = {.st_dev = 0};
    mode_t before = umask(0177);
    int failed = bind(fd, (struct sockaddr *)&sun, sizeof(sun));
    umask(before);
    if (failed)
        return -1;
    int pinned = pin_socket(dir, name, &st);
    bool ok = pinned >= 0 && st.st_uid == geteuid() && listen(fd, backlog) == 0;
    int error = errno;
    if (pinned >= 0)
        close(pinned);
    ret->dev = st.st_dev;
    ret->ino = st.st_ino;
    if (!ok)
        (void)unlinkat(dir, name, 0); /* was just made */
    errno = error;
    return ok ? 0 : -1;
}

static int stream_socket(void) {
    return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static int open_abstract(const char *path) {
    struct sockaddr_un sun = {.sun_family = AF_UNIX}; /* a zero before the name, and none behind it */
    size_t len = strnlen(path + 1, sizeof(sun.sun_path) - 1);
    int fd = stream_socket();
    memcpy(sun.sun_path + 1, path + 1, len);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sun, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int open_file(const char *path, bool make_dir, int backlog, struct unix_socket *f) {
    int dir = open_dir(path, make_dir);
    int fd = dir < 0 ? -1 : stream_socket();
    if (fd >= 0) {
        lock_dir(dir);
        bool ok = bind_file(fd, dir, path, backlog, f) == 0;
        if (!ok && errno == EADDRINUSE && is_stale(dir, path) && unlinkat(dir, name_in_dir(path), 0) == 0)
            ok = bind_file(fd, dir, path, backlog, f) == 0;
        int error = errno;
        if (!ok)
            close(fd);
        fd = ok ? fd : -1;
        errno = error;
    }
    int error = errno;
    if (dir >= 0)
        close(dir); /* and the lock with it */
    errno = error;
    return fd;
}

int unix_socket_open(const char *path, bool make_dir, int backlog, struct unix_socket *ret) {
    struct unix_socket f = {.dev = 0};
    struct text t = text_of(f.path, sizeof(f.path));
    text_add(&t, path);
    int fd = path[0] == '@' ? open_abstract(path) : open_file(path, make_dir, backlog, &f);
    if (fd >= 0)
        *ret = f;
    return fd;
}

bool unix_socket_give(const struct unix_socket *f, const struct socket_rights *rights) {
    struct stat st;
    char link[32];
    struct text t = text_of(link, sizeof(link));
    if (f->path[0] == '@')
        return true;
    int dir = open_dir(f->path, false);
    int pinned = dir >= 0 ? pin_socket(dir, name_in_dir(f->path), &st) : -1;
    bool ok = pinned >= 0;
    if (ok && (st.st_dev != f->dev || st.st_ino != f->ino)) {
        errno = EEXIST;
        ok = false;
    }
    /* a read-only file system refuses even what changes nothing */
    if (ok &&
        ((rights->uid != UINT32_MAX && rights->uid != st.st_uid) || (rights->gid != UINT32_MAX && rights->gid != st.st_gid)))
        ok = fchownat(pinned, "", rights->uid, rights->gid, AT_EMPTY_PATH) == 0;
    text_addf(&t, "/proc/self/fd/%d", pinned);
    ok = ok && ((st.st_mode & 07777) == rights->mode || chmod(link, rights->mode) == 0);
    int error = errno;
    if (pinned >= 0)
        close(pinned);
    if (dir >= 0)
        close(dir);
    errno = error;
    return ok;
}

bool unix_socket_is_gone(const struct unix_socket *f) {
    struct stat st;
    return f->path[0] != '@' && lstat(f->path, &st) < 0 && (errno == ENOENT || errno == ENOTDIR);
}

void unix_socket_remove(const struct unix_socket *f) {
    struct stat st;
    if (f->path[0] == '@')
        return;
    int dir = open_dir(f->path, false);
    const char *name = name_in_dir(f->path);
    if (dir >= 0 && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == f->dev && st.st_ino == f->ino)
        (void)unlinkat(dir, name, 0); /* one that cannot be removed is stale, which the next start notices */
    if (dir >= 0)
        close(dir);
}

const char *unix_socket_fault(int error) {
    return error == EADDRINUSE ? "another process serves there"
           : error == EEXIST   ? "found another file in its place"
                               : strerror(error);
}
