#include "relay/backend_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/tcp_options.h"

#define UNIX_SNDBUF (1024 * 1024) /* as far as the host allows: a quarter off bulk uploads */

int backend_socket(sa_family_t family, uint64_t keepalive_ms) {
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, sndbuf = UNIX_SNDBUF;
    if (fd < 0)
        return -1;
    /* without any of them sessions work as well */
    if (family == AF_UNIX) {
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf));
    } else {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        tcp_bound_unsent(fd);
        tcp_keepalive(fd, keepalive_ms);
    }
    return fd;
}

bool backend_socket_is_itself(int fd) {
    struct sockaddr_storage own, peer;
    socklen_t own_len = sizeof(own), peer_len = sizeof(peer);
    struct addr a, b;
    if (getsockname(fd, (struct sockaddr *)&own, &own_len) < 0 || getpeername(fd, (struct sockaddr *)&peer, &peer_len) < 0)
        return false;
    addr_from_sockaddr(&own, &a);
    addr_from_sockaddr(&peer, &b);
    return a.family != AF_UNSPEC && a.port == b.port && a.family == b.family && memcmp(a.ip, b.ip, sizeof(a.ip)) == 0;
}

void socket_close(int *fd, bool reset) {
    struct linger linger = {.l_onoff = reset, .l_linger = 0};
    if (*fd < 0)
        return;
    (void)setsockopt(*fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(*fd);
    *fd = -1;
}
