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

static struct sockaddr_un address_of(const char *path) {
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    memcpy(sun.sun_path, path, strnlen(path, sizeof(sun.sun_path) - 1));
    return sun;
}

/* The folder PATH lies in; made when it is ours to make (the default place). -1 (errno). */
static int open_folder(const char *path, bool make) {
    char folder[CONF_SOCKET_PATH_MAX + 1];
    struct text t = text_of(folder, sizeof(folder));
    const char *slash = strrchr(path, '/');
    text_add_span(&t, span_of(path, MAX((size_t)(slash - path), (size_t)1)));
    if (make && mkdir(folder, 0755) < 0 && errno != EEXIST && errno != ENOENT)
        return -1;
    return open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Two that start at once must not take the same stale file for their own. Somebody else's lock is waited for a moment only. */
static void lock_folder(int fd) {
    for (int i = 0; i < LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB) < 0; i++)
        (void)poll(NULL, 0, LOCK_PAUSE_MS); /* a pause */
}

/* Nobody answers at what a dead process left behind. Anything else than a socket is never touched. */
static bool is_stale(const char *path) {
    struct sockaddr_un sun = address_of(path);
    struct stat st;
    if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode)) {
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

/* Born with the rights it shall have: nobody slips in between. */
static int bind_closed(int fd, const char *path, const struct conf_admin *c) {
    struct sockaddr_un sun = address_of(path);
    mode_t before = umask(0177);
    int failed = bind(fd, (struct sockaddr *)&sun, sizeof(sun));
    umask(before);
    if (failed)
        return -1;
    if ((c->uid == UINT32_MAX && c->gid == UINT32_MAX) || lchown(path, c->uid, c->gid) == 0)
        if (chmod(path, c->mode) == 0 && listen(fd, BACKLOG) == 0)
            return 0;
    int error = errno;
    (void)unlink(path); /* was made a moment ago */
    errno = error;
    return -1;
}

static int open_unix(const struct conf_admin *c) {
    const char *path = c->socket;
    int folder = open_folder(path, !c->socket_given);
    int fd = folder < 0 ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        lock_folder(folder);
        bool well = bind_closed(fd, path, c) == 0;
        if (!well && errno == EADDRINUSE && is_stale(path) && unlink(path) == 0)
            well = bind_closed(fd, path, c) == 0;
        int error = errno;
        if (!well)
            close(fd);
        fd = well ? fd : -1;
        errno = error;
    }
    int error = errno;
    if (folder >= 0)
        close(folder); /* and the lock with it */
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

/* Whose file it is later: only that one is taken away. */
static void remember(struct admin_sockets *a, const char *path) {
    struct stat st;
    struct text t = text_of(a->path, sizeof(a->path));
    text_add(&t, path);
    if (lstat(path, &st) == 0) {
        a->dev = st.st_dev;
        a->ino = st.st_ino;
    }
}

static bool take_unix(struct admin_sockets *a, const struct conf_admin *c, struct text *why) {
    a->unix_fd = open_unix(c);
    if (a->unix_fd >= 0) {
        remember(a, c->socket);
        return true;
    }
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
    if (lstat(a->path, &st) == 0 && st.st_dev == a->dev && st.st_ino == a->ino)
        (void)unlink(a->path); /* one that cannot be taken away is stale, which the next start sees */
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

/* Another mode or owner is set in place: the connections that wait stay. */
static bool keep_unix(struct admin_sockets *a, const struct conf_admin *new, struct text *why) {
    if (lchown(a->path, new->uid, new->gid) == 0 && chmod(a->path, new->mode) == 0)
        return true;
    text_addf(why, "admin socket %s: %s", a->path, strerror(errno));
    return false;
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

void admin_say(const struct admin_sockets *a, struct voice *v) {
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    struct addr address;
    char text[ADDR_TEXT_MAX];
    if (a->unix_fd >= 0)
        voice_say(v, LOG_LEVEL_INFO, "admin socket: %s", a->path);
    if (a->tcp_fd >= 0 && getsockname(a->tcp_fd, (struct sockaddr *)&ss, &len) == 0) {
        addr_from_sockaddr(&ss, &address);
        voice_say(v, LOG_LEVEL_INFO, "admin address, read only: http://%s/", addr_text(&address, text));
    }
}
