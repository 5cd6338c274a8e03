#include "supervisor/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/text.h"
#include "wire/control.h"

#define BACKLOG       128
#define LOCK_TRIES    50
#define LOCK_PAUSE_MS 10

void admin_init(struct admin_sockets *a) {
    *a = (struct admin_sockets){.unix_fd = -1, .tcp_fd = -1};
}

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

/* The directory of PATH; created when it is the default one. -1 (errno). */
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
static int pin(int dir, const char *name, struct stat *ret_st) {
    int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || (fstat(fd, ret_st) == 0 && S_ISSOCK(ret_st->st_mode) && ret_st->st_nlink == 1))
        return fd;
    close(fd);
    errno = EEXIST;
    return -1;
}

static bool give_rights(int pinned, const struct conf_admin *c) {
    char name[32];
    struct text t = text_of(name, sizeof(name));
    text_addf(&t, "/proc/self/fd/%d", pinned);
    if ((c->uid != UINT32_MAX || c->gid != UINT32_MAX) && fchownat(pinned, "", c->uid, c->gid, AT_EMPTY_PATH) < 0)
        return false;
    return chmod(name, c->mode) == 0;
}

/* Created without any rights, then given those configured: no client connects in between. Its identity is kept in A. */
static int bind_closed(int fd, int dir, const struct conf_admin *c, struct admin_sockets *a) {
    const char *name = name_in_dir(c->socket);
    struct sockaddr_un sun = address_of(c->socket);
    struct stat st = {.st_dev = 0};
    mode_t before = umask(0177);
    int failed = bind(fd, (struct sockaddr *)&sun, sizeof(sun));
    umask(before);
    if (failed)
        return -1;
    int pinned = pin(dir, name, &st);
    bool ok = pinned >= 0 && st.st_uid == geteuid() && give_rights(pinned, c) && listen(fd, BACKLOG) == 0;
    int error = errno;
    if (pinned >= 0)
        close(pinned);
    a->dev = st.st_dev;
    a->ino = st.st_ino;
    if (!ok)
        (void)unlinkat(dir, name, 0); /* was just made */
    errno = error;
    return ok ? 0 : -1;
}

static int open_unix(const struct conf_admin *c, struct admin_sockets *a) {
    const char *path = c->socket, *name = name_in_dir(path);
    int dir = open_dir(path, !c->socket_given);
    int fd = dir < 0 ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        lock_dir(dir);
        bool ok = bind_closed(fd, dir, c, a) == 0;
        if (!ok && errno == EADDRINUSE && is_stale(dir, path) && unlinkat(dir, name, 0) == 0)
            ok = bind_closed(fd, dir, c, a) == 0;
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

static int open_tcp(const struct addr *a) {
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(a, &ss);
    const int one = 1;
    int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
        bind(fd, (struct sockaddr *)&ss, len) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return -1;
}

static bool take_unix(struct admin_sockets *a, const struct conf_admin *c, struct text *why) {
    struct text t = text_of(a->path, sizeof(a->path));
    text_add(&t, c->socket);
    a->unix_fd = open_unix(c, a);
    if (a->unix_fd >= 0)
        return true;
    text_addf(why, "admin socket %s: %s", c->socket, errno == EADDRINUSE ? "another process serves there" : strerror(errno));
    return !c->socket_given;
}

bool admin_open(struct admin_sockets *a, const struct conf_admin *c, struct text *why) {
    char address[ADDR_TEXT_MAX];
    if (c->socket && !take_unix(a, c, why))
        return false;
    if (c->listen.family == AF_UNSPEC)
        return true;
    a->tcp_fd = open_tcp(&c->listen);
    if (a->tcp_fd >= 0)
        return true;
    text_addf(why, "%scannot listen on %s (admin.listen): %s", why->len ? "; " : "", addr_text(&c->listen, address),
              strerror(errno));
    return false;
}

static void close_unix(struct admin_sockets *a) {
    struct stat st;
    if (a->unix_fd < 0)
        return;
    close(a->unix_fd);
    a->unix_fd = -1;
    int dir = open_dir(a->path, false);
    const char *name = name_in_dir(a->path);
    if (dir >= 0 && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == a->dev && st.st_ino == a->ino)
        (void)unlinkat(dir, name, 0); /* one that cannot be removed is stale, which the next start notices */
    if (dir >= 0)
        close(dir);
}

void admin_close(struct admin_sockets *a) {
    close_unix(a);
    if (a->tcp_fd >= 0)
        close(a->tcp_fd);
    a->tcp_fd = -1;
}

/* Of the same address, port 0 counting as any: it was asked for, and got one. */
static bool listens_on(int fd, const struct addr *a) {
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    struct addr have;
    if (fd < 0 || getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
        return false;
    addr_from_sockaddr(&ss, &have);
    return have.family == a->family && memcmp(have.ip, a->ip, sizeof(have.ip)) == 0 && (a->port == 0 || a->port == have.port);
}

/* Another mode or owner is set in place: queued connections stay. */
static bool keep_unix(struct admin_sockets *a, const struct conf_admin *new, struct text *why) {
    struct stat st;
    int dir = open_dir(a->path, false);
    int pinned = dir >= 0 ? pin(dir, name_in_dir(a->path), &st) : -1;
    bool ours = pinned >= 0 && st.st_dev == a->dev && st.st_ino == a->ino;
    bool ok = ours && give_rights(pinned, new);
    if (!ok)
        text_addf(why, "admin socket %s: %s", a->path,
                  pinned >= 0 && !ours ? "found another file in its place" : strerror(errno));
    if (pinned >= 0)
        close(pinned);
    if (dir >= 0)
        close(dir);
    return ok;
}

bool admin_change(struct admin_sockets *a, const struct conf_admin *new, struct text *why) {
    struct conf_admin wanted = *new;
    struct admin_sockets next;
    bool same_path = a->unix_fd >= 0 && new->socket &&strcmp(a->path, new->socket) == 0;
    bool same_listen = new->listen.family != AF_UNSPEC &&listens_on(a->tcp_fd, &new->listen);
    admin_init(&next);
    if (same_path)
        wanted.socket = NULL;
    if (same_listen)
        wanted.listen.family = AF_UNSPEC;
    if (!admin_open(&next, &wanted, why) || (same_path && !keep_unix(a, new, why))) {
        admin_close(&next);
        return false;
    }
    if (same_path) {
        int tcp_fd = next.tcp_fd;
        next = *a;
        next.tcp_fd = tcp_fd;
        a->unix_fd = -1;
    }
    if (same_listen) {
        next.tcp_fd = a->tcp_fd;
        a->tcp_fd = -1;
    }
    admin_close(a);
    *a = next;
    return true;
}

int admin_give(const struct admin_sockets *a, int control) {
    int err = 0;
    if (a->unix_fd >= 0)
        err = control_send_admin(control, ADMIN_UNIX, a->unix_fd);
    if (err == 0 && a->tcp_fd >= 0)
        err = control_send_admin(control, ADMIN_TCP, a->tcp_fd);
    return err;
}

void admin_log(const struct admin_sockets *a, struct log *v) {
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    struct addr address;
    char text[ADDR_TEXT_MAX];
    if (a->unix_fd >= 0)
        log_msg(v, LOG_LEVEL_INFO, "admin socket: %s", a->path);
    if (a->tcp_fd >= 0 && getsockname(a->tcp_fd, (struct sockaddr *)&ss, &len) == 0) {
        addr_from_sockaddr(&ss, &address);
        log_msg(v, LOG_LEVEL_INFO, "admin address, read only: http://%s/", addr_text(&address, text));
    }
}
