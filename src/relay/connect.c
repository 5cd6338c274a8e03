/*
 * From a session to a backend: choice, connect without blocking, the next backend after a failure, and the wait for a Unix
 * socket whose queue of connections is full (a state, not an error).
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "relay/proxy_header.h"
#include "relay/session.h"
#include "wire/resolved.h"

#define UNIX_SNDBUF   (1024 * 1024) /* as far as the host allows: a quarter off bulk uploads */
#define RETRY_MS      WHEEL_TICK_MS /* between looks at a full backlog, when no turn comes sooner */
#define BACKLOG_BATCH 64

static struct backends *backends_of(struct relay *r, const struct session *s) {
    return &r->services[s->service].backends;
}

void connect_leave_line(struct relay *r, struct session *s) {
    if (!s->in_line)
        return;
    s->in_line = false;
    list_remove(&s->link);
    r->backlog_waiters--;
}

void connect_leave(struct relay *r, struct session *s) {
    if (!s->on_backend)
        return;
    s->on_backend = false;
    counts_on_backend(r, s, false);
    connect_leave_line(r, s);
    backends_leave(backends_of(r, s), s->backend);
}

/* This attempt failed: the backend is told so, the session is free for the next one. */
static void attempt_failed(struct relay *r, struct session *s, const char *why) {
    struct backends *b = backends_of(r, s);
    uint32_t out_ms = 0;
    uint16_t i = s->backend;
    counts_backend(r, s, STATS_CONNECTS_FAILED);
    if (backends_failed(b, i, r->loop.now_ms, &out_ms)) {
        counts_backend(r, s, STATS_LEFT_OUT);
        voice_say(&r->child.voice, LOG_LEVEL_WARNING, "service %s: backend %s: %s; left out for %u ms", b->service->name,
                  b->list[i].conf->text, why, out_ms);
    }
    s->tried |= 1ull << i;
    s->retries++;
    connect_leave(r, s);
    if (s->backend_fd >= 0)
        close(s->backend_fd);
    s->backend_fd = -1;
}

static void connected(struct relay *r, struct session *s) {
    const struct conf_service *service = session_service(r, s);
    backends_connected(backends_of(r, s), s->backend);
    s->connected = true;
    s->connect_us = (uint32_t)(clock_mono_us() - s->connect_begun_us);
    counts_connected(r, s);
    struct facts f;
    uint8_t header[PROXY_HEADER_MAX];
    struct wr w = wr_of(header, sizeof(header));
    session_facts(s, &f);
    proxy_header_write(&w, service, &f);
    bool unix_socket = service->backends[s->backend].kind != BACKEND_TCP;
    uint32_t events = EPOLLIN | EPOLLRDHUP | EPOLLET | (unix_socket ? 0u : (uint32_t)EPOLLOUT);
    s->backend_wants_out = !unix_socket;
    session_forget_cert(s, &f);
    int err = wr_end(&w) ? chain_append(&r->pool, &s->up.wait, wr_written(&w)) : ERR_LIMIT;
    if (err == 0 && unix_socket)
        err = loop_watch(&r->loop, s->backend_fd, events, RELAY_BACKEND, s->item.slot, LOOP_GEN(s->item.gen));
    if (err < 0)
        session_fail(r, s, err);
    else
        session_goto(r, s, SESSION_OPEN);
}

/* The queue of the backend is full: in line behind those who came before. */
void connect_stand_in_line(struct relay *r, struct session *s) {
    list_push(&r->services[s->service].waiters[s->backend], &s->link);
    s->in_line = true;
    r->backlog_waiters++;
    if (!wtimer_armed(&r->backlog_timer))
        wheel_arm(&r->loop.wheel, &r->backlog_timer, r->loop.now_ms + RETRY_MS);
}

static bool addrs_left(struct relay *r, const struct session *s) {
    return s->addrs_tried < backends_of(r, s)->list[s->backend].naddrs;
}

/* Addresses of this backend, or backends. */
static bool others_left(struct relay *r, const struct session *s) {
    size_t n = session_service(r, s)->nbackends;
    uint64_t all = n >= 64 ? UINT64_MAX : (1ull << n) - 1;
    return addrs_left(r, s) || ((s->tried | 1ull << s->backend) & all) != all;
}

/* One attempt may take half of the time that is left when there are others to try. */
static void arm_attempt(struct relay *r, struct session *s) {
    if (s->deadline_ms == CONF_NEVER)
        return;
    uint64_t left = s->deadline_ms > r->loop.now_ms ? s->deadline_ms - r->loop.now_ms : 0;
    wheel_arm(&r->loop.wheel, &s->timer, r->loop.now_ms + (others_left(r, s) ? left / 2 : left));
}

enum attempt { ATTEMPT_DONE, ATTEMPT_PENDING, ATTEMPT_FAILED };

int connect_socket(sa_family_t family) {
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, sndbuf = UNIX_SNDBUF;
    if (fd < 0)
        return -1;
    /* both only make it faster */
    if (family == AF_UNIX)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf));
    else
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

/* TCP connects are watched for their result; a full Unix backlog puts the session in line. */
static enum attempt pending(struct relay *r, struct session *s, int error) {
    if (error == EAGAIN) {
        s->retries++;
        counts_backend(r, s, STATS_BACKLOG_FULL);
        connect_stand_in_line(r, s);
        return ATTEMPT_PENDING;
    }
    if (error != EINPROGRESS)
        return ATTEMPT_FAILED;
    arm_attempt(r, s);
    uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    if (loop_watch(&r->loop, s->backend_fd, events, RELAY_BACKEND, s->item.slot, LOOP_GEN(s->item.gen)) < 0)
        return ATTEMPT_FAILED;
    return ATTEMPT_PENDING;
}

/* One address of the backend; errno when that failed. */
static enum attempt attempt_addr(struct relay *r, struct session *s, const struct sockaddr_storage *to, socklen_t len) {
    s->backend_fd = connect_socket(to->ss_family);
    if (s->backend_fd < 0)
        return ATTEMPT_FAILED;
    if (connect(s->backend_fd, (const struct sockaddr *)to, len) == 0) {
        if (to->ss_family == AF_UNIX)
            return ATTEMPT_DONE;
        errno = EINPROGRESS; /* at once, over loopback: its event follows like any other */
    }
    return pending(r, s, errno);
}

/* The connect to one address failed. True when its name has another that is to be tried: the backend has not failed yet. */
static bool next_addr(struct relay *r, struct session *s) {
    struct backends *b = backends_of(r, s);
    uint8_t n = b->list[s->backend].naddrs;
    if (n < 2) /* a Unix socket, too */
        return false;
    backends_addr_failed(b, s->backend, s->addr, r->loop.now_ms);
    if (!addrs_left(r, s))
        return false;
    s->addr = (uint8_t)((s->addr + 1) % n);
    s->addrs_tried++;
    s->retries++;
    counts_backend(r, s, STATS_CONNECTS_FAILED);
    if (s->backend_fd >= 0)
        close(s->backend_fd);
    s->backend_fd = -1;
    return true;
}

static enum attempt attempt(struct relay *r, struct session *s) {
    struct sockaddr_storage to;
    socklen_t len = 0;
    do {
        if (backends_sockaddr(backends_of(r, s), s->backend, s->addr, &to, &len) < 0) {
            attempt_failed(r, s, "its name has no address (yet)");
            return ATTEMPT_FAILED;
        }
        enum attempt a = attempt_addr(r, s, &to, len);
        if (a != ATTEMPT_FAILED)
            return a;
    } while (next_addr(r, s));
    attempt_failed(r, s, strerror(errno));
    return ATTEMPT_FAILED;
}

/* Tries backends until one takes the session, is being waited for, or all are tried. */
void connect_try(struct relay *r, struct session *s) {
    struct facts f;
    uint8_t key[16];
    session_facts(s, &f);
    addr_client_key(&f.client, key);
    for (;;) {
        s->backend = backends_pick(backends_of(r, s), key, s->tried, r->loop.now_ms);
        if (s->backend == BACKEND_NONE) {
            session_fail(r, s, ERR_BACKEND_REFUSED);
            return;
        }
        s->on_backend = true;
        s->addr = backends_addr(backends_of(r, s), s->backend, r->loop.now_ms);
        s->addrs_tried = 1;
        counts_on_backend(r, s, true);
        switch (attempt(r, s)) {
        case ATTEMPT_DONE:
            connected(r, s);
            return;
        case ATTEMPT_PENDING:
            return;
        default:
            break;
        }
    }
}

/* After a connect that failed: the next address of the backend's name, else the next backend. */
static void try_next(struct relay *r, struct session *s, int error) {
    bool more = next_addr(r, s);
    if (!more)
        attempt_failed(r, s, strerror(error));
    if (!more || attempt(r, s) == ATTEMPT_FAILED)
        connect_try(r, s);
}

void connect_begin(struct relay *r, struct session *s) {
    s->connect_begun_us = clock_mono_us();
    connect_try(r, s);
}

void connect_event(struct relay *r, struct session *s, uint32_t events) {
    int error = 0;
    socklen_t len = sizeof(error);
    if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) || s->in_line)
        return;
    if (getsockopt(s->backend_fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error == 0 && !(events & (EPOLLERR | EPOLLHUP))) {
        connected(r, s);
        s->down.readable = events & (EPOLLIN | EPOLLRDHUP);
        s->backend_ended = events & EPOLLRDHUP; /* no other event will tell */
        return;
    }
    try_next(r, s, error ? error : ECONNREFUSED);
}

void connect_timeout(struct relay *r, struct session *s) {
    bool in_line = s->in_line;
    if (r->loop.now_ms < s->deadline_ms) { /* this attempt's time is over, the session's is not */
        wheel_arm(&r->loop.wheel, &s->timer, s->deadline_ms);
        try_next(r, s, ETIMEDOUT);
        return;
    }
    if (!in_line) {
        backends_addr_failed(backends_of(r, s), s->backend, s->addr, r->loop.now_ms);
        attempt_failed(r, s, strerror(ETIMEDOUT));
    }
    session_fail(r, s, in_line ? ERR_BACKEND_BACKLOG : ERR_BACKEND_TIMEOUT);
}

/* In order of arrival, until the backlog is full again. */
static void retry_one_backend(struct relay *r, struct list *waiters) {
    for (int i = 0; i < BACKLOG_BATCH && !list_empty(waiters); i++) {
        struct session *s = CONTAINER_OF(waiters->next, struct session, link);
        struct sockaddr_storage to;
        socklen_t len = 0;
        int err = backends_sockaddr(backends_of(r, s), s->backend, s->addr, &to, &len);
        if (err == 0 && connect(s->backend_fd, (struct sockaddr *)&to, len) < 0) {
            if (errno == EAGAIN)
                return;
            err = ERR_SYSTEM;
        }
        int error = errno;
        connect_leave_line(r, s);
        if (err == 0) {
            connected(r, s);
        } else {
            attempt_failed(r, s, strerror(error));
            connect_try(r, s);
        }
    }
}

void connect_retry_waiters(struct relay *r) {
    if (r->backlog_waiters == 0)
        return;
    for (size_t i = 0; i < r->nservices; i++)
        for (size_t j = 0; r->services[i].conf && j < r->services[i].conf->nbackends; j++)
            retry_one_backend(r, &r->services[i].waiters[j]);
    if (r->backlog_waiters && !wtimer_armed(&r->backlog_timer))
        wheel_arm(&r->loop.wheel, &r->backlog_timer, r->loop.now_ms + RETRY_MS);
}

void connect_resolved(struct relay *r, const struct ipc_msg *m) {
    struct resolved a;
    if (resolved_read(m, &a) < 0 || a.service >= r->conf->nservices || a.backend >= r->conf->services[a.service].nbackends)
        return;
    backends_resolved(&r->services[a.service].backends, a.backend, a.addrs, a.n);
}
