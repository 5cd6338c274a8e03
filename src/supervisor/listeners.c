#include "supervisor/listeners.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/tcp_options.h"

static uint16_t nth_of(const struct conf *c, size_t i) {
    uint16_t nth = 0;
    for (size_t j = 0; j < i; j++)
        nth = (uint16_t)(nth + addr_equal(&c->listeners[j].addr, &c->listeners[i].addr));
    return nth;
}

struct listener *listeners_find(const struct listeners *l, const struct conf *c, size_t i) {
    uint16_t nth = nth_of(c, i);
    for (size_t k = 0; k < l->n; k++)
        if (addr_equal(&l->list[k].asked, &c->listeners[i].addr) && l->list[k].nth == nth)
            return &l->list[k];
    return NULL;
}

struct listener *listeners_add(struct listeners *l, const struct addr *asked, uint16_t nth) {
    l->list = realloc(l->list, (l->n + 1) * sizeof(*l->list));
    MUST(l->list);
    struct listener *new = &l->list[l->n++];
    *new = (struct listener){.asked = *asked, .real = *asked, .nth = nth};
    return new;
}

/* ---- sockets ---- */

static int set_socket_option(int fd, int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof(value));
}

/* One bound socket; -1 (errno). With REUSEPORT unset it fails when anybody else listens there. */
static int bound(const struct addr *a, bool reuseport) {
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(a, &ss);
    int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    bool ok = set_socket_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) == 0;
    ok = ok && (ss.ss_family != AF_INET6 || set_socket_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) == 0);
    ok = ok && (!reuseport || set_socket_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) == 0);
    ok = ok && set_socket_option(fd, IPPROTO_TCP, TCP_NODELAY, 1) == 0;
    if (ok && bind(fd, (struct sockaddr *)&ss, len) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Any process of the same user may join a SO_REUSEPORT group: a first bind without it finds a port that is taken. */
static bool is_free(const struct addr *a) {
    int fd = a->port ? bound(a, false) : -1;
    if (fd < 0)
        return a->port == 0;
    bool ok = listen(fd, 1) == 0;
    int error = errno;
    close(fd);
    errno = error;
    return ok;
}

/* The group has a socket for each of WORKERS. False: errno. */
static bool fill_group(struct listener *l, uint32_t workers) {
    if (l->nfds == 0 && !is_free(&l->asked))
        return false;
    while (!l->given && l->nfds < workers) {
        struct sockaddr_storage ss;
        socklen_t len = sizeof(ss);
        int fd = bound(&l->real, true);
        if (fd < 0)
            return false;
        l->fds[l->nfds++] = fd;
        if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0) /* port 0 has become a real one */
            addr_from_sockaddr(&ss, &l->real);
    }
    return true;
}

static void describe_listen_fault(struct text *why, const char *what, const struct addr *a) {
    int error = errno;
    char text[ADDR_TEXT_MAX];
    text_addf(why, "%s%s %s: %s", why->len ? "; " : "", what, addr_text(a, text), strerror(error));
}

bool listeners_bind(struct listeners *l, const struct conf *c, struct text *why) {
    bool ok = true;
    for (size_t i = 0; i < c->nlisteners; i++) {
        struct listener *one = listeners_find(l, c, i);
        if (!one)
            one = listeners_add(l, &c->listeners[i].addr, nth_of(c, i));
        if (fill_group(one, c->workers))
            continue;
        describe_listen_fault(why, "cannot listen on", &c->listeners[i].addr);
        ok = false;
    }
    return ok;
}

/* ---- listening ---- */

static void log_listening(struct log *v, const struct conf *c, const struct conf_listener *conf, const struct listener *l) {
    char names[512], address[ADDR_TEXT_MAX];
    struct text t = text_of(names, sizeof(names));
    for (size_t i = 0; i < conf->nservices; i++)
        text_addf(&t, "%s%s", i ? "," : "", c->services[conf->services[i]].name);
    log_msg(v, LOG_LEVEL_INFO, "listening on %s for %s", addr_text(&l->real, address), names);
}

/* Options are set at each reload: they may have changed, and inherited sockets have none. A second listen() sets the backlog.
 */
static bool listen_group(struct listener *l, const char *congestion, const struct conf_listener *conf) {
    for (uint32_t k = 0; k < l->nfds; k++) {
        tcp_keepalive(l->fds[k], conf->keepalive_ms);
        tcp_bound_unsent(l->fds[k]);
        if (congestion[0] && setsockopt(l->fds[k], IPPROTO_TCP, TCP_CONGESTION, congestion, (socklen_t)strlen(congestion)) < 0)
            return false;
        if (listen(l->fds[k], (int)conf->backlog) < 0)
            return false;
        l->nlistening = MAX(l->nlistening, k + 1);
    }
    return true;
}

bool listeners_listen(struct listeners *l, struct log *v, const struct conf *c, struct text *why) {
    for (size_t i = 0; i < c->nlisteners; i++) {
        struct listener *one = listeners_find(l, c, i);
        bool is_new = one->nlistening == 0;
        if (!listen_group(one, c->tcp_congestion, &c->listeners[i])) {
            describe_listen_fault(why, "cannot listen on", &one->real);
            return false;
        }
        if (is_new || one->given)
            log_listening(v, c, &c->listeners[i], one);
    }
    return true;
}

/* ---- ends ---- */

static void close_from(struct listener *l, uint32_t first) {
    for (uint32_t k = first; k < l->nfds; k++)
        close(l->fds[k]);
    l->nfds = MIN(l->nfds, first);
    l->nlistening = MIN(l->nlistening, first);
}

static void drop_empty(struct listeners *l) {
    size_t n = 0;
    for (size_t k = 0; k < l->n; k++)
        if (l->list[k].nfds)
            l->list[n++] = l->list[k];
    l->n = n;
}

void listeners_taken(struct listeners *l) {
    for (size_t k = 0; k < l->n; k++)
        l->list[k].nserved = l->list[k].nlistening;
}

void listeners_unbind(struct listeners *l) {
    for (size_t k = 0; k < l->n; k++)
        close_from(&l->list[k], l->list[k].nserved);
    drop_empty(l);
}

static bool needed(const struct listeners *l, const struct conf *c, const struct listener *one) {
    for (size_t i = 0; c && i < c->nlisteners; i++)
        if (listeners_find(l, c, i) == one)
            return true;
    return false;
}

void listeners_keep(struct listeners *l, struct log *v, const struct conf *c) {
    char text[ADDR_TEXT_MAX];
    for (size_t k = 0; k < l->n; k++) {
        struct listener *one = &l->list[k];
        if (needed(l, c, one))
            continue;
        if (c)
            log_msg(v, LOG_LEVEL_INFO, "no longer listening on %s", addr_text(&one->real, text));
        close_from(one, 0);
    }
    drop_empty(l);
    if (l->n == 0) {
        free(l->list);
        l->list = NULL;
    }
}
