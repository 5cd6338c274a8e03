#include "relay/relay.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "base/secret.h"
#include "conf/snapshot.h"
#include "relay/listing.h"
#include "relay/migrate.h"
#include "relay/services.h"
#include "relay/session.h"
#include "wire/resolved.h"

#define DRAIN_TICK_MS 50
#define QUIET_MS      1000 /* a session that relayed no byte for so long has nothing in flight */

static void lose_resolver(struct relay *r) {
    loop_unwatch(&r->loop, r->resolver);
    close(r->resolver);
    r->resolver = -1;
}

static void resolver_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    (void)key;
    (void)gen;
    (void)events;
    struct relay *r = ctx;
    struct ipc_msg m;
    int err = 0;
    enum step step = ipc_recv(r->resolver, r->child.scratch, sizeof(r->child.scratch), resolved_rules, &m, &err);
    if (step == STEP_DONE)
        connect_resolved(r, &m);
    if (step == STEP_EOF || (step == STEP_FAILED && err != ERR_FORMAT))
        lose_resolver(r);
}

static bool take_resolver(struct relay *r, int fd) {
    if (r->resolver >= 0)
        lose_resolver(r);
    r->resolver = fd;
    if (loop_watch(&r->loop, fd, EPOLLIN, RELAY_RESOLVER, 0, 0) == 0)
        return true;
    lose_resolver(r);
    return false;
}

/*
 * A peer, or one that takes the place of a dead one. The descriptor is owned from here in every case. False: there is no link
 * (errno), or the message is not one.
 */
static bool take_link(struct relay *r, struct ipc_msg *m) {
    struct control_peer peer;
    if (control_read_peer(m, &peer) < 0 || peer.index >= r->child.setup.workers) {
        ipc_msg_close(m);
        errno = EBADMSG;
        return false;
    }
    if (peer.role == ROLE_OBSERVER)
        return listing_take_link(r, m->fds[0]);
    if (peer.role == ROLE_RESOLVER)
        return take_resolver(r, m->fds[0]);
    arrivals_link(r, peer.index, m->fds[0]);
    return true;
}

/* ---- stop ---- */

static bool all_sent(const struct session *s) {
    int unsent = 0;
    return s->down.wait.len == 0 && (s->client.fd < 0 || ioctl(s->client.fd, SIOCOUTQ, &unsent) < 0 || unsent == 0);
}

/* In a quick stop sessions with nothing in flight end in good order; at the last moment all others are cut. */
static void drain_tick(struct relay *r) {
    uint32_t slot = 0;
    bool last = r->loop.now_ms >= r->drain_until_ms;
    if (last)
        export_stop(r); /* what it has not given away by now is cut */
    for (struct session *s; (s = slab_next(&r->sessions, &slot));) {
        bool quiet =
            s->waits != WAITS_RATE && s->active_ms + QUIET_MS <= r->loop.now_ms && s->up.wait.len == 0 && s->down.wait.len == 0;
        if (s->state == SESSION_DEAD || s->waits == WAITS_MOVE)
            continue;
        if (s->state != SESSION_CLOSING && quiet && r->drain_how == DRAIN_QUICK) {
            session_stop(r, s, ERR_STOPPED);
        } else if (s->state == SESSION_CLOSING && all_sent(s)) {
            session_end(r, s);
        } else if (last) {
            r->cut++;
            session_cut(r, s);
        }
    }
    wheel_arm(&r->loop.wheel, &r->drain_timer, r->loop.now_ms + DRAIN_TICK_MS);
}

static void drained(struct relay *r) {
    if (!r->draining || r->sessions.used || r->arrivals.n || (export_of_all(r) && arrivals_may_come(r)))
        return;
    r->draining = false;
    wheel_cancel(&r->loop.wheel, &r->drain_timer);
    (void)!control_send_number(r->child.control, CONTROL_DRAINED, r->cut); /* a lost supervisor shows on the control socket */
}

/* Asked to stop: what is left is cut, and counted. */
static void cut_all(struct relay *r) {
    uint32_t slot = 0;
    export_stop(r);
    import_end_all(r);
    for (struct session *s; (s = slab_next(&r->sessions, &slot));) {
        bool ended =
            s->state == SESSION_DEAD || (s->state == SESSION_CLOSING && s->down.wait.len == 0); /* the kernel sends it */
        r->cut += !ended;
        session_cut(r, s);
    }
    (void)!control_send_number(r->child.control, CONTROL_DRAINED, r->cut); /* a lost supervisor needs no number */
}

/* ---- messages, timers, turns ---- */

static void relay_on_message(struct relay *r, struct ipc_msg *m) {
    struct control_drain d;
    struct control_export x;
    if (m->type == CONTROL_LINK) {
        if (!take_link(r, m))
            log_msg(&r->child.log, LOG_LEVEL_ERROR, "cannot take up a link to another role: %m");
        return;
    }
    if (m->type == CONTROL_EXPORT && control_read_export(m, &x) == 0) {
        export_begin(r, &x, m->fds[0]);
        return;
    }
    if (m->type == CONTROL_IMPORT) {
        import_begin(r, m->fds[0]);
        return;
    }
    if (m->type == CONTROL_DRAIN && control_read_drain(m, &d) == 0) {
        r->draining = true;
        r->drain_how = d.how;
        r->drain_until_ms = r->loop.now_ms + d.ms;
        drain_tick(r);
    } else if (m->type == CONTROL_STOP) {
        r->loop.stop = true;
    } else {
        ipc_msg_close(m);
    }
}

static void control_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    (void)key;
    (void)gen;
    (void)events;
    struct relay *r = ctx;
    struct ipc_msg m;
    int err = 0;
    switch (child_recv(&r->child, &m, &err)) {
    case STEP_DONE:
        relay_on_message(r, &m);
        break;
    case STEP_WANT_READ:
        break;
    default: /* without a supervisor there is no reason to be */
        r->loop.stop = true;
    }
}

static void on_session_timer(void *ctx, struct wtimer *t) {
    session_timeout(ctx, CONTAINER_OF(t, struct session, timer));
}

static void on_backlog_timer(void *ctx, struct wtimer *t) {
    (void)t;
    connect_retry_waiters(ctx);
}

static void on_drain_timer(void *ctx, struct wtimer *t) {
    (void)t;
    drain_tick(ctx);
}

static void on_stats_timer(void *ctx, struct wtimer *t) {
    (void)t;
    session_metrics_publish(ctx);
}

static void free_dead(struct relay *r) {
    for (struct list *n; (n = list_shift(&r->dead));) {
        struct session *s = CONTAINER_OF(n, struct session, link);
        uint16_t service = s->service;
        slab_free(&r->sessions, s);
        services_leave(r, service);
    }
}

/* A share of work for every session that was ready when the turn's end began; the dead go last. */
static bool relay_turn_end(void *ctx) {
    struct relay *r = ctx;
    struct list now;
    list_init(&now);
    bool more = arrivals_turn(r);
    connect_retry_waiters(r);
    if (!list_empty(&r->ready)) { /* takes over the whole list */
        now = r->ready;
        now.next->prev = now.prev->next = &now;
        list_init(&r->ready);
    }
    session_work(r, &now);
    rate_turn(r);
    free_dead(r);
    more = export_turn(r) || more;
    free_dead(r); /* those that an export which ended let go */
    drained(r);
    session_metrics_turn(r);
    return more || !list_empty(&r->ready);
}

/* ---- start ---- */

static uint8_t *make_scratch(void) {
    void *p = mmap(NULL, SCRATCH_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Whose turn it is when something happens. */
static void wire_up(struct relay *r) {
    r->loop.spin_us = r->conf->busy_poll_us;
    r->loop.hook = relay_turn_end;
    r->loop.hook_ctx = r;
    loop_on(&r->loop, RELAY_CONTROL, control_event, r);
    loop_on(&r->loop, RELAY_LINK, arrivals_event, r);
    loop_on(&r->loop, RELAY_CLIENT, session_client_event, r);
    loop_on(&r->loop, RELAY_BACKEND, session_backend_event, r);
    loop_on(&r->loop, RELAY_RESOLVER, resolver_event, r);
    loop_on(&r->loop, RELAY_OBSERVER, listing_event, r);
    loop_on(&r->loop, RELAY_EXPORT, export_event, r);
    loop_on(&r->loop, RELAY_IMPORT, import_event, r);
    loop_on(&r->loop, RELAY_LIVENESS, import_liveness_event, r);
    r->backlog_timer.kind = RELAY_TIMER_BACKLOG;
    r->drain_timer.kind = RELAY_TIMER_DRAIN;
    r->arrivals.timer.kind = RELAY_TIMER_PAUSE;
    r->stats_timer.kind = RELAY_TIMER_STATS;
    loop_on_timer(&r->loop, RELAY_TIMER_SESSION, on_session_timer, r);
    loop_on_timer(&r->loop, RELAY_TIMER_BACKLOG, on_backlog_timer, r);
    loop_on_timer(&r->loop, RELAY_TIMER_DRAIN, on_drain_timer, r);
    loop_on_timer(&r->loop, RELAY_TIMER_PAUSE, arrivals_timer, r);
    loop_on_timer(&r->loop, RELAY_TIMER_STATS, on_stats_timer, r);
    loop_on_timer(&r->loop, RELAY_TIMER_RATE, rate_timer, r);
    loop_on_timer(&r->loop, RELAY_TIMER_EXPORT, export_timer, r);
    loop_on_timer(&r->loop, RELAY_TIMER_IMPORT, import_timer, r);
}

bool relay_make(struct relay *r) {
    struct rlimit files;
    const struct engine *engine = engine_find(r->conf->engine);
    r->resolver = r->observer = -1;
    list_init(&r->ready);
    list_init(&r->dead);
    list_init(&r->importing);
    if (!engine || getrlimit(RLIMIT_NOFILE, &files) < 0 || loop_init(&r->loop) < 0 || !services_make(r))
        return false;
    wire_up(r);
    engine_contexts_init(&r->contexts, engine);
    pool_init(&r->pool, r->conf->buffer_memory);
    r->room = scoreboard_relay_cap(files.rlim_cur, r->child.setup.workers);
    if (arrivals_init(&r->arrivals) < 0 || !rate_init(r) || !hold_init(r))
        return false;
    r->in = make_scratch();
    r->out = make_scratch();
    return r->in && r->out && slab_init(&r->sessions, sizeof(struct session), r->room, true) == 0;
}

/* The shared table only where some service has a rate. Sessions of others, taken over from before, are limited here alone. */
static bool open_rates(struct relay *r) {
    bool has_rates = false, ok = true;
    for (size_t i = 0; i < r->conf->nservices; i++)
        has_rates = has_rates || rate_limits(&r->conf->services[i]);
    if (r->child.stats_fd >= 0) {
        ok = !has_rates || stats_open_buckets(&r->child.stats, r->child.stats_fd) == 0;
        close(r->child.stats_fd);
        r->child.stats_fd = -1;
    }
    return ok;
}

static bool set_up(struct relay *r, int control) {
    if (child_begin(&r->child, control) < 0 || snapshot_read(r->child.snapshot_fd, &r->conf) < 0) {
        child_refuse(&r->child, "relay: cannot read what the supervisor gave: %m");
        return false;
    }
    close(r->child.snapshot_fd);
    r->child.log.level = r->conf->log_level;
    r->row = scoreboard_row(&r->child.scoreboard, ROLE_RELAY, r->child.setup.index);
    scoreboard_row_reset(&r->row);
    if (!open_rates(r) || !relay_make(r)) {
        child_refuse(&r->child, "relay: cannot start: %m");
        return false;
    }
    return true;
}

/* Messages before GO. */
static bool prepare(struct relay *r) {
    for (;;) {
        struct ipc_msg m;
        if (child_wait(&r->child, &m) < 0)
            return false;
        if (m.type == CONTROL_GO)
            return true;
        if (m.type != CONTROL_LINK) {
            ipc_msg_close(&m);
            return false;
        }
        if (!take_link(r, &m))
            return false;
    }
}

/* TCP connections go to the ports of backends, nowhere else; abstract sockets only where a backend is one. */
static bool enter_sandbox(struct relay *r) {
    size_t n = 0;
    for (size_t i = 0; i < r->conf->nservices; i++)
        n += r->conf->services[i].nbackends;
    uint16_t *ports = calloc(MAX(n, 1), sizeof(*ports));
    MUST(ports);
    struct sandbox sandbox = {.user = r->conf->user, .ports = ports};
    for (size_t i = 0; i < r->conf->nservices; i++)
        for (size_t j = 0; j < r->conf->services[i].nbackends; j++) {
            const struct conf_backend *b = &r->conf->services[i].backends[j];
            if (b->kind == BACKEND_TCP)
                ports[sandbox.nports++] = b->port;
            sandbox.abstract_sockets = sandbox.abstract_sockets || b->kind == BACKEND_UNIX_ABSTRACT;
        }
    int err = child_enter_sandbox(&r->child, &sandbox);
    free(ports);
    return err == 0;
}

int relay_run(int control) {
    static struct relay r;
    if (!set_up(&r, control) || !prepare(&r))
        return 1;
    if (!enter_sandbox(&r))
        return 1;
    if (loop_watch(&r.loop, control, EPOLLIN, RELAY_CONTROL, 0, 0) < 0 || control_send(control, CONTROL_READY) < 0)
        return 1;
    int err = loop_run(&r.loop);
    cut_all(&r);
    engine_contexts_fini(&r.contexts);
    hold_fini(&r);
    rate_fini(&r);
    slab_fini(&r.sessions);
    return err < 0 ? 1 : 0;
}
