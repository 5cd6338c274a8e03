#include "supervisor/listeners.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/tcp_options.h"
#include "conf/ports.h"

static uint16_t nth_of(const struct conf *c, size_t i) {
    uint16_t nth = 0;
    for (size_t j = 0; j < i && !c->listeners[i].path; j++)
        nth = (uint16_t)(nth + addr_equal(&c->listeners[j].addr, &c->listeners[i].addr));
    return nth;
}

/* Sockets that were given have the options that they have. */
static bool listener_fits(const struct listener *l, const struct conf_listener *c) {
    if (c->path || l->local.path[0])
        return c->path && strcmp(l->local.path, c->path) == 0;
    return addr_equal(&l->asked, &c->addr) &&
           (l->given || (l->v6only == c->v6only && l->mptcp == c->mptcp && strcmp(l->device, c->device ? c->device : "") == 0));
}

struct listener *listeners_find(const struct listeners *l, const struct conf *c, size_t i) {
    uint16_t nth = nth_of(c, i);
    for (size_t k = 0; k < l->n; k++)
        if (listener_fits(&l->list[k], &c->listeners[i]) && l->list[k].nth == nth)
            return &l->list[k];
    return NULL;
}

struct listener *listeners_add(struct listeners *l, const struct conf_listener *asked, uint16_t nth) {
    struct listener *list = realloc(l->list, (l->n + 1) * sizeof(*l->list));
    if (!list)
        return NULL;
    l->list = list;
    struct listener *new = &l->list[l->n++];
    *new = (struct listener){
        .asked = asked->addr, .real = asked->addr, .nth = nth, .v6only = asked->v6only, .mptcp = asked->mptcp};
    struct text d = text_of(new->device, sizeof(new->device)), p = text_of(new->local.path, sizeof(new->local.path));
    text_add(&d, asked->device ? asked->device : "");
    text_add(&p, asked->path ? asked->path : "");
    return new;
}

/* ---- sockets ---- */

/* Our sockets of another form share the port until they are closed. */
static bool holds_port(const struct listeners *all, uint16_t port) {
    for (size_t k = 0; k < all->n; k++)
        if (all->list[k].nfds && !all->list[k].given && all->list[k].asked.port == port)
            return true;
    return false;
}

/* Any process of the same user may join a SO_REUSEPORT group: a first bind without it finds a port that is taken. */
static bool is_free(const struct conf_listener *c) {
    int fd = c->addr.port ? port_bind(c, &c->addr, false) : -1;
    if (fd < 0)
        return c->addr.port == 0;
    bool ok = listen(fd, 1) == 0;
    int error = errno;
    close(fd);
    errno = error;
    return ok;
}

static bool open_local(struct listener *l, const struct conf_listener *c) {
    if (l->nfds && (l->given || !unix_socket_is_gone(&l->local)))
        return true;
    int fd = unix_socket_open(c->path, false, (int)c->backlog, &l->local);
    if (fd < 0)
        return false;
    if (l->nfds) /* handshakers that serve have it, and what is in its queue */
        close(l->fds[0]);
    l->fds[0] = fd;
    l->nfds = 1;
    return true;
}

/* The group has a socket for each of WORKERS. False: errno. */
static bool fill_group(const struct listeners *all, struct listener *l, const struct conf_listener *c, uint32_t workers) {
    const int one = 1;
    if (c->path)
        return open_local(l, c);
    if (l->nfds == 0 && !holds_port(all, c->addr.port) && !is_free(c))
        return false;
    while (!l->given && l->nfds < workers) {
        struct sockaddr_storage ss;
        socklen_t len = sizeof(ss);
        int fd = port_bind(c, &l->real, true);
        if (fd < 0)
            return false;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* only makes it faster */
        l->fds[l->nfds++] = fd;
        if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0) /* port 0 has become a real one */
            addr_from_sockaddr(&ss, &l->real);
    }
    return true;
}

static void describe_listen_fault(struct text *why, const struct conf_listener *c) {
    text_addf(why, "%scannot listen on %s: %s", why->len ? "; " : "", c->name,
              c->path ? unix_socket_fault(errno) : strerror(errno));
}

const char *listener_text(const struct listener *l, char to[static LISTENER_TEXT_MAX]) {
    struct text t = text_of(to, LISTENER_TEXT_MAX);
    char address[ADDR_TEXT_MAX], zone[IF_NAMESIZE];
    if (l->local.path[0])
        text_addf(&t, "unix:%s", l->local.path);
    else if (l->real.scope && if_indextoname(l->real.scope, zone))
        text_addf(&t, "[%s%%%s]:%u", addr_ip_text(&l->real, address), zone, l->real.port);
    else if (l->given || l->v6only || !addr_is_any(&l->asked))
        text_add(&t, addr_text(&l->real, address));
    else
        text_addf(&t, "*:%u", l->real.port);
    return to;
}

/* A kernel without MPTCP gave plain TCP. */
static bool lacks_mptcp(const struct listener *l) {
    int protocol = IPPROTO_MPTCP;
    socklen_t len = sizeof(protocol);
    return l->mptcp && getsockopt(l->fds[0], SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 && protocol != IPPROTO_MPTCP;
}

bool listeners_bind(struct listeners *l, const struct conf *c, struct text *why) {
    bool ok = true;
    for (size_t i = 0; i < c->nlisteners; i++) {
        struct listener *one = listeners_find(l, c, i);
        if (!one)
            one = listeners_add(l, &c->listeners[i], nth_of(c, i));
        if (one && fill_group(l, one, &c->listeners[i], c->workers))
            continue;
        describe_listen_fault(why, &c->listeners[i]);
        ok = false;
    }
    return ok;
}

/* ---- listening ---- */

static void log_listening(struct log *v, const struct conf *c, const struct conf_listener *conf, const struct listener *l) {
    char names[512], address[LISTENER_TEXT_MAX];
    struct text t = text_of(names, sizeof(names));
    for (size_t i = 0; i < conf->nservices; i++)
        text_addf(&t, "%s%s", i ? "," : "", c->services[conf->services[i]].name);
    log_msg(v, LOG_LEVEL_INFO, "listening on %s for %s", listener_text(l, address), names);
    if (lacks_mptcp(l))
        log_msg(v, LOG_LEVEL_WARNING, "%s: this kernel gives no MPTCP, plain TCP is used", address);
}

/* Options are set at each reload: they may have changed, and inherited sockets have none. A second listen() sets the backlog.
 */
static bool listen_group(struct listener *l, const char *congestion, const struct conf_listener *conf) {
    bool local = l->local.path[0];
    if (local && !l->given && !unix_socket_give(&l->local, &conf->rights))
        return false;
    for (uint32_t k = 0; k < l->nfds; k++) {
        if (!local) {
            tcp_keepalive(l->fds[k], conf->keepalive_ms);
            tcp_bound_unsent(l->fds[k]);
        }
        if (!local && congestion[0] &&
            setsockopt(l->fds[k], IPPROTO_TCP, TCP_CONGESTION, congestion, (socklen_t)strlen(congestion)) < 0)
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
            describe_listen_fault(why, &c->listeners[i]);
            return false;
        }
        if (is_new || one->given)
            log_listening(v, c, &c->listeners[i], one);
    }
    return true;
}

/* ---- ends ---- */

static void close_from(struct listener *l, uint32_t first) {
    if (first == 0 && l->nfds && l->local.path[0] && !l->given)
        unix_socket_remove(&l->local);
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
    char text[LISTENER_TEXT_MAX];
    for (size_t k = 0; k < l->n; k++) {
        struct listener *one = &l->list[k];
        if (needed(l, c, one))
            continue;
        if (c)
            log_msg(v, LOG_LEVEL_INFO, "no longer listening on %s", listener_text(one, text));
        close_from(one, 0);
    }
    drop_empty(l);
    if (l->n == 0) {
        free(l->list);
        l->list = NULL;
    }
}
