/* Taking connections: bounded a turn, paused while descriptors are short, refused where a client is over its limits. */
#include <errno.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "handshaker/hand.h"

#define PAUSE_MS 100
#define TELL_MS  10000

#define REST_ROUNDS 64 /* of HAND_ACCEPT_MAX: as many as a queue holds */

static void watch_all(struct hand *h) {
    for (size_t i = 0; i < h->nsockets; i++)
        if (h->sockets[i].fd >= 0 && loop_watch(&h->loop, h->sockets[i].fd, EPOLLIN, HAND_LISTENER, (uint32_t)i, 0) < 0)
            voice_say(&h->child.voice, LOG_LEVEL_ERROR, "cannot watch a listening socket: %m");
}

void accept_start(struct hand *h) {
    if (h->accepting || h->draining)
        return;
    h->accepting = true;
    watch_all(h);
}

static void unwatch_all(struct hand *h) {
    if (!h->accepting)
        return;
    h->accepting = false;
    for (size_t i = 0; i < h->nsockets; i++)
        if (h->sockets[i].fd >= 0)
            loop_unwatch(&h->loop, h->sockets[i].fd);
}

void accept_stop(struct hand *h) {
    unwatch_all(h);
    wheel_cancel(&h->loop.wheel, &h->resume);
    for (size_t i = 0; i < h->nsockets; i++)
        if (h->sockets[i].fd >= 0) {
            close(h->sockets[i].fd);
            h->sockets[i].fd = -1;
        }
}

void accept_pause(struct hand *h) {
    if (h->loop.now_ms >= h->limits_told_ms + TELL_MS || h->limits_told_ms == 0) {
        h->limits_told_ms = h->loop.now_ms;
        voice_say(&h->child.voice, LOG_LEVEL_WARNING, "out of descriptors: accepting pauses until some are free");
    }
    stats_process_add(&h->child.stats, STATS_ACCEPT_PAUSES, 1);
    unwatch_all(h);
    wheel_arm(&h->loop.wheel, &h->resume, h->loop.now_ms + PAUSE_MS);
}

static int client_within(const struct hand *h, const struct conf_service *s, const uint8_t key[static 16]) {
    const struct board *b = &h->child.board;
    if (s->max_handshakes_per_client_per_second &&
        board_client_handshakes(b, key, h->loop.now_ms) > s->max_handshakes_per_client_per_second)
        return ERR_CLIENT_RATE;
    if (s->max_sessions_per_client && board_client_sessions(b, key) > s->max_sessions_per_client)
        return ERR_CLIENT_SESSIONS;
    return 0;
}

int accept_client(struct hand *h, struct conn *c) {
    uint8_t key[16];
    addr_client_key(&c->client, key);
    board_client(&h->row, key, 1);
    board_handshake(&h->row, key, h->loop.now_ms);
    c->client_counted = true;
    tally_client(h, c);
    return client_within(h, h->services[c->service].conf, key);
}

int accept_service(struct hand *h, struct conn *c) {
    const struct conf_service *s = h->services[c->service].conf;
    uint8_t key[16];
    addr_client_key(&c->client, key);
    board_service(&h->row, c->service, 1);
    c->service_counted = true;
    tally_service(h, c);
    if (s->max_sessions && board_service_sessions(&h->child.board, c->service) > s->max_sessions)
        return ERR_SERVICE_SESSIONS;
    return client_within(h, s, key);
}

/* As many as there are, though the last try finds none: what is accepted together is handed over together. */
static void take_some(struct hand *h, int listening, uint16_t listener) {
    for (unsigned i = 0; i < HAND_ACCEPT_MAX && h->accepting; i++) {
        struct sockaddr_storage from;
        socklen_t len = sizeof(from);
        int fd = accept4(listening, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            struct addr peer;
            addr_from_sockaddr(&from, &peer);
            conn_start(h, fd, listener, &peer);
            pace(h);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            accept_pause(h);
            return;
        } else if (errno == EAGAIN) {
            return;
        }
        /* everything else belongs to one connection that died in the queue (accept(2), "Error handling") */
    }
}

void accept_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    (void)gen;
    (void)events;
    struct hand *h = ctx;
    take_some(h, h->sockets[key].fd, h->sockets[key].listener);
}

void accept_for_other(struct hand *h, int fd, uint16_t listener) {
    take_some(h, fd, listener);
    close(fd);
}

void accept_rest(struct hand *h) {
    for (uint32_t i = 0; i < h->nsockets; i++)
        for (unsigned n = 0; n < REST_ROUNDS && h->accepting && h->sockets[i].fd >= 0; n++) {
            uint32_t before = h->conns.used;
            accept_event(h, i, 0, 0);
            if (h->conns.used == before)
                break;
        }
}
