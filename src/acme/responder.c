#include "acme/responder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "conf/conf_acme.h"

#define CONN_MS  10000
#define BACKLOG  64
#define LISTENER UINT32_MAX /* key in the loop; connections have the number of their place */

static void end_responder_conn(struct responder_conn *c) {
    struct responder *r = c->responder;
    r->protocol->end(c);
    free(c->state);
    alarm_clock_stop(&c->deadline);
    loop_unwatch(r->loop, c->fd);
    close(c->fd);
    c->responder = NULL;
}

static void conn_late(void *ctx) {
    end_responder_conn(ctx);
}

/* What the peer still sends is read until it closes: else its side would see a reset. True when it has. */
static bool drain_conn(const struct responder_conn *c) {
    char unread[1024];
    ssize_t n;
    do {
        n = read(c->fd, unread, sizeof(unread));
    } while (n > 0 || (n < 0 && errno == EINTR));
    return n == 0 || errno != EAGAIN;
}

static void work_conn(struct responder_conn *c) {
    struct responder *r = c->responder;
    enum responder_step step = c->ending ? RESPONDER_DONE : r->protocol->work(c);
    uint32_t events = step == RESPONDER_WRITES ? EPOLLOUT : step == RESPONDER_WAITS ? 0 : EPOLLIN;
    c->waits = step == RESPONDER_WAITS;
    if (step == RESPONDER_DONE && !c->ending) {
        c->ending = true;
        (void)shutdown(c->fd, SHUT_WR); /* fails when the peer is gone, which shows next */
    }
    if ((c->ending && drain_conn(c)) || loop_rewatch(r->loop, c->fd, events, r->kind, (uint32_t)(c - r->conns), 0) < 0)
        end_responder_conn(c);
}

/* When there is none, the oldest has to go: who says what he wants is done long before, and nobody is kept out by who does not.
 */
static struct responder_conn *free_conn_place(struct responder *r) {
    struct responder_conn *oldest = &r->conns[0];
    for (size_t i = 0; i < RESPONDER_CONNS; i++) {
        if (!r->conns[i].responder)
            return &r->conns[i];
        if (r->conns[i].number < oldest->number)
            oldest = &r->conns[i];
    }
    end_responder_conn(oldest);
    return oldest;
}

static void take_conn(struct responder *r, struct responder_conn *c, int fd) {
    *c = (struct responder_conn){
        .responder = r, .fd = fd, .number = ++r->numbers, .deadline = {.loop = r->loop, .fn = conn_late, .ctx = c}};
    c->state = calloc(1, r->protocol->size);
    if (!c->state || loop_watch(r->loop, fd, EPOLLIN, r->kind, (uint32_t)(c - r->conns), 0) < 0) {
        free(c->state);
        close(fd);
        c->responder = NULL;
        return;
    }
    alarm_clock_set(&c->deadline, CONN_MS);
    if (r->protocol->begin(c))
        work_conn(c);
    else
        end_responder_conn(c);
}

static void accept_all(struct responder *r) {
    int fd = 0;
    for (size_t i = 0; i < RESPONDER_CONNS && fd >= 0;
         i++) { /* there may be more than can be accepted: others have their turn */
        fd = accept4(r->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            take_conn(r, free_conn_place(r), fd);
    }
}

static void responder_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    struct responder *r = ctx;
    (void)gen;
    if (key == LISTENER)
        accept_all(r);
    else if (key < RESPONDER_CONNS && r->conns[key].responder &&
             r->conns[key].waits) /* of that it waits for none but its end */
        end_responder_conn(&r->conns[key]);
    else if (key < RESPONDER_CONNS && r->conns[key].responder)
        work_conn(&r->conns[key]);
}

void responder_wake(struct responder *r) {
    for (size_t i = 0; i < RESPONDER_CONNS; i++)
        if (r->conns[i].responder && r->conns[i].waits)
            work_conn(&r->conns[i]);
}

static const char *hidden_name(const struct responder *r, char to[static 112]) {
    (void)snprintf(to, 112, "%s" ACME_NEXT_DOOR, r->path);
    return to;
}

int responder_open(struct responder *r, struct loop *loop, unsigned kind, const char *path,
                   const struct responder_protocol *protocol, void *ctx, struct text *why) {
    *r = (struct responder){.loop = loop, .kind = kind, .fd = -1, .protocol = protocol, .ctx = ctx};
    struct text p = text_of(r->path, sizeof(r->path));
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char name[112];
    text_add(&p, path);
    if (p.cut || strlen(hidden_name(r, name)) >= sizeof(a.sun_path)) {
        text_addf(why, "%s: the path of this socket is too long, expected a shorter state_dir", path);
        return ERR_LIMIT;
    }
    memcpy(a.sun_path, name, strlen(name) + 1);
    loop_on(loop, kind, responder_event, r);
    (void)unlink(name); /* of a process before us */
    r->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t mask = umask(0111); /* relays may be of another user than we are now */
    bool ok = r->fd >= 0 && bind(r->fd, (const struct sockaddr *)&a, sizeof(a)) == 0 && listen(r->fd, BACKLOG) == 0;
    int error = errno;
    (void)umask(mask);
    if (ok)
        return 0;
    text_addf(why, "%s: %s", name, strerror(error));
    responder_close(r);
    return ERR_SYSTEM;
}

int responder_serve(struct responder *r) {
    char name[112];
    if (rename(hidden_name(r, name), r->path) < 0)
        return ERR_SYSTEM;
    r->serves = true;
    return loop_watch(r->loop, r->fd, EPOLLIN, r->kind, LISTENER, 0);
}

void responder_close(struct responder *r) {
    for (size_t i = 0; i < RESPONDER_CONNS; i++)
        if (r->conns[i].responder)
            end_responder_conn(&r->conns[i]);
    char name[112];
    if (r->fd >= 0) {
        close(r->fd);
        (void)unlink(r->serves ? r->path : hidden_name(r, name));
    }
    r->fd = -1;
}
