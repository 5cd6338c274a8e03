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
#include "handshaker/handshaker.h"
#include "handshaker/pace.h"

#define ACCEPT_PAUSE_MS 100

#define REST_ROUNDS 64 /* of HANDSHAKER_ACCEPT_MAX: as many as a queue holds */

static void unwatch_all(struct handshaker *h) {
    if (!h->accepting)
        return;
    h->accepting = false;
    for (size_t i = 0; i < h->nsockets; i++)
        if (h->sockets[i].fd >= 0)
            loop_unwatch(&h->loop, h->sockets[i].fd);
}

/* Out of descriptors or memory: stops accepting until h->resume fires. */
static void pause_accepting(struct handshaker *h) {
    if (log_pause_over(&h->limits_log, h->loop.now_ms))
        log_msg(&h->child.log, LOG_LEVEL_WARNING,
                "out of descriptors, or of memory for handshakes: accepting pauses until some are free");
    stats_process_add(&h->child.stats, STATS_ACCEPT_PAUSES, 1);
    unwatch_all(h);
    wheel_arm(&h->loop.wheel, &h->resume, h->loop.now_ms + ACCEPT_PAUSE_MS);
}

/* A socket that cannot be watched now is tried again with the others after a pause. */
static void watch_all(struct handshaker *h) {
    for (size_t i = 0; i < h->nsockets; i++)
        if (h->sockets[i].fd >= 0 && loop_watch(&h->loop, h->sockets[i].fd, EPOLLIN, HANDSHAKER_LISTENER, (uint32_t)i, 0) < 0) {
            pause_accepting(h);
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

void accept_stop(struct handshaker *h) {
    unwatch_all(h);
    wheel_cancel(&h->loop.wheel, &h->resume);
    for (size_t i = 0; i < h->nsockets; i++)
        if (h->sockets[i].fd >= 0) {
            close(h->sockets[i].fd);
            h->sockets[i].fd = -1;
        }
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
            pause_accepting(h);
            h->waits_for_room = true;
            return;
        }
        struct sockaddr_storage from = {.ss_family = AF_UNSPEC};
        socklen_t len = sizeof(from);
        int fd = accept4(listening, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            struct addr peer;
            client_address(fd, &from, &peer);
            if (!conn_start(h, fd, listener, &peer)) {
                pause_accepting(h);
                return;
            }
            pace(h);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_accepting(h);
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
