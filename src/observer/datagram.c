#include "observer/datagram.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void close_socket(struct sink *s) {
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

void datagram_end(struct sink *s) {
    if (s->batch_len > 0)
        sink_lose(s, EAGAIN, 1);
    close_socket(s);
}

static bool open_socket(struct sink *s) {
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    (void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", s->path);
    s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd >= 0 && connect(s->fd, (const struct sockaddr *)&sun, sizeof(sun)) == 0)
        return true;
    int error = errno;
    close_socket(s);
    errno = error;
    return false;
}

static bool try_send(const struct sink *s) {
    return send(s->fd, s->batch, s->batch_len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)s->batch_len;
}

/* The socket of a daemon that has ended is of no use for the next one. */
static bool is_gone_daemon(int error) {
    return error == ECONNREFUSED || error == ENOTCONN || error == ECONNRESET;
}

static bool send_entry(struct sink *s) {
    if (s->fd >= 0) {
        if (try_send(s))
            return true;
        if (!is_gone_daemon(errno))
            return false;
        close_socket(s);
    }
    return open_socket(s) && try_send(s);
}

void datagram_flush(struct sink *s) {
    if (s->batch_len == 0)
        return;
    if (!send_entry(s)) {
        if (errno == EAGAIN)
            return;
        sink_lose(s, errno, 1);
    }
    s->batch_len = 0;
}
