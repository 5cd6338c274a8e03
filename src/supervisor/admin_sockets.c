#include "supervisor/admin_sockets.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/text.h"
#include "wire/control.h"

#define ADMIN_SOCKETS_BACKLOG 128

void admin_sockets_init(struct admin_sockets *a) {
    *a = (struct admin_sockets){.unix_fd = -1, .tcp_fd = -1};
}

static int open_tcp(const struct addr *a) {
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(a, &ss);
    const int one = 1;
    int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
        bind(fd, (struct sockaddr *)&ss, len) == 0 && listen(fd, ADMIN_SOCKETS_BACKLOG) == 0)
        return fd;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return -1;
}

static bool give_rights(const struct admin_sockets *a, const struct conf_admin *c, struct text *why) {
    if (unix_socket_give(&a->file, &c->rights))
        return true;
    text_addf(why, "admin socket %s: %s", a->file.path, unix_socket_fault(errno));
    return false;
}

static void close_unix(struct admin_sockets *a) {
    if (a->unix_fd < 0)
        return;
    close(a->unix_fd);
    a->unix_fd = -1;
    unix_socket_remove(&a->file);
}

static bool take_unix(struct admin_sockets *a, const struct conf_admin *c, struct text *why) {
    a->unix_fd = unix_socket_open(c->socket, true, ADMIN_SOCKETS_BACKLOG, &a->file);
    if (a->unix_fd < 0)
        text_addf(why, "admin socket %s: %s", c->socket, unix_socket_fault(errno));
    else if (give_rights(a, c, why))
        return true;
    close_unix(a);
    return !c->socket_given;
}

bool admin_sockets_open(struct admin_sockets *a, const struct conf_admin *c, struct text *why) {
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

void admin_sockets_close(struct admin_sockets *a) {
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

bool admin_sockets_change(struct admin_sockets *a, const struct conf_admin *new, struct text *why) {
    struct conf_admin wanted = *new;
    struct admin_sockets next;
    bool same_path = a->unix_fd >= 0 && new->socket &&strcmp(a->file.path, new->socket) == 0 && !unix_socket_is_gone(&a->file);
    bool same_listen = new->listen.family != AF_UNSPEC &&listens_on(a->tcp_fd, &new->listen);
    admin_sockets_init(&next);
    if (same_path)
        wanted.socket = NULL;
    if (same_listen)
        wanted.listen.family = AF_UNSPEC;
    if (!admin_sockets_open(&next, &wanted, why) || (same_path && !give_rights(a, new, why))) {
        admin_sockets_close(&next);
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
    admin_sockets_close(a);
    *a = next;
    return true;
}

int admin_sockets_give(const struct admin_sockets *a, int control) {
    int err = 0;
    if (a->unix_fd >= 0)
        err = control_send_admin(control, ADMIN_UNIX, a->unix_fd);
    if (err == 0 && a->tcp_fd >= 0)
        err = control_send_admin(control, ADMIN_TCP, a->tcp_fd);
    return err;
}

void admin_sockets_log(const struct admin_sockets *a, struct log *v) {
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    struct addr address;
    char text[ADDR_TEXT_MAX];
    if (a->unix_fd >= 0)
        log_msg(v, LOG_LEVEL_INFO, "admin socket: %s", a->file.path);
    if (a->tcp_fd >= 0 && getsockname(a->tcp_fd, (struct sockaddr *)&ss, &len) == 0) {
        addr_from_sockaddr(&ss, &address);
        log_msg(v, LOG_LEVEL_INFO, "admin address, read only: http://%s/", addr_text(&address, text));
    }
}
