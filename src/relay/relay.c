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
#include "relay/arrivals.h"
#include "relay/connect.h"
#include "relay/hold.h"
#include "relay/migrate_in.h"
#include "relay/migrate_out.h"
#include "relay/rate.h"
#include "relay/services.h"
#include "relay/session.h"
#include "relay/session_list.h"
#include "relay/session_metrics.h"
#include "relay/timeouts.h"
#include "wire/control_export.h"
#include "wire/export.h"
#include "wire/resolved.h"

#define SCRATCH_LEN ((1u << CHUNK_MAX_SHIFT) + EXPORT_READ_AHEAD_MAX + 64 * RECORD_OVERHEAD_MAX)

#define DRAIN_TICK_MS  50
#define RELAY_QUIET_MS 1000 /* a session that relayed no byte for so long has nothing in flight */

static const struct channel_ops resolver_ops = {.rules = resolved_rules, .message = connect_resolved};

static int link_relay_to_resolver(void *ctx, const struct control_peer *peer, int fd) {
    struct relay *r = ctx;
    return channel_open(&r->resolver, fd);
}

static int link_relay_to_handshaker(void *ctx, const struct control_peer *peer, int fd) {
    struct relay *r = ctx;
    if (peer->index >= r->child.setup.workers) {
        close(fd);
        return ERR_FORMAT;
    }
    arrivals_link(r, peer->index, fd);
    return 0;
}

/* ---- stop ---- */

static bool all_sent(const struct session *s) {
    int unsent = 0;
    return s->down.wait.len == 0 && (s->client.fd < 0 || ioctl(s->client.fd, SIOCOUTQ, &unsent) < 0 || unsent == 0);
}

/* In a quick stop sessions with nothing in flight end in good order; at the last moment all others are cut. */
static void drain_tick(void *ctx, struct wtimer *t) {
    struct relay *r = ctx;
    uint32_t slot = 0;
    bool last = r->loop.now_ms >= r->drain_until_ms;
    if (last)
        migrate_out_stop(r); /* what it has not given away by now is cut */
    for (struct session *s; (s = slab_next(&r->sessions, &slot));) {
        bool quiet = s->waits != WAITS_RATE && s->active_ms + RELAY_QUIET_MS <= r->loop.now_ms && s->up.wait.len == 0 &&
                     s->down.wait.len == 0;
        if (s->state == SESSION_DEAD || s->waits == WAITS_MIGRATION)
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
    wheel_arm(&r->loop.wheel, t, r->loop.now_ms + DRAIN_TICK_MS);
}

static void drained(struct relay *r) {
    if (!r->draining || r->sessions.used || r->arrivals.n || (migrate_out_of_all(r) && arrivals_may_come(r)))
        return;
    r->draining = false;
    wheel_cancel(&r->loop.wheel, &r->drain_timer);
    (void)!control_send_number(r->child.control, CONTROL_DRAINED, r->cut); /* a lost supervisor shows on the control socket */
}

/* Asked to stop: what is left is cut, and counted. */
static void cut_all(struct relay *r) {
    uint32_t slot = 0;
    migrate_out_stop(r);
    migrate_in_end_all(r);
    for (struct session *s; (s = slab_next(&r->sessions, &slot));) {
        bool ended =
            s->state == SESSION_DEAD || (s->state == SESSION_CLOSING && s->down.wait.len == 0); /* the kernel sends it */
        r->cut += !ended;
        session_cut(r, s);
    }
    (void)!control_send_number(r->child.control, CONTROL_DRAINED, r->cut); /* a lost supervisor needs no number */
}

/* ---- messages, timers, turns ---- */

static int take_export(void *ctx, struct ipc_msg *m, struct text *why) {
    struct control_export x;
    int err = control_read_export(m, &x);
    if (err == 0)
        migrate_out_begin(ctx, &x, ipc_take(m, 0));
    return err;
}

static int take_import(void *ctx, struct ipc_msg *m, struct text *why) {
    migrate_in_begin(ctx, ipc_take(m, 0));
    return 0;
}

static int drain_relay(void *ctx, struct ipc_msg *m, struct text *why) {
    struct relay *r = ctx;
    struct control_drain d;
    int err = control_read_drain(m, &d);
    if (err < 0)
        return err;
    r->draining = true;
    r->drain_how = d.how;
    r->drain_until_ms = r->loop.now_ms + d.ms;
    drain_tick(r, &r->drain_timer);
    return 0;
}

static void backlog_due(void *ctx, struct wtimer *t) {
    connect_retry_waiters(ctx);
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
    more = migrate_out_turn(r) || more;
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

bool relay_make(struct relay *r) {
    struct rlimit files;
    const struct engine *engine = engine_find(r->conf->engine);
    channel_init(&r->resolver, 1, &r->loop, RELAY_RESOLVER, &resolver_ops, r);
    session_list_init(r);
    list_init(&r->ready);
    list_init(&r->dead);
    list_init(&r->importing);
    if (!engine || getrlimit(RLIMIT_NOFILE, &files) < 0 || !services_make(r))
        return false;
    r->loop.spin_us = r->conf->busy_poll_us;
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

/* TCP connections go to the ports of backends, nowhere else; abstract sockets only where a backend is one. */
static void reach_backends(struct relay *r, struct sandbox *sandbox) {
    const struct conf *c = r->conf;
    size_t n = 0;
    for (size_t i = 0; i < c->nservices; i++)
        n += c->services[i].nbackends;
    uint16_t *ports = r->ports = calloc(MAX(n, 1), sizeof(*ports));
    MUST(ports);
    sandbox->ports = ports;
    for (size_t i = 0; i < c->nservices; i++)
        for (size_t j = 0; j < c->services[i].nbackends; j++) {
            const struct conf_backend *b = &c->services[i].backends[j];
            if (b->kind == BACKEND_TCP)
                ports[sandbox->nports++] = b->port;
            sandbox->abstract_sockets = sandbox->abstract_sockets || b->kind == BACKEND_UNIX_ABSTRACT;
        }
}

static int relay_prepare(void *ctx, struct sandbox *sandbox, struct text *why) {
    struct relay *r = ctx;
    r->row = scoreboard_row(&r->child.scoreboard, ROLE_RELAY, r->child.setup.index);
    scoreboard_row_reset(&r->row);
    reach_backends(r, sandbox);
    return open_rates(r) && relay_make(r) ? 0 : ERR_SYSTEM;
}

static void relay_finish(void *ctx) {
    struct relay *r = ctx;
    if (r->child.serving)
        cut_all(r);
    engine_contexts_fini(&r->contexts);
    hold_fini(r);
    rate_fini(r);
    slab_fini(&r->sessions);
    free(r->ports);
}

static struct relay relay_process;

static const struct role_message relay_messages[] = {
    {CONTROL_EXPORT, take_export},
    {CONTROL_IMPORT, take_import},
    {CONTROL_DRAIN, drain_relay},
    {0, NULL},
};

static const struct role_link relay_links[] = {
    {ROLE_OBSERVER, session_list_take_link},
    {ROLE_RESOLVER, link_relay_to_resolver},
    {ROLE_HANDSHAKER, link_relay_to_handshaker},
    {0, NULL},
};

static const struct loop_handler relay_handlers[] = {
    {RELAY_LINK, arrivals_event},
    {RELAY_CLIENT, session_client_event},
    {RELAY_BACKEND, session_backend_event},
    {RELAY_EXPORT, migrate_out_event},
    {RELAY_IMPORT, migrate_in_event},
    {RELAY_LIVENESS, migrate_in_liveness_event},
    {0, NULL},
};

/* After work, within the time between two publications. */
static void relay_second(void *ctx, struct wtimer *t) {
    struct relay *r = ctx;
    session_metrics_publish(r, t);
    engine_contexts_forget(&r->contexts);
}

static const struct loop_timer relay_timers[] = {
    {RELAY_TIMER_SESSION, session_timeout, 0},
    {RELAY_TIMER_BACKLOG, backlog_due, offsetof(struct relay, backlog_timer)},
    {RELAY_TIMER_DRAIN, drain_tick, offsetof(struct relay, drain_timer)},
    {RELAY_TIMER_PAUSE, arrivals_timer, offsetof(struct relay, arrivals.timer)},
    {RELAY_TIMER_STATS, relay_second, offsetof(struct relay, stats_timer)},
    {RELAY_TIMER_RATE, rate_timer, 0},
    {RELAY_TIMER_EXPORT, migrate_out_timer, 0},
    {RELAY_TIMER_IMPORT, migrate_in_timer, 0},
    {0, NULL, 0},
};

const struct role_table relay_role = {
    .self = &relay_process,
    .child = &relay_process.child,
    .loop = &relay_process.loop,
    .conf = &relay_process.conf,
    .messages = relay_messages,
    .links = relay_links,
    .handlers = relay_handlers,
    .timers = relay_timers,
    .prepare = relay_prepare,
    .turn_end = relay_turn_end,
    .finish = relay_finish,
};
