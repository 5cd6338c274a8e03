/*
 * The listening sockets: one a handshaker and address (SO_REUSEPORT), opened before rights are dropped and kept open here, so
 * that no connection in a queue is lost when a handshaker dies.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/text.h"
#include "supervisor/super.h"

#define BACKLOG 4096 /* the kernel cuts it to net.core.somaxconn */

int listeners_get(const struct super *s, size_t listener, uint16_t worker) {
    return s->listeners[listener * s->conf->workers + worker];
}

static int set(int fd, int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof(value));
}

/* One bound socket; -1 (errno). With REUSEPORT unset it fails when anybody else listens there. */
static int bound(const struct addr *a, bool reuseport) {
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(a, &ss);
    int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    bool well = set(fd, SOL_SOCKET, SO_REUSEADDR, 1) == 0;
    well = well && (ss.ss_family != AF_INET6 || set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) == 0);
    well = well && (!reuseport || set(fd, SOL_SOCKET, SO_REUSEPORT, 1) == 0);
    well = well && set(fd, IPPROTO_TCP, TCP_NODELAY, 1) == 0;
    if (well && bind(fd, (struct sockaddr *)&ss, len) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Anybody of the same user may join a SO_REUSEPORT group: a first look without it finds a port that is taken. */
static bool is_free(const struct addr *a) {
    int fd = a->port ? bound(a, false) : -1;
    if (fd < 0)
        return a->port == 0;
    bool well = listen(fd, 1) == 0;
    int error = errno;
    close(fd);
    errno = error;
    return well;
}

static bool open_one(struct super *s, size_t i) {
    struct addr *a = &s->conf->listeners[i];
    const char *congestion = s->conf->tcp_congestion;
    for (uint32_t w = 0; w < s->conf->workers; w++) {
        int fd = bound(a, true);
        if (fd < 0)
            return false;
        s->listeners[i * s->conf->workers + w] = fd;
        if (congestion[0] && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, (socklen_t)strlen(congestion)) < 0)
            return false;
        if (listen(fd, BACKLOG) < 0)
            return false;
        struct sockaddr_storage ss;
        socklen_t len = sizeof(ss);
        if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0) /* port 0 has become a real one */
            addr_from_sockaddr(&ss, a);
    }
    return true;
}

bool listeners_open(struct super *s) {
    size_t n = s->conf->nlisteners * s->conf->workers;
    s->listeners = malloc(n * sizeof(int));
    MUST(s->listeners);
    for (size_t i = 0; i < n; i++)
        s->listeners[i] = -1;
    bool well = true;
    for (size_t i = 0; i < s->conf->nlisteners; i++) {
        char text[ADDR_TEXT_MAX];
        if (!is_free(&s->conf->listeners[i]) || !open_one(s, i)) {
            fprintf(stderr, "tls-off: cannot listen on %s: %s\n", addr_text(&s->conf->listeners[i], text), strerror(errno));
            well = false;
        }
    }
    return well;
}

void listeners_say(struct super *s) {
    for (size_t i = 0; i < s->conf->nlisteners; i++) {
        char names[512], address[ADDR_TEXT_MAX];
        struct text t = text_of(names, sizeof(names));
        for (size_t j = 0; j < s->conf->nservices; j++)
            for (size_t k = 0; k < s->conf->services[j].nlisteners; k++)
                if (s->conf->services[j].listeners[k] == i)
                    text_addf(&t, "%s%s", t.len ? "," : "", s->conf->services[j].name);
        voice_say(&s->voice, LOG_LEVEL_INFO, "listening on %s for %s", addr_text(&s->conf->listeners[i], address), names);
    }
}

void listeners_close(struct super *s) {
    for (size_t i = 0; s->listeners && i < s->conf->nlisteners * s->conf->workers; i++)
        if (s->listeners[i] >= 0)
            close(s->listeners[i]);
    free(s->listeners);
    s->listeners = NULL;
}
