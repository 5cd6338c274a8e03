/* Accepts connections: see accept.h. */
#include "handshaker/accept.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "handshaker/conn.h"
#include "handshaker/conn_metrics.h"
#include "handshaker/handshaker.h"
#include "handshaker/pace.h"

#define PAUSE_MS 100

#define REST_ROUNDS 64 /* of HANDSHAKER_ACCEPT_MAX: as many as a queue holds */

/* A socket that cannot be watched now is tried again with the others after a pause. */
static void watch_all(struct handshaker *h) {
    for (size_t i = 0; i < h->nsockets; i++)
        if (h->sockets[i].fd >= 0 && loop_watch(&h->loop, h->sockets[i].fd, EPOLLIN, HANDSHAKER_LISTENER, (uint32_t)i, 0) < 0) {
            accept_pause(h);
            return;
        }
}

void accept_start(struct handshaker *h) {
    if (h->accepting || h->draining)
        return;
    h->waits_for_room = false;
    wheel_cancel(&h->loop.wheel, &h->resume);
    h->accepting = true;
    watch_all(h);
}

void accept_resume(void *ctx, struct wtimer *t) {
    accept_start(ctx);
}

static void unwatch_all(struct handshaker *h) {
    if (!h->accepting)
        return;
    h->accepting = false;
    for (size_t i = 0; i < h->nsockets; i++)
        if (h->sockets[i].fd >= 0)
            loop_unwatch(&h->loop, h->sockets[i].fd);
}

void accept_stop(struct handshaker *h) {
    unwatch_all(h);
    wheel_cancel(&h->loop.wheel, &h->resume);
    for (size_t i = 0; i < h->nsockets; i++)
        if (h->sockets[i].fd >= 0) {
            close(h->sockets[i].fd);
            h->sockets[i].fd = -1;
        }
}

void accept_pause(struct handshaker *h) {
    if (log_pause_over(&h->limits_log, h->loop.now_ms))
        log_msg(&h->child.log, LOG_LEVEL_WARNING,
                "out of descriptors, or of memory for handshakes: accepting pauses until some are free");
    stats_process_add(&h->child.stats, STATS_ACCEPT_PAUSES, 1);
    unwatch_all(h);
    wheel_arm(&h->loop.wheel, &h->resume, h->loop.now_ms + PAUSE_MS);
}

int accept_peer(const struct handshaker *h, const struct conn *c) {
    const struct conf_listener *l = &h->conf->listeners[c->listener];
    for (size_t i = 0; i < l->nproxy_trust; i++)
        if (cidr_has(&l->proxy_trust[i], &c->peer))
            return 0;
    return ERR_PROXY_UNTRUSTED;
}

/*
 * Sessions first: what they refuse takes nothing from the rate. Each handshaker counts before it compares, so of two that
 * accept the last one at the same time at least one sees both.
 */
static int client_within(struct handshaker *h, struct conn *c, uint64_t sessions, uint64_t rate, bool fleet) {
    uint64_t now_ms = h->loop.now_ms;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (sessions &&
        scoreboard_client_over(&h->child.scoreboard, &c->client, (struct scoreboard_limit){sessions, fleet}, now_ms))
        return ERR_CLIENT_SESSIONS;
    if (rate && !scoreboard_handshake(&h->row, &c->client, (struct scoreboard_limit){rate, fleet}, now_ms))
        return ERR_CLIENT_RATE;
    return 0;
}

/* The server name and the service as a whole, after the client itself: one that is over its own limits takes nothing of theirs.
 */
static int name_within(struct handshaker *h, struct conn *c, const struct conf_service *s) {
    struct span name = span_str(conn_said_name(c));
    uint64_t now_ms = h->loop.now_ms;
    if (s->max_sessions_per_name) {
        scoreboard_name(&h->row, c->service, name, 1);
        c->name_counted = true;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (scoreboard_name_sessions(&h->child.scoreboard, c->service, name) > s->max_sessions_per_name)
            return ERR_NAME_SESSIONS;
    }
    if (s->max_handshakes_per_name && !scoreboard_name_handshake(&h->row, c->service, name, s->max_handshakes_per_name, now_ms))
        return ERR_NAME_RATE;
    if (s->max_handshakes && !scoreboard_service_handshake(&h->row, c->service, s->max_handshakes, now_ms))
        return ERR_SERVICE_RATE;
    return 0;
}

int accept_client(struct handshaker *h, struct conn *c) {
    const struct conf_listener *l = &h->conf->listeners[c->listener];
    int err = admit_client(h, c);
    if (err < 0)
        return err;
    scoreboard_client(&h->row, &c->client, 1);
    c->client_counted = true;
    conn_metrics_client(h, c);
    err = client_within(h, c, l->max_sessions_per_client, l->max_handshakes_per_client, l->fleet_limits);
    if (err == 0 && l->max_handshakes_per_client)
        conn_metrics_let_in(h, c);
    return err;
}

void accept_charge(struct handshaker *h, const struct conn *c) {
    const struct conf_service *s = h->services[c->service].conf;
    const struct scoreboard_limit limit = {s->max_handshakes_per_client, s->fleet_limits};
    if (limit.most && c->client_counted) /* of an empty bucket nothing more is to be had */
        (void)!scoreboard_handshake(&h->row, &c->client, limit, h->loop.now_ms);
}

int accept_service(struct handshaker *h, struct conn *c) {
    const struct conf_service *s = h->services[c->service].conf;
    const struct conf_listener *l = &h->conf->listeners[c->listener];
    uint64_t rate = s->max_handshakes_per_client, charged = l->max_handshakes_per_client;
    bool was_asked = rate == charged && s->fleet_limits == l->fleet_limits;
    int err = admit_to_service(h, c);
    if (err == 0)
        err = admit_hello(h, c);
    if (err < 0)
        return err;
    scoreboard_service(&h->row, c->service, 1);
    c->service_counted = true;
    conn_metrics_service(h, c);
    if (s->max_sessions && scoreboard_service_sessions(&h->child.scoreboard, c->service) > s->max_sessions)
        return ERR_SERVICE_SESSIONS;
    if (c->client_counted)
        err = client_within(h, c, s->max_sessions_per_client, was_asked ? 0 : rate, s->fleet_limits);
    if (err == 0 && c->client_counted && rate && !charged) /* otherwise it was counted when it was accepted */
        conn_metrics_let_in(h, c);
    return err < 0 ? err : name_within(h, c, s);
}

/* Who is at the other end; at a Unix socket the process that connected. */
static void client_address(int fd, const struct sockaddr_storage *from, struct addr *ret) {
    struct ucred process;
    socklen_t len = sizeof(process);
    if (from->ss_family == AF_UNIX && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &process, &len) == 0)
        *ret = addr_of_process(process.uid, process.gid, (uint32_t)process.pid);
    else
        addr_from_sockaddr(from, ret);
}

/* Accepts until none is left, at the price of one more call: what is accepted together is handed over together. */
static void accept_some(struct handshaker *h, int listening, uint16_t listener) {
    for (unsigned i = 0; i < HANDSHAKER_ACCEPT_MAX && h->accepting; i++) {
        if (!budget_admits(h)) {
            accept_pause(h);
            h->waits_for_room = true;
            return;
        }
        struct sockaddr_storage from = {.ss_family = AF_UNSPEC};
        socklen_t len = sizeof(from);
        int fd = accept4(listening, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            struct addr peer;
            client_address(fd, &from, &peer);
            conn_start(h, fd, listener, &peer);
            pace(h);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            accept_pause(h);
            return;
        } else if (errno == EAGAIN) {
            return;
        }
        /* every other error belongs to one connection that died in the queue (accept(2), "Error handling") */
    }
}

void accept_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    struct handshaker *h = ctx;
    accept_some(h, h->sockets[key].fd, h->sockets[key].listener);
}

void accept_for_other(struct handshaker *h, int fd, uint16_t listener) {
    accept_some(h, fd, listener);
    close(fd);
}

void accept_backlog(struct handshaker *h) {
    for (uint32_t i = 0; i < h->nsockets; i++)
        for (unsigned n = 0; n < REST_ROUNDS && h->accepting && h->sockets[i].fd >= 0; n++) {
            uint32_t before = h->conns.used;
            accept_event(h, i, 0, 0);
            if (h->conns.used == before)
                break;
        }
}
