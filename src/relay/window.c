#include "relay/window.h"

#include <linux/socket.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/defs.h"

#define SLOW_US 1000000 /* a round trip that takes longer, or that is not known yet, is taken for this */

static int socket_option(int fd, int level, int name) {
    int value = 0;
    socklen_t len = sizeof(value);
    return getsockopt(fd, level, name, &value, &len) == 0 ? value : 0;
}

static void set_option(int fd, int level, int name, int value) {
    (void)setsockopt(fd, level, name, &value, sizeof(value)); /* without it the kernel goes on as it likes */
}

/*
 * A window of WANT bytes. SO_RCVBUF would stop at rmem_max; a low-water mark makes the kernel provide as much as that needs, up
 * to what it would have given on its own. Only with the lock off, and the lock is what keeps it from growing further.
 */
static void set_window(int fd, int want, bool smaller) {
    if (smaller)
        set_option(fd, SOL_SOCKET, SO_RCVBUF, 1);
    set_option(fd, SOL_SOCKET, SO_BUF_LOCK, 0);
    set_option(fd, SOL_SOCKET, SO_RCVLOWAT, want);
    set_option(fd, SOL_SOCKET, SO_RCVLOWAT, 1);
    set_option(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, want);
    set_option(fd, SOL_SOCKET, SO_BUF_LOCK, SOCK_RCVBUF_LOCK);
}

static void adjust_window(int fd, uint64_t moved, uint32_t elapsed_us) {
    struct tcp_info t = {0};
    socklen_t len = sizeof(t);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &t, &len) < 0)
        return;
    uint64_t round_us = MIN(t.tcpi_min_rtt, (uint32_t)SLOW_US); /* what the path takes, not the queues and processes on it */
    uint64_t path = moved * round_us / MAX(elapsed_us, 1u);     /* bytes a round trip */
    int want = (int)MIN(MAX(2 * path, (uint64_t)WINDOW_MIN), (uint64_t)INT32_MAX / 2);
    int window = socket_option(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP);
    bool ours = socket_option(fd, SOL_SOCKET, SO_BUF_LOCK) & SOCK_RCVBUF_LOCK;
    bool larger = want > window + window / 4, smaller = want < window / 4;
    if (!ours || larger || smaller)
        set_window(fd, want, smaller);
}

void window_moved(int fd, uint64_t before, uint64_t bytes, uint32_t *mark_us) {
    if (before / WINDOW_LOOK == bytes / WINDOW_LOOK)
        return;
    uint32_t now_us = (uint32_t)clock_mono_us();
    if (*mark_us)
        adjust_window(fd, WINDOW_LOOK, now_us - *mark_us);
    else
        adjust_window(fd, 0, 1);
    *mark_us = now_us ? now_us : 1;
}
