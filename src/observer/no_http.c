#include "observer/no_http.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"

#define ACCEPTS_A_TURN 16
#define LISTENS        NO_HTTP_CONNECTIONS /* keys from here on are listening sockets */

static void drop_unserved(struct no_http *n, uint32_t i) {
    if (n->conns[i].fd < 0)
        return;
    loop_unwatch(n->loop, n->conns[i].fd);
    close(n->conns[i].fd);
    n->conns[i].fd = -1;
}

/* What the client has sent is read first: a socket that is closed with unread bytes takes the answer with it. */
static void answer_unserved(struct no_http *n, uint32_t i) {
    char unread[4096], line[512], reply[768];
    struct text body = text_of(line, sizeof(line)), all = text_of(reply, sizeof(reply));
    int fd = n->conns[i].fd;
    if (fd < 0)
        return;
    ssize_t got = recv(fd, unread, sizeof(unread), MSG_DONTWAIT);
    text_addf(&body, "the observer cannot serve this socket: %s\n", n->why);
    text_addf(
        &all,
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
        body.len, line);
    if (got != 0) /* it fits, or the client reads nothing */
        (void)!send(fd, reply, all.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    drop_unserved(n, i);
}

static void accept_clients(struct no_http *n, int listening) {
    for (unsigned round = 0; round < ACCEPTS_A_TURN; round++) {
        int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        uint32_t i = n->accepted++ % NO_HTTP_CONNECTIONS;
        answer_unserved(n, i);
        n->conns[i].fd = fd;
        n->conns[i].tag = n->accepted;
        if (loop_watch(n->loop, fd, EPOLLIN, n->kind, i, LOOP_GEN(n->accepted)) < 0)
            answer_unserved(n, i);
    }
}

static void on_unserved_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    struct no_http *n = ctx;
    (void)events;
    if (key >= LISTENS)
        accept_clients(n, n->sockets[key - LISTENS]);
    else if (LOOP_GEN(n->conns[key].tag) == gen)
        answer_unserved(n, key);
}

void no_http_start(struct no_http *n, struct loop *loop, unsigned kind) {
    n->loop = loop;
    n->kind = kind;
    n->accepted = 0;
    for (unsigned i = 0; i < NO_HTTP_SOCKETS; i++)
        n->sockets[i] = -1;
    for (unsigned i = 0; i < NO_HTTP_CONNECTIONS; i++)
        n->conns[i].fd = -1;
    loop_on(loop, kind, on_unserved_event, n);
}

int no_http_listen(struct no_http *n, unsigned nth, int fd) {
    int err = loop_watch(n->loop, fd, EPOLLIN, n->kind, LISTENS + nth, 0);
    if (err < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return err;
    }
    if (n->sockets[nth] >= 0) {
        loop_unwatch(n->loop, n->sockets[nth]);
        close(n->sockets[nth]);
    }
    n->sockets[nth] = fd;
    return 0;
}

void no_http_fini(struct no_http *n) {
    for (uint32_t i = 0; i < NO_HTTP_CONNECTIONS; i++)
        drop_unserved(n, i);
    for (unsigned i = 0; i < NO_HTTP_SOCKETS; i++)
        if (n->sockets[i] >= 0) {
            loop_unwatch(n->loop, n->sockets[i]);
            close(n->sockets[i]);
            n->sockets[i] = -1;
        }
}
