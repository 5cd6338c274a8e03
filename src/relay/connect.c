/*
 * From a session to a backend: choice, connect without blocking, the next backend after a failure. A backend whose queue of
 * connections is full is passed over for the others; when none has a place, the session waits in the queue of its service, and
 * the same when this process lacks descriptors, memory or ports (docs/decisions/028). Waiting is a state, not an error.
 */
#include "relay/connect.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "relay/backend_socket.h"
#include "relay/backends.h"
#include "relay/preface.h"
#include "relay/relay.h"
#include "relay/session.h"
#include "relay/session_info.h"
#include "relay/session_metrics.h"
#include "relay/session_trace.h"
#include "wire/backend_fault.h"
#include "wire/resolved.h"

#define CONNECT_RETRY_MS WHEEL_TICK_MS /* between looks at the queues, when no turn comes sooner */
#define SHORT_RETRY_MS   20            /* the same while it is we who lack something: each look costs more then */
#define QUEUE_BATCH      64            /* sessions looked at, a service and look */

/* What an attempt came to. */
enum attempt {
    ATTEMPT_DONE,
    ATTEMPT_PENDING, /* an event follows */
    ATTEMPT_FAILED,  /* that is the backend's doing */
    ATTEMPT_NO_ROOM, /* its queue is full, or no port is left towards it: another backend may do */
    ATTEMPT_SHORT,   /* we have no descriptor or memory: no other backend would do */
};

static struct backends *backends_of(struct relay *r, const struct session *s) {
    return &r->services[s->service].backends;
}

static bool is_tcp(struct relay *r, const struct session *s) {
    return session_service(r, s)->backends[s->chosen].kind == BACKEND_TCP;
}

void connect_leave(struct relay *r, struct session *s) {
    if (!s->on_backend)
        return;
    s->on_backend = false;
    session_metrics_on_backend(r, s, false);
    backends_leave(backends_of(r, s), s->chosen);
}

static void close_attempt(struct session *s) {
    if (s->backend.fd >= 0)
        close(s->backend.fd);
    s->backend.fd = -1;
}

/* ---- faults ---- */

/* Classifies a connect that did not succeed at once. EAGAIN of a Unix socket: the queue of its peer is full. */
static enum attempt classify_error(int error) {
    switch (error) {
    case EINPROGRESS:
        return ATTEMPT_PENDING;
    case EAGAIN:
    case EADDRNOTAVAIL:
        return ATTEMPT_NO_ROOM;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
        return ATTEMPT_SHORT;
    default:
        return ATTEMPT_FAILED;
    }
}

/* Why a session ends that has waited in vain. */
static int unconnected_reason(int error) {
    switch (error) {
    case EAGAIN:
        return ERR_BACKEND_BACKLOG;
    case EADDRNOTAVAIL:
        return ERR_NO_LOCAL_PORT;
    case EMFILE:
    case ENFILE:
        return ERR_OUT_OF_FDS;
    default:
        return ERR_NOMEM;
    }
}

static void log_ejected(struct relay *r, const struct session *s, int error, uint32_t out_ms) {
    const struct backend *x = &backends_of(r, s)->list[s->chosen];
    uint32_t times = x->failures - BACKEND_FAILURES_OUT + 1;
    session_metrics_backend(r, s, STATS_EJECTED);
    if (times & (times - 1)) /* only the first, second, fourth, eighth are logged */
        return;
    log_msg(&r->child.log, LOG_LEVEL_WARNING, "service %s: backend %s: %s; ejected for %u ms", session_service(r, s)->name,
            x->conf->text, backend_fault_text(error), out_ms);
}

/* The first failure after a success is logged as well: by the third, clients have noticed. */
static void log_fault(struct relay *r, const struct session *s, int error) {
    struct backend *x = &backends_of(r, s)->list[s->chosen];
    if (x->failures == 1 && log_pause_over(&x->fault_log, r->loop.now_ms))
        log_msg(&r->child.log, LOG_LEVEL_WARNING, "service %s: backend %s: %s", session_service(r, s)->name, x->conf->text,
                backend_fault_text(error));
}

static void remember(struct relay *r, struct session *s, int error) {
    struct backend *x = &backends_of(r, s)->list[s->chosen];
    s->connect_errno = (uint16_t)error;
    x->error = error;
    x->error_ms = r->loop.now_ms;
}

/* The backend that the session is on is charged with a failure. */
static void charge_backend(struct relay *r, struct session *s, int error) {
    uint32_t out_ms = 0;
    remember(r, s, error);
    if (backends_failed(backends_of(r, s), s->chosen, r->loop.now_ms, &out_ms))
        log_ejected(r, s, error, out_ms);
    else
        log_fault(r, s, error);
}

/* This attempt failed: the session is free for the next one. */
static void attempt_failed(struct relay *r, struct session *s, int error) {
    session_metrics_backend(r, s, STATS_CONNECTS_FAILED);
    if (tracers_any(r->child.tracers))
        session_trace(r, s, TRACED_CONNECT_FAILED, backend_fault_text(error));
    charge_backend(r, s, error);
    s->tried |= 1ull << s->chosen;
    s->retries++;
    connect_leave(r, s);
    close_attempt(s);
}

/* The backend has no place now. Only a queue that does not move is its fault. */
static void no_room(struct relay *r, struct session *s, int error) {
    uint32_t out_ms = 0;
    remember(r, s, is_tcp(r, s) ? EADDRNOTAVAIL : error); /* TCP has failed with EAGAIN for it, too */
    if (is_tcp(r, s))
        return;
    if (s->waits != WAITS_BACKLOG) {
        session_metrics_backend(r, s, STATS_BACKLOG_FULL);
        if (tracers_any(r->child.tracers))
            session_trace(r, s, TRACED_BACKLOG_FULL, NULL);
    }
    if (backends_full(backends_of(r, s), s->chosen, r->loop.now_ms, &out_ms))
        log_ejected(r, s, error, out_ms);
}

/* Ours, not a backend's: logged and counted as such. */
static void log_short(struct relay *r, const struct session *s) {
    r->retry_ms = r->loop.now_ms + SHORT_RETRY_MS;
    if (s->waits == WAITS_BACKLOG)
        return;
    session_metrics_process(&r->child.stats, STATS_CONNECT_SHORT);
    if (log_pause_over(&r->short_log, r->loop.now_ms))
        log_msg(&r->child.log, LOG_LEVEL_WARNING, "tls-off itself cannot connect to backends now: %s; sessions wait",
                backend_fault_text(s->connect_errno));
}

/* ---- success ---- */

void connect_welcome(struct relay *r, struct session *s) {
    const struct conf_service *service = session_service(r, s);
    if (backends_connected(backends_of(r, s), s->chosen))
        log_msg(&r->child.log, LOG_LEVEL_INFO, "service %s: backend %s takes sessions again", service->name,
                service->backends[s->chosen].text);
}

void connect_no_welcome(struct relay *r, struct session *s, int reason) {
    bool knows_client = session_service(r, s)->proxy_send != PROXY_SEND_NONE;
    bool chose = reason == ERR_GREETING_REFUSED || reason == ERR_GREETING_CLOSED || reason == ERR_BACKEND_RESET;
    if (s->on_backend && !(knows_client && chose))
        charge_backend(r, s, EPROTO);
}

static void connected(struct relay *r, struct session *s) {
    const struct conf_service *service = session_service(r, s);
    if (!s->greeting) /* otherwise what it says will show */
        connect_welcome(r, s);
    s->connected = true;
    s->connect_us = (uint32_t)(clock_mono_us() - s->connect_begun_us);
    session_metrics_connected(r, s);
    bool unix_socket = service->backends[s->chosen].kind != BACKEND_TCP;
    uint32_t events = SESSION_EVENTS | (unix_socket ? 0u : (uint32_t)EPOLLOUT);
    s->backend.wants_out = !unix_socket;
    int err = unix_socket ? loop_watch(&r->loop, s->backend.fd, events, RELAY_BACKEND, s->item.slot, LOOP_GEN(s->item.gen)) : 0;
    if (err < 0)
        session_fail(r, s, err);
    else
        preface_begin(r, s);
}

/* ---- attempts ---- */

static bool addrs_left(struct relay *r, const struct session *s) {
    return s->addrs_tried < backends_of(r, s)->list[s->chosen].naddrs;
}

/* Addresses of this backend, or backends. */
static bool others_left(struct relay *r, const struct session *s) {
    size_t n = session_service(r, s)->nbackends;
    uint64_t all = n >= 64 ? UINT64_MAX : (1ull << n) - 1;
    return addrs_left(r, s) || ((s->tried | 1ull << s->chosen) & all) != all;
}

/* One attempt may take half of the time that is left when there are others to try. */
static void arm_attempt(struct relay *r, struct session *s) {
    if (s->deadline_ms == CONF_NEVER)
        return;
    uint64_t left = s->deadline_ms > r->loop.now_ms ? s->deadline_ms - r->loop.now_ms : 0;
    wheel_arm(&r->loop.wheel, &s->timer, r->loop.now_ms + (others_left(r, s) ? left / 2 : left));
}

/* One address of the backend. TCP connects are watched for their result. *ret_error when it did not succeed at once. */
static enum attempt attempt_addr(struct relay *r, struct session *s, const struct sockaddr_storage *to, socklen_t len,
                                 int *ret_error) {
    const uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    s->backend.fd = backend_socket(to->ss_family, session_service(r, s)->keepalive_ms);
    if (s->backend.fd >= 0 && connect(s->backend.fd, (const struct sockaddr *)to, len) == 0) {
        if (to->ss_family == AF_UNIX)
            return ATTEMPT_DONE;
        errno = EINPROGRESS; /* at once, over loopback: its event follows like any other */
    }
    enum attempt a = classify_error(errno);
    if (a == ATTEMPT_PENDING &&
        loop_watch(&r->loop, s->backend.fd, events, RELAY_BACKEND, s->item.slot, LOOP_GEN(s->item.gen)) == 0) {
        arm_attempt(r, s);
        return a;
    }
    *ret_error = errno;
    close_attempt(s);
    return a == ATTEMPT_PENDING ? ATTEMPT_SHORT : a;
}

/* The connect to one address failed. True when its name has another that is to be tried: the backend has not failed yet. */
static bool next_addr(struct relay *r, struct session *s, enum attempt how) {
    struct backends *b = backends_of(r, s);
    uint8_t n = b->list[s->chosen].naddrs;
    s->addr_failed = s->addr_failed || how == ATTEMPT_FAILED;
    if (n < 2) /* a Unix socket, too */
        return false;
    backends_addr_failed(b, s->chosen, s->addr, r->loop.now_ms);
    if (!addrs_left(r, s))
        return false;
    s->addr = (uint8_t)((s->addr + 1) % n);
    s->addrs_tried++;
    s->retries++;
    session_metrics_backend(r, s, STATS_CONNECTS_FAILED);
    close_attempt(s);
    return true;
}

/* The addresses of the backend that the session is on, from the present one. It is on it no more when none took it. */
static enum attempt attempt(struct relay *r, struct session *s) {
    struct sockaddr_storage to;
    socklen_t len = 0;
    int error = EDESTADDRREQ;
    enum attempt a = ATTEMPT_FAILED;
    do {
        if (backends_sockaddr(backends_of(r, s), s->chosen, s->addr, &to, &len) < 0)
            break;
        a = attempt_addr(r, s, &to, len, &error);
    } while ((a == ATTEMPT_FAILED || a == ATTEMPT_NO_ROOM) && next_addr(r, s, a));
    if (a == ATTEMPT_DONE || a == ATTEMPT_PENDING)
        return a;
    if (a == ATTEMPT_NO_ROOM && s->addr_failed) /* the backend had room and did not answer */
        a = ATTEMPT_FAILED;
    if (a == ATTEMPT_FAILED)
        attempt_failed(r, s, error);
    else if (a == ATTEMPT_NO_ROOM)
        no_room(r, s, error);
    else
        s->connect_errno = (uint16_t)error;
    connect_leave(r, s);
    return a;
}

/* Backends one after the other, without those in *FULL, to which those are added that have no room now. */
static enum attempt try_backends(struct relay *r, struct session *s, uint64_t *full) {
    struct conn_info f;
    uint8_t key[16];
    uint16_t waits_for = BACKEND_NONE;
    int error = EAGAIN;
    session_conn_info(s, &f);
    addr_client_key(&f.client, key);
    for (;;) {
        uint16_t i = backends_pick(backends_of(r, s), key, s->tried | *full, r->loop.now_ms);
        if (i == BACKEND_NONE)
            break;
        s->chosen = i;
        s->on_backend = true;
        s->addr = backends_addr(backends_of(r, s), i, r->loop.now_ms);
        s->addrs_tried = 1;
        s->addr_failed = false;
        session_metrics_on_backend(r, s, true);
        enum attempt a = attempt(r, s);
        if (a != ATTEMPT_FAILED && a != ATTEMPT_NO_ROOM)
            return a;
        if (a == ATTEMPT_FAILED)
            continue;
        *full |= 1ull << i;
        waits_for = i;
        error = s->connect_errno;
    }
    uint64_t waited_for = *full & ~s->tried;
    if (!waited_for)
        return ATTEMPT_FAILED;
    if (waits_for == BACKEND_NONE) { /* all of them were known to be full */
        waits_for = (uint16_t)__builtin_ctzll(waited_for);
        error = backends_of(r, s)->list[waits_for].error;
    }
    s->chosen = waits_for;
    s->connect_errno = (uint16_t)error;
    return ATTEMPT_NO_ROOM;
}

/* ---- the queue of a service ---- */

/* Behind those who came before. */
static void join_queue(struct relay *r, struct session *s) {
    if (s->waits == WAITS_BACKLOG)
        return;
    s->retries++;
    session_wait(r, s, WAITS_BACKLOG, r->services[s->service].waiters);
    if (s->deadline_ms != CONF_NEVER) /* an attempt may have had a time of its own */
        wheel_arm(&r->loop.wheel, &s->timer, s->deadline_ms);
    if (!wtimer_armed(&r->backlog_timer))
        wheel_arm(&r->loop.wheel, &r->backlog_timer, r->loop.now_ms + CONNECT_RETRY_MS);
}

static void act_on(struct relay *r, struct session *s, enum attempt a) {
    switch (a) {
    case ATTEMPT_DONE:
        connected(r, s);
        break;
    case ATTEMPT_PENDING:
        session_wait(r, s, WAITS_NOT, NULL);
        break;
    case ATTEMPT_FAILED:
        session_fail(r, s, ERR_BACKEND_REFUSED);
        break;
    case ATTEMPT_SHORT:
        r->short_errno = s->connect_errno;
        log_short(r, s);
        join_queue(r, s);
        break;
    case ATTEMPT_NO_ROOM:
        if (s->connect_errno == EADDRNOTAVAIL)
            log_short(r, s);
        join_queue(r, s);
        break;
    }
}

/* Nobody overtakes those who wait: what they wait for is not tried before they have. */
void connect_try(struct relay *r, struct session *s) {
    struct relay_service *service = &r->services[s->service];
    if (r->short_errno) {
        s->connect_errno = r->short_errno;
        join_queue(r, s);
        return;
    }
    if (list_empty(service->waiters))
        service->full = 0;
    act_on(r, s, try_backends(r, s, &service->full));
}

void connect_begin(struct relay *r, struct session *s) {
    s->connect_begun_us = clock_mono_us();
    connect_try(r, s);
}

/* In order of arrival, until no backend has room. False when we lack something ourselves. */
static bool serve_queue(struct relay *r, struct relay_service *service) {
    size_t n = service->conf->nbackends;
    uint64_t all = n >= 64 ? UINT64_MAX : (1ull << n) - 1;
    struct list *next = service->waiters->next;
    service->full = 0;
    for (int i = 0; i < QUEUE_BATCH && next != service->waiters && service->full != all; i++) {
        struct session *s = CONTAINER_OF(next, struct session, link);
        next = next->next;
        enum attempt a = try_backends(r, s, &service->full);
        act_on(r, s, a);
        if (a == ATTEMPT_SHORT)
            return false;
    }
    return true;
}

void connect_retry_waiters(struct relay *r) {
    if (r->backlog_waiters == 0)
        return;
    if (r->loop.now_ms >= r->retry_ms) {
        r->retry_ms = r->loop.now_ms + 1; /* often enough, however short turns are */
        r->short_errno = 0;
        for (size_t i = 0; i < r->nservices; i++)
            if (r->services[i].conf && !serve_queue(r, &r->services[i]))
                break;
    }
    if (r->backlog_waiters && !wtimer_armed(&r->backlog_timer))
        wheel_arm(&r->loop.wheel, &r->backlog_timer, r->loop.now_ms + CONNECT_RETRY_MS);
}

/* ---- what comes of an attempt ---- */

/* After a connect that failed: the next address of the backend's name, else the next backend. */
static void try_next(struct relay *r, struct session *s, int error) {
    if (!next_addr(r, s, ATTEMPT_FAILED)) {
        attempt_failed(r, s, error);
        connect_try(r, s);
        return;
    }
    enum attempt a = attempt(r, s);
    if (a == ATTEMPT_FAILED || a == ATTEMPT_NO_ROOM)
        connect_try(r, s);
    else
        act_on(r, s, a);
}

void connect_event(struct relay *r, struct session *s, uint32_t events) {
    int error = 0;
    socklen_t len = sizeof(error);
    if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) || !s->on_backend)
        return;
    if (getsockopt(s->backend.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    bool itself = error == 0 && backend_socket_is_itself(s->backend.fd);
    if (error == 0 && !itself && !(events & (EPOLLERR | EPOLLHUP))) {
        connected(r, s);
        s->down.readable = events & (EPOLLIN | EPOLLRDHUP);
        s->backend.ended = events & EPOLLRDHUP; /* no other event follows */
        return;
    }
    if (itself) { /* at once, lest the application finds its port taken */
        socket_close(&s->backend.fd, true);
    }
    try_next(r, s, error ? error : ECONNREFUSED);
}

void connect_timeout(struct relay *r, struct session *s) {
    if (r->loop.now_ms < s->deadline_ms) { /* this attempt's time is over, the session's is not */
        wheel_arm(&r->loop.wheel, &s->timer, s->deadline_ms);
        try_next(r, s, ETIMEDOUT);
        return;
    }
    bool waits = !s->on_backend;
    if (!waits) {
        backends_addr_failed(backends_of(r, s), s->chosen, s->addr, r->loop.now_ms);
        attempt_failed(r, s, ETIMEDOUT);
    }
    session_fail(r, s, waits ? unconnected_reason(s->connect_errno) : ERR_BACKEND_TIMEOUT);
}

bool connect_resolved(void *ctx, struct channel *c, struct ipc_msg *m) {
    struct relay *r = ctx;
    struct resolved a;
    if (resolved_read(m, &a) < 0 || a.service >= r->conf->nservices || a.backend >= r->conf->services[a.service].nbackends)
        return false;
    backends_resolved(&r->services[a.service].backends, a.backend, a.addrs, a.n);
    return true;
}
