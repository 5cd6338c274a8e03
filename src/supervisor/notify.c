/*
 * The service manager's protocol, sd_notify(3): lines of text in one datagram to the socket that it has named. Its environment
 * variables are read once and removed: no child shall speak in our name.
 */
#include "supervisor/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/rd.h"
#include "base/text.h"
#include "base/wr.h"
#include "supervisor/super.h"

static struct {
    struct sockaddr_un to;
    socklen_t len; /* 0 = no socket */
    uint64_t watchdog_usec;
} manager;

/* WATCHDOG_PID, when it is there, says whom it is meant for. */
static void read_watchdog(void) {
    const char *usec = getenv("WATCHDOG_USEC"), *pid_text = getenv("WATCHDOG_PID");
    uint64_t pid = (uint64_t)getpid();
    if (usec && manager.len && (!pid_text || text_parse_u64(pid_text, INT32_MAX, &pid) == 0) && pid == (uint64_t)getpid())
        if (text_parse_u64(usec, UINT64_MAX / 2, &manager.watchdog_usec) < 0)
            manager.watchdog_usec = 0;
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

uint64_t notify_watchdog_usec(void) {
    return manager.watchdog_usec;
}

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
    read_watchdog();
}

void notify_value(struct wr *w, struct rd *r) {
    if (w) {
        wr_vec16(w, span_of(&manager.to, manager.len));
        wr_u64(w, manager.watchdog_usec);
        return;
    }
    struct span in = rd_vec16(r);
    uint64_t usec = rd_u64(r);
    if (in.len > sizeof(manager.to))
        r->bad = true;
    if (r->bad)
        return;
    manager.len = (socklen_t)in.len;
    manager.watchdog_usec = usec;
    if (in.len)
        memcpy(&manager.to, in.p, in.len);
}

void notify(const char *state) {
    int fd = manager.len ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
    if (fd < 0)
        return;
    /* a manager that does not read is no reason to stop */
    (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&manager.to, manager.len);
    close(fd);
}
