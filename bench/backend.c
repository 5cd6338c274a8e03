/*
 * The application behind the proxies under test: a server on a Unix socket that does as little as it can.
 *
 * A request begins with nine bytes, a verb and a number N (64 bits, most significant byte first):
 *   E  N bytes follow; answered, when all are here, with the whole request again
 *   D  answered with N bytes
 *   U  N bytes follow; answered, when all are here, with one byte
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define COMMAND_LEN 9u
#define ECHO_MAX    (1u << 20)
#define EVENTS      512

struct client {
    int fd;
    bool wants_out; /* EPOLLOUT is watched */
    uint8_t head[COMMAND_LEN];
    unsigned have_head;
    uint64_t take_left, give_left; /* bytes of the request still to come; bytes of the answer still to go */
    uint8_t *echo;                 /* a request to be echoed that came in parts, or an answer that went in parts */
    size_t echo_len;
};

static int epoll_fd;
static uint8_t in[256 << 10], filling[256 << 10];

static void drop(struct client *c) {
    close(c->fd);
    free(c->echo);
    free(c);
}

static bool again(void) {
    return errno == EAGAIN || errno == EINTR;
}

/* Like servers in use, asks for room only while there is none: a Unix socket would otherwise wake us at each read of its peer.
 */
static bool watch(struct client *c, int operation, bool out) {
    struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET | (out ? EPOLLOUT : 0u), .data.ptr = c};
    c->wants_out = out;
    return epoll_ctl(epoll_fd, operation, c->fd, &ev) == 0;
}

static bool no_room(struct client *c) {
    return again() && (c->wants_out || watch(c, EPOLL_CTL_MOD, true));
}

/* Sends what is pending. False: the connection is gone. */
static bool give(struct client *c) {
    if (!c->give_left)
        return true; /* what `echo` holds may be an incomplete request */
    while (c->give_left) {
        const uint8_t *p = filling;
        size_t n = c->give_left < sizeof filling ? (size_t)c->give_left : sizeof filling;
        if (c->echo) {
            p = c->echo + (c->echo_len - c->give_left);
            n = (size_t)c->give_left;
        }
        ssize_t put = send(c->fd, p, n, MSG_NOSIGNAL);
        if (put < 0)
            return no_room(c);
        c->give_left -= (uint64_t)put;
    }
    free(c->echo);
    c->echo = NULL;
    return !c->wants_out || watch(c, EPOLL_CTL_MOD, false);
}

static bool finish(struct client *c) {
    uint64_t n = 1;
    if (c->head[0] == 'E')
        n = c->echo_len;
    c->have_head = 0;
    c->give_left = n;
    return give(c);
}

static bool begin(struct client *c) {
    uint64_t n = 0;
    for (unsigned i = 1; i < COMMAND_LEN; i++)
        n = n << 8 | c->head[i];
    c->take_left = n;
    switch (c->head[0]) {
    case 'E':
        c->echo_len = COMMAND_LEN + (size_t)n;
        c->echo = n <= ECHO_MAX ? malloc(c->echo_len) : NULL;
        if (!c->echo)
            return false;
        memcpy(c->echo, c->head, COMMAND_LEN);
        break;
    case 'D':
        c->take_left = 0;
        c->have_head = 0;
        c->give_left = n;
        return give(c);
    case 'U':
        break;
    default:
        return false;
    }
    return n ? true : finish(c);
}

/* One piece of input; returns how much of it was used, 0 = the connection is to end. */
static size_t feed(struct client *c, const uint8_t *p, size_t n) {
    size_t used = 0;
    if (c->have_head < COMMAND_LEN) {
        used = COMMAND_LEN - c->have_head < n ? COMMAND_LEN - c->have_head : n;
        memcpy(c->head + c->have_head, p, used);
        c->have_head += (unsigned)used;
        return c->have_head < COMMAND_LEN || begin(c) ? used : 0;
    }
    used = c->take_left < n ? (size_t)c->take_left : n;
    if (c->head[0] == 'E')
        memcpy(c->echo + (c->echo_len - c->take_left), p, used);
    c->take_left -= used;
    return c->take_left || finish(c) ? used : 0;
}

static bool keep_rest(struct client *c, size_t n, size_t put) {
    c->echo = malloc(n);
    if (!c->echo)
        return false;
    memcpy(c->echo, in, n);
    c->echo_len = n;
    c->give_left = n - put;
    return true;
}

/* The usual case, a whole small request in one read, is answered from where it was read to. */
static bool echo_at_once(struct client *c, size_t n, bool *ret_done) {
    uint64_t len = 0;
    *ret_done = false;
    if (c->have_head || c->give_left || n < COMMAND_LEN || in[0] != 'E')
        return true;
    for (unsigned i = 1; i < COMMAND_LEN; i++)
        len = len << 8 | in[i];
    if (n != COMMAND_LEN + len)
        return true;
    ssize_t put = send(c->fd, in, n, MSG_NOSIGNAL);
    if (put < 0 && !again())
        return false;
    *ret_done = true;
    return (size_t)put == n || (keep_rest(c, n, put < 0 ? 0 : (size_t)put) && give(c));
}

/* Edge-triggered: a short read may be the last one before the next event, unless the end is already there. */
static bool take(struct client *c, bool ending) {
    while (!c->give_left) {
        ssize_t n = recv(c->fd, in, sizeof in, 0);
        if (n < 0)
            return again();
        if (n == 0)
            return false;
        bool done;
        if (!echo_at_once(c, (size_t)n, &done))
            return false;
        for (size_t at = 0, used; !done && at < (size_t)n; at += used)
            if (c->give_left || (used = feed(c, in + at, (size_t)n - at)) == 0)
                return false; /* or a request before the last answer could go: not our client */
        if ((size_t)n < sizeof in && !ending)
            return true;
    }
    return true;
}

static void accept_all(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct client *c = calloc(1, sizeof *c);
        if (c)
            c->fd = fd;
        if (!c || !watch(c, EPOLL_CTL_ADD, false)) {
            perror("backend");
            exit(1);
        }
    }
}

static int listen_at(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n >= sizeof a.sun_path)
        return -1;
    memcpy(a.sun_path, path, n);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 4096) < 0)
        return -1;
    return fd;
}

int main(int argc, char **argv) {
    static struct epoll_event events[EVENTS];
    struct epoll_event ev = {.events = EPOLLIN};
    int listener = argc == 2 ? listen_at(argv[1]) : -1;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (listener < 0 || epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &ev) < 0) {
        fprintf(stderr, "usage: backend SOCKET (a path that is free)\n");
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    memset(filling, 'y', sizeof filling);
    puts("ready");
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (!c)
                accept_all(listener);
            else if (!give(c) || !take(c, events[i].events & (EPOLLRDHUP | EPOLLHUP)))
                drop(c);
        }
    }
}
