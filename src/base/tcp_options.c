#include "base/tcp_options.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/defs.h"

#define UNSENT_MAX (512 * 1024)

static void set_int(int fd, int level, int option, int value) {
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

void tcp_keepalive(int fd, uint64_t quiet_ms) {
    int quiet_s = (int)MIN(MAX(quiet_ms / 1000, UINT64_C(1)), (uint64_t)TCP_KEEPALIVE_MAX_S);
    if (quiet_ms != UINT64_MAX) {
        set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, quiet_s);
        set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, MAX(quiet_s / TCP_KEEPALIVE_PROBES, 1));
        set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, TCP_KEEPALIVE_PROBES);
    }
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, quiet_ms != UINT64_MAX);
}

void tcp_bound_unsent(int fd) {
    set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_MAX);
}
