/*
 * The service manager's protocol, sd_notify(3): lines of text in one datagram to the socket that it has named. What it said in
 * the environment is read once and taken out: no child of ours shall speak in our name.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/rd.h"
#include "base/wr.h"
#include "supervisor/super.h"

static struct {
    struct sockaddr_un to;
    socklen_t len; /* 0 = nobody listens */
} manager;

void notify_init(void) {
    const char *path = getenv("NOTIFY_SOCKET");
    size_t n = path ? strlen(path) : 0;
    if (n > 1 && n < sizeof(manager.to.sun_path) && (path[0] == '/' || path[0] == '@')) {
        manager.to.sun_family = AF_UNIX;
        memcpy(manager.to.sun_path, path, n);
        if (path[0] == '@')
            manager.to.sun_path[0] = 0;
        manager.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    }
    unsetenv("NOTIFY_SOCKET");
}

void notify_value(struct wr *w, struct rd *r) {
    if (w) {
        wr_vec16(w, span_of(&manager.to, manager.len));
        return;
    }
    struct span in = rd_vec16(r);
    if (in.len > sizeof(manager.to))
        r->bad = true;
    if (r->bad)
        return;
    manager.len = (socklen_t)in.len;
    if (in.len)
        memcpy(&manager.to, in.p, in.len);
}

void notify(const char *state) {
    int fd = manager.len ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
    if (fd < 0)
        return;
    /* a manager that does not listen is no reason to stop */
    (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&manager.to, manager.len);
    close(fd);
}
