#include "relay/arrivals.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/err.h"
#include "base/secret.h"
#include "relay/relay.h"
#include "relay/session.h"

#define ARRIVALS_PAUSE_MS 20 /* between looks for room when full */

int arrivals_init(struct arrivals *a) {
    for (size_t i = 0; i < WORKERS_MAX; i++)
        a->links[i] = -1;
    a->body = secret_alloc(IPC_BODY_MAX, NULL);
    return a->body ? 0 : ERR_NOMEM;
}

/* No session is taken until arrivals_timer() finds room: they stay in the queue, and handshakers look elsewhere. */
static void pause_links(struct relay *r, const char *why) {
    struct arrivals *a = &r->arrivals;
    if (a->paused)
        return;
    a->paused = true;
    for (uint16_t i = 0; i < r->child.setup.workers; i++)
        if (a->links[i] >= 0)
            loop_unwatch(&r->loop, a->links[i]);
    wheel_arm(&r->loop.wheel, &a->timer, r->loop.now_ms + ARRIVALS_PAUSE_MS);
    if (log_pause_over(&a->full_log, r->loop.now_ms))
        log_msg(&r->child.log, LOG_LEVEL_WARNING, "%s: no session is taken at %u sessions", why, r->sessions.used);
}

static bool has_room(struct relay *r) {
    if (r->arrivals.paused)
        return false;
    if (r->sessions.used >= r->room)
        pause_links(r, "full");
    return !r->arrivals.paused;
}

/* What cannot be watched now is tried again with all others after a pause: the peer sees a full queue, and goes elsewhere. */
static void watch_link(struct relay *r, uint16_t i) {
    int fd = r->arrivals.links[i];
    if (fd >= 0 && !r->arrivals.paused && loop_watch(&r->loop, fd, EPOLLIN, RELAY_LINK, i, 0) < 0)
        pause_links(r, strerror(errno));
}

void arrivals_timer(void *ctx, struct wtimer *t) {
    struct relay *r = ctx;
    if (r->sessions.used >= r->room) {
        wheel_arm(&r->loop.wheel, &r->arrivals.timer, r->loop.now_ms + ARRIVALS_PAUSE_MS);
        return;
    }
    r->arrivals.paused = false;
    for (uint16_t i = 0; i < r->child.setup.workers; i++)
        watch_link(r, i);
}

static void lose_link(struct relay *r, uint32_t i) {
    loop_unwatch(&r->loop, r->arrivals.links[i]);
    close(r->arrivals.links[i]);
    r->arrivals.links[i] = -1; /* the handshaker is gone; the supervisor will send a new link */
}

void arrivals_link(struct relay *r, uint16_t i, int fd) {
    if (r->arrivals.links[i] >= 0)
        lose_link(r, i);
    r->arrivals.links[i] = fd;
    watch_link(r, i);
}

/* As many sessions as descriptors, one each, and nothing behind them. */
static bool is_whole_batch(const struct arrivals *a, uint16_t type, unsigned nfds) {
    struct rd rd = a->rest;
    for (unsigned i = 0; i < a->head.n && !rd.bad; i++) {
        unsigned fds = 0;
        (void)export_next(&rd, &fds);
        rd.bad = rd.bad || fds != 1;
    }
    return rd_end(&rd) && type == EXPORT_SESSIONS && nfds == a->head.n;
}

static void take_arrivals(struct relay *r, uint32_t i, const struct ipc_raw *m) {
    struct arrivals *a = &r->arrivals;
    a->len = m->body.len;
    a->rest = rd_of(m->body);
    export_batch_unpack(&a->rest, &a->head);
    a->begun = 0;
    if (is_whole_batch(a, m->type, m->nfds)) {
        a->n = m->nfds;
        return;
    }
    log_msg(&r->child.log, LOG_LEVEL_ERROR, "handshaker.%u sent a malformed message", i);
    secret_wipe(a->body, a->len);
    for (unsigned fd = 0; fd < m->nfds; fd++)
        close(a->fds[fd]);
}

void arrivals_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    struct relay *r = ctx;
    struct arrivals *a = &r->arrivals;
    struct ipc_raw m;
    int err = 0;
    if (a->links[key] < 0 || a->n > 0 || !has_room(r))
        return;
    switch (ipc_recv_whole(a->links[key], a->body, a->fds, ARRAY_LEN(a->fds), &m, &err)) {
    case STEP_DONE:
        take_arrivals(r, key, &m);
        break;
    case STEP_WANT_READ:
        break;
    default:
        if (err == ERR_FORMAT)
            log_msg(&r->child.log, LOG_LEVEL_ERROR, "handshaker.%u sent a malformed message", key);
        else if (err == ERR_OUT_OF_FDS)
            pause_links(r, err_text(err));
        else
            lose_link(r, key);
    }
}

bool arrivals_turn(struct relay *r) {
    static struct export_session x; /* 1.5 KB */
    struct arrivals *a = &r->arrivals;
    unsigned fds = 0;
    if (a->n == 0 || !has_room(r))
        return false;
    int fd = a->fds[a->begun++];
    if (export_unpack(export_next(&a->rest, &fds), a->head.major, a->head.minor, &x) < 0)
        session_refuse(r, fd);
    else
        session_start(r, &x, fd);
    if (a->begun < a->n)
        return true;
    a->n = 0;
    secret_wipe(a->body, a->len); /* keys were in it */
    return false;
}

void arrivals_read(struct relay *r) {
    for (uint16_t i = 0; i < r->child.setup.workers; i++)
        arrivals_event(r, i, 0, 0);
    (void)arrivals_turn(r);
}

bool arrivals_may_come(const struct relay *r) {
    bool linked = false;
    for (uint16_t i = 0; i < r->child.setup.workers; i++)
        linked = linked || r->arrivals.links[i] >= 0;
    return linked || r->arrivals.n > 0;
}
