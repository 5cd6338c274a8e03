/* See door.h. */
#include "door.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "handshaker/proxy_in.h"
#include "request_info.h"

#define CALLERS_MAX 512
#define HEADER_MS   5000
#define BACKLOG     4096
#define UNDECIDED_LEN                                                                                                          \
    6                   /* this many bytes distinguish a PROXY header from a request: "POST /" and "PROXY " both begin with P  \
                         */
#define UNDECIDED_MS 10 /* fewer stay in the socket, which poll() would call readable again and again */
#define PAUSE_MS     50 /* out of descriptors */

struct caller {
    int fd;
    bool undecided;
    uint64_t deadline_ms;
    size_t have; /* bytes of the header, taken out of the socket */
    uint8_t head[PROXY_IN_MAX];
};

struct door {
    int listen_fd, stop_fd;
    door_fn fn;
    void *ctx;
    uint64_t pause_until_ms;
    struct caller *callers[CALLERS_MAX];
    size_t n;
};

static bool is_stale(const struct sockaddr_un *un) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool refused = connect(fd, (const struct sockaddr *)un, sizeof(*un)) < 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

int door_open(const char *path) {
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len >= sizeof(un.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(un.sun_path, path, len);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int bound = bind(fd, (const struct sockaddr *)&un, sizeof(un));
    if (bound < 0 && errno == EADDRINUSE && is_stale(&un) && unlink(path) == 0)
        bound = bind(fd, (const struct sockaddr *)&un, sizeof(un));
    if (bound == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

/*
 * Continues with a caller's header. Bytes are peeked in the socket and read only when they belong to it for sure. STEP_DONE:
 * ret->len is its length, 0 = there is none.
 */
static enum step read_header(struct caller *c, struct proxy_in *ret) {
    *ret = (struct proxy_in){0};
    for (;;) {
        int err = 0;
        ssize_t n = recv(c->fd, c->head + c->have, sizeof(c->head) - c->have, MSG_PEEK | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return STEP_WANT_READ;
        if (n <= 0)
            return STEP_EOF;
        size_t seen = c->have + (size_t)n;
        enum step step = proxy_in_read(span_of(c->head, seen), ret, &err);
        if (step == STEP_FAILED)
            return err == ERR_PROXY_MISSING && c->have == 0 ? STEP_DONE : STEP_FAILED;
        c->undecided = step == STEP_WANT_READ && seen < UNDECIDED_LEN;
        if (c->undecided)
            return STEP_WANT_READ;
        size_t ours = (step == STEP_DONE ? ret->len : seen) - c->have;
        if (recv(c->fd, c->head + c->have, ours, MSG_DONTWAIT) != (ssize_t)ours)
            return STEP_FAILED; /* what was just peeked */
        c->have += ours;
        if (step == STEP_DONE)
            return STEP_DONE;
    }
}

/* True when the caller is still to be waited for; otherwise its connection was given away or closed. */
static bool advance(struct door *d, struct caller *c, uint64_t now_ms) {
    struct proxy_in in;
    enum step step = read_header(c, &in);
    if (step == STEP_WANT_READ && now_ms < c->deadline_ms)
        return true;
    if (step == STEP_DONE) {
        d->fn(d->ctx, c->fd, in.len ? info_of_header(span_of(c->head, in.len), &in) : NULL);
    } else {
        if (step != STEP_EOF)
            (void)fprintf(stderr, "connection closed: %s\n",
                          step == STEP_FAILED ? "malformed PROXY header" : "nothing complete in time");
        close(c->fd);
    }
    free(c);
    return false;
}

static void accept_all(struct door *d, uint64_t now_ms) {
    while (d->n < CALLERS_MAX) {
        int fd = accept4(d->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK)
                d->pause_until_ms = now_ms + PAUSE_MS;
            return;
        }
        struct caller *c = malloc(sizeof(*c));
        if (!c) {
            close(fd);
            return;
        }
        c->fd = fd;
        c->undecided = false;
        c->have = 0;
        c->deadline_ms = now_ms + HEADER_MS;
        if (advance(d, c, now_ms)) /* most often the header came with the connection */
            d->callers[d->n++] = c;
    }
}

/* Fills POLLS for the listening socket, the stop and every caller; returns how long to wait. */
static int prepare(const struct door *d, struct pollfd *polls, uint64_t now_ms) {
    bool paused = now_ms < d->pause_until_ms;
    int wait_ms = paused ? PAUSE_MS : -1;
    polls[0] = (struct pollfd){.fd = d->stop_fd, .events = POLLIN};
    polls[1] = (struct pollfd){.fd = paused || d->n == CALLERS_MAX ? -1 : d->listen_fd, .events = POLLIN};
    for (size_t i = 0; i < d->n; i++) {
        const struct caller *c = d->callers[i];
        uint64_t left = c->deadline_ms > now_ms ? c->deadline_ms - now_ms : 0;
        int ms = c->undecided ? UNDECIDED_MS : (int)left;
        polls[2 + i] = (struct pollfd){.fd = c->undecided ? -1 : c->fd, .events = POLLIN};
        if (wait_ms < 0 || ms < wait_ms)
            wait_ms = ms;
    }
    return wait_ms;
}

static void turn(struct door *d, const struct pollfd *polls, uint64_t now_ms) {
    size_t kept = 0;
    for (size_t i = 0; i < d->n; i++) {
        struct caller *c = d->callers[i];
        bool due = polls[2 + i].revents || c->undecided || c->deadline_ms <= now_ms;
        if (!due || advance(d, c, now_ms))
            d->callers[kept++] = c;
    }
    d->n = kept;
    if (polls[1].revents)
        accept_all(d, now_ms);
}

void door_serve(int listen_fd, int stop_fd, door_fn fn, void *ctx) {
    static struct pollfd polls[2 + CALLERS_MAX];
    static struct door d;
    d = (struct door){.listen_fd = listen_fd, .stop_fd = stop_fd, .fn = fn, .ctx = ctx};
    for (;;) {
        int wait_ms = prepare(&d, polls, clock_mono_ms());
        if (poll(polls, 2 + d.n, wait_ms) < 0 && errno != EINTR)
            break;
        if (polls[0].revents)
            break;
        turn(&d, polls, clock_mono_ms());
    }
    for (size_t i = 0; i < d.n; i++) {
        close(d.callers[i]->fd);
        free(d.callers[i]);
    }
}
