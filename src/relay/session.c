/*
 * The life of one session: birth from a hand-off message, states and deadlines, the end with its reason, the event that reports
 * it.
 */
#include "relay/session.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"
#include "relay/backend_socket.h"
#include "relay/backends.h"
#include "relay/connect.h"
#include "relay/deadlines.h"
#include "relay/flow.h"
#include "relay/hold.h"
#include "relay/preface.h"
#include "relay/rate.h"
#include "relay/relay.h"
#include "relay/services.h"
#include "relay/session_info.h"
#include "relay/session_metrics.h"
#include "tls/record_layer_pack.h"
#include "wire/backend_fault.h"
#include "wire/export.h"

#define DRAIN_READS  16 /* of a closing client's further bytes, a turn */
#define OUTQ_POLL_MS 10 /* between looks whether all bytes have reached the client */

/* All states side by side: bits of the legal next ones. Deadlines are set in session_goto(), kept in deadlines.c. */
static const uint8_t next_states[SESSION_STATES] = {
#define TO(s) (1u << SESSION_##s)
    [SESSION_CONNECTING] = TO(PREFACE) | TO(OPEN) | TO(CLOSING) | TO(DEAD),
    [SESSION_PREFACE] = TO(OPEN) | TO(CLOSING) | TO(DEAD),
    [SESSION_OPEN] = TO(CLOSING) | TO(DEAD),
    [SESSION_CLOSING] = TO(DEAD),
    [SESSION_DEAD] = 0,
#undef TO
};

void session_count_waiting(struct relay *r, const struct session *s, int change) {
    if (s->waits == WAITS_RATE)
        rate_count_waiting(s, change);
    else
        r->backlog_waiters += (uint32_t)change;
}

void session_ready(struct relay *r, struct session *s) {
    if (s->waits != WAITS_READY && s->waits != WAITS_MIGRATION && s->state != SESSION_DEAD && !rate_waits(s))
        session_wait(r, s, WAITS_READY, &r->ready);
}

void session_goto(struct relay *r, struct session *s, enum session_state state) {
    MUST(next_states[s->state] & 1u << state);
    const struct conf_service *service = session_service(r, s);
    s->state = (uint8_t)state;
    switch (state) {
    case SESSION_PREFACE: /* within the time for connecting, of which an attempt has had a part */
        if (s->deadline_ms != CONF_NEVER)
            wheel_arm(&r->loop.wheel, &s->timer, s->deadline_ms);
        session_ready(r, s);
        break;
    case SESSION_OPEN:
        s->active_ms = r->loop.now_ms;
        session_arm(r, s, service->idle_ms);
        session_ready(r, s);
        break;
    case SESSION_CLOSING:
        session_arm(r, s, service->linger_ms);
        session_ready(r, s);
        break;
    default:
        wheel_cancel(&r->loop.wheel, &s->timer);
    }
}

/* ---- end ---- */

static void report_session(struct relay *r, const struct session *s) {
    struct event e = {.kind = EVENT_SESSION, .level = LOG_LEVEL_INFO, .wall_us = clock_wall_us(), .role = ROLE_RELAY};
    session_conn_info(s, &e.conn_info);
    e.index = r->child.setup.index;
    e.reason = s->reason;
    e.alert = s->record_layer.alert_seen;
    const struct conf_service *service = session_service(r, s);
    e.service = span_str(service->name);
    if (s->chosen != BACKEND_NONE)
        e.backend = span_str(service->backends[s->chosen].text);
    e.bytes_in = s->up.bytes;
    e.bytes_out = s->down.bytes;
    e.relay_us = s->connect_begun_us - MIN(s->connect_begun_us, e.conn_info.start_mono_us);
    e.connect_us = s->connect_us;
    e.first_byte_us = s->first_byte_us;
    e.duration_us = clock_mono_us() - e.conn_info.start_mono_us;
    e.client_end = s->client.end;
    e.backend_end = s->backend.end;
    e.retries = s->retries;
    char fault[EVENT_NAME_MAX + 128];
    struct text t = text_of(fault, sizeof(fault));
    if (!s->connected && s->connect_errno && s->chosen != BACKEND_NONE) {
        text_addf(&t, "%s: %s", service->backends[s->chosen].text, backend_fault_text(s->connect_errno));
        e.text = span_of(fault, t.len);
    }
    (void)event_put(&r->child.log.ring, &e); /* the ring counts what it drops */
}

static void close_backend(struct relay *r, struct session *s) {
    connect_leave(r, s);
    socket_close(&s->backend.fd, s->backend.reset);
}

void session_release(struct relay *r, struct session *s) {
    chain_free(&r->pool, &s->up.wait);
    chain_free(&r->pool, &s->down.wait);
    chain_free(&r->pool, &s->partial);
    rate_leave(r, s);
    hold_release(r, s);
    record_layer_wipe(&s->record_layer);
    free(s->conn_info);
    s->conn_info = NULL;
    session_goto(r, s, SESSION_DEAD);
    session_wait(r, s, WAITS_END, &r->dead);
}

void session_end(struct relay *r, struct session *s) {
    if (s->state == SESSION_DEAD)
        return;
    session_count(r, s, -1); /* first: who reads of the end finds its place free */
    report_session(r, s);
    session_metrics_end(r, s, false);
    close_backend(r, s);
    socket_close(&s->client.fd, s->client.reset);
    session_release(r, s);
}

/* Sides whose end was not seen were ended by us. */
static void mark_cut(struct session *s) {
    if (s->client.end == END_OPEN)
        s->client.end = END_CUT;
    if (s->backend.end == END_OPEN && s->connected)
        s->backend.end = END_CUT;
}

void session_cut(struct relay *r, struct session *s) {
    if (s->state == SESSION_DEAD)
        return;
    s->reason = s->reason ? s->reason : ERR_STOPPED;
    mark_cut(s);
    session_end(r, s);
}

void session_fail(struct relay *r, struct session *s, int reason) {
    if (s->state == SESSION_DEAD)
        return;
    if (!s->reason)
        s->reason = reason;
    if (s->state == SESSION_CLOSING)
        return;
    int alert = err_alert(reason);
    if (alert != ALERT_NONE) {
        flow_put_alert(r, s, (enum alert)alert);
        s->record_layer.close_sent = true;
    }
    if (s->state == SESSION_CLOSING) /* the alert met a client that is gone */
        return;
    mark_cut(s);
    chain_free(&r->pool, &s->partial);
    session_goto(r, s, SESSION_CLOSING);
}

void session_stop(struct relay *r, struct session *s, int reason) {
    if (s->state != SESSION_CLOSING)
        flow_put_alert(r, s, ALERT_CLOSE_NOTIFY);
    session_fail(r, s, reason);
}

/* For want of memory: both sides see a reset, and nothing of it is kept, here or in the kernel. */
static void evict_session(struct relay *r, struct session *s) {
    s->reason = s->reason ? s->reason : ERR_NO_BUFFERS;
    mark_cut(s);
    s->client.reset = s->backend.reset = true;
    session_end(r, s);
}

/* S has just had a share of work. It may be dead afterwards. */
static void keep_to_budget(struct relay *r, struct session *s) {
    if (!pool_over(&r->pool))
        return;
    hold_settle(r, s);
    for (struct session *victim; (victim = hold_choose(r));)
        evict_session(r, victim);
}

/* ---- birth ---- */

bool session_socket_fits(int fd) {
    int type = 0, domain = 0, nodelay;
    socklen_t len = sizeof(int);
    if (getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, &len) == 0)
        return true; /* nothing but TCP has it */
    len = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
        return false;
    return type == SOCK_STREAM && (domain == AF_INET || domain == AF_INET6 || domain == AF_UNIX);
}

bool session_take_record_layer(struct session *s, const struct export_session *x) {
    return record_layer_unpack(x->record_layer, x->minor, x->newer, &s->record_layer) == 0 &&
           record_layer_suite(&s->record_layer)->version == x->conn_info.tls_version;
}

static bool take_handoff(struct relay *r, struct session *s, const struct export_session *x) {
    struct span ahead = x->partial.here;
    s->client.tls = x->flags & EXPORT_TLS;
    s->read_ahead = x->flags & EXPORT_READ_AHEAD;
    s->greeting = x->greeting;
    s->service = x->conn_info.service;
    if (!(x->flags & EXPORT_HANDOFF) || s->read_ahead != (ahead.len > 0) || ahead.len > EXPORT_READ_AHEAD_MAX ||
        x->partial.ahead > 0 || s->service >= r->conf->nservices || !session_socket_fits(s->client.fd) ||
        (s->client.tls && !session_take_record_layer(s, x)) || !session_keep_conn_info(s, x->packed_info))
        return false;
    if (s->read_ahead && chain_append(&r->pool, &s->partial, ahead) < 0)
        return false;
    return loop_watch(&r->loop, s->client.fd, SESSION_EVENTS, RELAY_CLIENT, s->item.slot, LOOP_GEN(s->item.gen)) == 0;
}

void session_refuse(struct relay *r, int client_fd) {
    session_metrics_process(&r->child.stats, STATS_REFUSED);
    log_msg(&r->child.log, LOG_LEVEL_ERROR, "a session handed over could not be taken");
    close(client_fd);
}

void session_start(struct relay *r, const struct export_session *x, int client_fd) {
    struct session *s = slab_alloc(&r->sessions);
    if (!s) {
        session_refuse(r, client_fd);
        return;
    }
    list_init(&s->link);
    s->client.fd = client_fd;
    s->backend.fd = -1;
    s->chosen = BACKEND_NONE;
    s->up.chunk_shift = s->down.chunk_shift = CHUNK_MIN_SHIFT;
    if (!take_handoff(r, s, x)) {
        session_refuse(r, client_fd);
        chain_free(&r->pool, &s->partial);
        free(s->conn_info);
        slab_free(&r->sessions, s);
        return;
    }
    session_count(r, s, 1);
    session_metrics_begin(r, s, &x->conn_info, false);
    s->active_ms = r->loop.now_ms;
    session_arm(r, s, session_service(r, s)->connect_ms);
    int over = session_over_limit(r, s, &x->conn_info);
    if (over)
        session_stop(r, s, over);
    else
        connect_begin(r, s);
    hold_settle(r, s);
    keep_to_budget(r, s);
    r->session_came = true;
}

/* ---- closing ---- */

/* A reset is sent only when every byte has reached the other kernel, or it would swallow them. */
static bool reset_due(struct relay *r, struct session *s, int fd) {
    int unsent = 0;
    if (ioctl(fd, SIOCOUTQ, &unsent) < 0 || unsent == 0)
        return true;
    wheel_arm(&r->loop.wheel, &s->timer, MIN(r->loop.now_ms + OUTQ_POLL_MS, s->deadline_ms));
    return false;
}

/* What waits for the backend leaves, then the backend goes. */
static bool backend_done(struct relay *r, struct session *s) {
    if (s->backend.fd < 0)
        return true;
    if (s->up.wait.len && s->up.state != FLOW_BROKEN && !s->up.blocked)
        (void)flow_flush(r, s, &s->up);
    if (s->up.wait.len && s->up.state != FLOW_BROKEN)
        return false;
    bool tcp = s->connected && session_service(r, s)->backends[s->chosen].kind == BACKEND_TCP;
    if (tcp && s->backend.reset && !reset_due(r, s, s->backend.fd))
        return false;
    close_backend(r, s);
    return true;
}

static bool client_done(struct relay *r, struct session *s) {
    if (s->down.state != FLOW_BROKEN && s->down.wait.len && (s->down.blocked || !flow_flush(r, s, &s->down)))
        return s->down.state == FLOW_BROKEN;
    if (s->down.state == FLOW_BROKEN)
        return true;
    if (s->client.reset)
        return reset_due(r, s, s->client.fd);
    if (s->client.fin) /* nothing of its waits to be read: close() sends our end in the same segment as the alert before it */
        return true;
    if (!s->client.shut) {
        s->client.shut = true;
        (void)shutdown(s->client.fd, SHUT_WR); /* fails only when the client is gone: its reads show it */
    }
    for (int i = 0; i < DRAIN_READS && s->up.readable; i++) {
        ssize_t n = recv(s->client.fd, r->in, (size_t)1 << CHUNK_MIN_SHIFT, MSG_DONTWAIT);
        if (n > 0 || (n < 0 && errno == EINTR))
            continue;
        s->up.readable = false;
        s->client.fin = n == 0 || errno != EAGAIN;
    }
    return s->client.fin;
}

static void end_when_closed(struct relay *r, struct session *s) {
    bool backend = backend_done(r, s), client = client_done(r, s);
    if (backend && client)
        session_end(r, s);
}

/* ---- work ---- */

/* Watching again reports all that happened meanwhile. */
bool session_watch_again(struct relay *r, struct session *s) {
    bool out = s->state == SESSION_CONNECTING || s->backend.wants_out;
    uint32_t client = SESSION_EVENTS | (s->client.wants_out ? EPOLLOUT : 0u);
    uint32_t backend = SESSION_EVENTS | (out ? EPOLLOUT : 0u);
    if (s->client.fd >= 0 &&
        loop_rewatch(&r->loop, s->client.fd, client, RELAY_CLIENT, s->item.slot, LOOP_GEN(s->item.gen)) < 0)
        return false;
    return s->backend.fd < 0 ||
           loop_rewatch(&r->loop, s->backend.fd, backend, RELAY_BACKEND, s->item.slot, LOOP_GEN(s->item.gen)) == 0;
}

/* Acts on the state of both flows. */
static void settle_flows(struct relay *r, struct session *s) {
    if (s->state != SESSION_OPEN)
        return;
    if (s->backend.gone && s->down.state != FLOW_OPEN && s->up.state == FLOW_OPEN) {
        s->up.state = FLOW_BROKEN; /* there is no reader left */
        chain_free(&r->pool, &s->up.wait);
    }
    bool up_over = s->up.state == FLOW_SHUT || s->up.state == FLOW_BROKEN;
    bool down_over = s->down.state == FLOW_SHUT || s->down.state == FLOW_BROKEN;
    if (up_over && down_over)
        session_goto(r, s, SESSION_CLOSING);
    else if (session_half_closed(s))
        session_look_half_closed(r, s);
}

/* A closing client's bytes are dropped up to its end, a share each turn. */
static bool has_rest(const struct session *s) {
    return s->client.shut && !s->client.fin && s->up.readable && !s->client.reset && s->down.state != FLOW_BROKEN;
}

static bool has_work(const struct session *s) {
    if (s->state == SESSION_PREFACE)
        return preface_has_work(s);
    if (s->state != SESSION_OPEN)
        return s->state == SESSION_CLOSING && has_rest(s);
    bool up = s->up.wait.len ? !s->up.blocked : (s->up.readable || s->read_ahead) && s->up.state != FLOW_BROKEN;
    bool down = s->down.wait.len ? !s->down.blocked : s->down.readable && s->down.state == FLOW_OPEN;
    return up || down;
}

/* All but the client's bytes to the backend. */
static void pump_rest(struct relay *r, struct session *s) {
    if (s->state == SESSION_PREFACE)
        preface_step(r, s);
    else if (s->state == SESSION_OPEN)
        flow_pump(r, s, &s->down);
    settle_flows(r, s);
    if (s->state == SESSION_CLOSING)
        end_when_closed(r, s);
    s->refilled = false;
    if (s->hold || s->up.wait.len || s->down.wait.len || s->partial.len)
        hold_settle(r, s);
    if (has_work(s) && s->waits != WAITS_RATE)
        session_ready(r, s);
}

/* Backends and clients are each woken for a run of messages instead of by turns: a third off the tail of echoes at saturation.
 */
void session_work(struct relay *r, struct list *ready) {
    struct list rest;
    list_init(&rest);
    while (!list_empty(ready)) {
        struct session *s = CONTAINER_OF(ready->next, struct session, link);
        session_wait(r, s, WAITS_REST, &rest);
        if (s->state == SESSION_OPEN)
            flow_pump(r, s, &s->up);
        if (s->waits != WAITS_REST) /* it waits elsewhere now */
            pump_rest(r, s);
        keep_to_budget(r, s);
    }
    while (!list_empty(&rest)) {
        struct session *s = CONTAINER_OF(rest.next, struct session, link);
        session_wait(r, s, WAITS_NOT, NULL);
        pump_rest(r, s);
        keep_to_budget(r, s);
    }
}

/*
 * The client's connection is broken, and we would not find out by reading, as its bytes may not be read at present: they wait
 * for the backend or for the client's byte rate. What waits has the linger time from now on, not the idle time.
 */
static bool client_broken(const struct session *s) {
    int error = 0;
    socklen_t len = sizeof(error);
    if (s->state != SESSION_OPEN || !(s->waits == WAITS_RATE || s->up.wait.len))
        return false;
    return getsockopt(s->client.fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error != 0;
}

void session_client_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    struct relay *r = ctx;
    struct session *s = slab_get(&r->sessions, key, gen);
    if (!s || s->state == SESSION_DEAD)
        return;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        s->up.readable = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        s->client.ended = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        s->down.blocked = false;
    if (s->waits == WAITS_MIGRATION) /* its descriptors are watched again when it comes back: that reports it */
        return;
    if (s->state == SESSION_CONNECTING || s->state == SESSION_PREFACE) {
        if (events & (EPOLLHUP | EPOLLERR))
            flow_client_reset(r, s);
        return;
    }
    if (events & EPOLLERR && client_broken(s))
        flow_client_reset(r, s);
    session_ready(r, s);
}

void session_backend_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    struct relay *r = ctx;
    struct session *s = slab_get(&r->sessions, key, gen);
    if (!s || s->state == SESSION_DEAD || s->backend.fd < 0 || s->waits == WAITS_MIGRATION)
        return;
    if (s->state == SESSION_CONNECTING) {
        connect_event(r, s, events);
        return;
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        s->down.readable = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        s->backend.ended = true;
    if (events & EPOLLHUP)
        s->backend.gone = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        s->up.blocked = false;
    session_ready(r, s);
}
