#include "observer/datagram.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static bool open_socket(int *fd, const char *path) {
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    (void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    *fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*fd >= 0 && connect(*fd, (const struct sockaddr *)&sun, sizeof(sun)) == 0)
        return true;
    int error = errno;
    datagram_close(fd);
    errno = error;
    return false;
}

static bool try_send(int fd, struct span d) {
    return send(fd, d.p, d.len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)d.len;
}

/* The socket of a daemon that has ended is of no use for the next one. */
static bool is_gone(int error) {
    return error == ECONNREFUSED || error == ENOTCONN || error == ECONNRESET;
}

bool datagram_send(int *fd, const char *path, struct span datagram) {
    if (*fd >= 0) {
        if (try_send(*fd, datagram))
            return true;
        if (!is_gone(errno))
            return false;
        datagram_close(fd);
    }
    return open_socket(fd, path) && try_send(*fd, datagram);
}

void datagram_close(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}
