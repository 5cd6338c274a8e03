/*
 * Between a session and the format in which it travels: what it is written down as, and back, where the input is checked as if
 * an attacker had sent it. Fields are in range already (wire/export.c); here they are checked against each other, the table of
 * states and what the record layer and the flows rely on.
 */
#include "relay/export_form.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/tcp_options.h"
#include "relay/backends.h"
#include "relay/connect.h"
#include "relay/hold.h"
#include "relay/relay.h"
#include "relay/services.h"
#include "relay/session.h"
#include "relay/session_info.h"
#include "relay/session_metrics.h"
#include "tls/record_layer_pack.h"
#include "wire/export.h"

_Static_assert((int)EXPORT_STATE_CONNECTING == (int)SESSION_CONNECTING && (int)EXPORT_STATE_OPEN == (int)SESSION_OPEN &&
                   (int)EXPORT_STATE_CLOSING == (int)SESSION_CLOSING && (int)EXPORT_STATE_PREFACE == (int)SESSION_PREFACE,
               "the states of a session are those of the format");
_Static_assert((int)EXPORT_FLOW_OPEN == (int)FLOW_OPEN && (int)EXPORT_FLOW_EOF_SEEN == (int)FLOW_EOF_SEEN &&
                   (int)EXPORT_FLOW_SHUT == (int)FLOW_SHUT && (int)EXPORT_FLOW_BROKEN == (int)FLOW_BROKEN,
               "the states of a flow are those of the format");
_Static_assert(CONF_NEVER == EXPORT_NEVER && CONF_BACKENDS_MAX <= EXPORT_TRIED_MAX, "the format holds what we have");
_Static_assert(EXPORT_TRUNCATION_MAX == TRUNCATION_RESET && EXPORT_BACKEND_MAX == BACKEND_TCP + 1, "what an export may hold");

/* ---- written down ---- */

static uint32_t flags_of(const struct session *s) {
    bool queued = s->state == SESSION_CONNECTING && !s->on_backend;
    return (s->client.tls ? EXPORT_TLS : 0u) | (s->backend.fd >= 0 && !queued ? EXPORT_BACKEND_FD : 0u) |
           (s->read_ahead && s->partial.len ? EXPORT_READ_AHEAD : 0u) | (s->connected ? EXPORT_CONNECTED : 0u) |
           (queued ? EXPORT_QUEUED : 0u) | (s->client.shut ? EXPORT_CLIENT_SHUT : 0u) |
           (s->client.fin ? EXPORT_CLIENT_FIN : 0u) | (s->client.reset ? EXPORT_RESET_CLIENT : 0u) |
           (s->backend.reset ? EXPORT_RESET_BACKEND : 0u);
}

static void fill_service(struct relay *r, const struct session *s, struct export_session *to) {
    const struct conf_service *c = session_service(r, s);
    to->service = span_str(c->name);
    to->idle_timeout_ms = MIN(c->idle_ms, c->idle_ms == CONF_NEVER ? CONF_NEVER : EXPORT_TIME_MAX);
    to->linger_timeout_ms = MIN(c->linger_ms, c->linger_ms == CONF_NEVER ? CONF_NEVER : EXPORT_TIME_MAX);
    to->connect_timeout_ms = MIN(c->connect_ms, c->connect_ms == CONF_NEVER ? CONF_NEVER : EXPORT_TIME_MAX);
    to->truncation = (uint8_t)c->truncation;
    if (s->chosen != BACKEND_NONE) {
        const struct conf_backend *b = &c->backends[s->chosen];
        to->backend_kind = (uint8_t)(b->kind + 1);
        to->backend = span_str(b->text);
        to->backend_path = span_str(b->path);
    }
    for (size_t i = 0; i < c->nbackends && s->state == SESSION_CONNECTING; i++)
        if (s->tried >> i & 1)
            to->tried[to->ntried++] = span_str(c->backends[i].text);
}

static uint64_t left(uint64_t deadline_ms, uint64_t now_ms) {
    if (deadline_ms == CONF_NEVER)
        return EXPORT_NEVER;
    return deadline_ms > now_ms ? MIN(deadline_ms - now_ms, EXPORT_TIME_MAX) : 0;
}

static void times_of(struct relay *r, const struct session *s, struct export_session *to) {
    uint64_t now_ms = r->loop.now_ms;
    to->deadline_ms = left(s->deadline_ms, now_ms);
    to->timer_ms = wtimer_armed(&s->timer) ? left(s->timer.deadline_ms, now_ms) : EXPORT_NEVER;
    to->idle_ms = MIN(now_ms - MIN(now_ms, s->active_ms), EXPORT_TIME_MAX);
    to->down_idle_ms = (uint32_t)now_ms - s->down_ms;
    if (s->connect_begun_us)
        to->connecting_us = MIN(clock_mono_us() - s->connect_begun_us, EXPORT_TIME_MAX);
    to->connect_us = s->connect_us;
    to->first_byte_us = s->first_byte_us;
    to->retries = s->retries;
}

void export_fill(struct relay *r, const struct session *s, struct export_session *to) {
    to->flags = flags_of(s);
    to->greeting = s->state == SESSION_CONNECTING || s->state == SESSION_PREFACE ? s->greeting : GREETING_NONE;
    to->state = to->greeting ? EXPORT_STATE_PREFACE : s->state;
    to->client_end = s->client.end;
    to->backend_end = s->backend.end;
    to->reason = s->reason ? span_str(err_name(s->reason)) : span_of(NULL, 0);
    to->up = (struct export_flow){.bytes = s->up.bytes, .state = s->up.state, .chunk_shift = s->up.chunk_shift};
    to->down = (struct export_flow){.bytes = s->down.bytes, .state = s->down.state, .chunk_shift = s->down.chunk_shift};
    times_of(r, s, to);
    fill_service(r, s, to);
    to->packed_info = span_of(s->conn_info, s->conn_info_len);
}

/* ---- does it make sense ---- */

static size_t total(const struct export_bytes *b) {
    return b->ahead + b->here.len;
}

static bool flow_valid(const struct export_flow *f) {
    bool may_wait = f->state == FLOW_OPEN || f->state == FLOW_EOF_SEEN;
    return f->chunk_shift >= CHUNK_MIN_SHIFT && f->chunk_shift <= CHUNK_MAX_SHIFT && (may_wait || total(&f->wait) == 0);
}

static bool partial_valid(const struct export_session *x) {
    size_t n = total(&x->partial);
    if (x->flags & EXPORT_READ_AHEAD)
        return n > 0 && n <= EXPORT_READ_AHEAD_MAX;
    return n == 0 || (x->flags & EXPORT_TLS && n < RECORD_WIRE_MAX);
}

/* The format has one state for all that have a greeting before them. */
static enum session_state imported_state(const struct export_session *x) {
    bool connecting = x->state == EXPORT_STATE_PREFACE && !(x->flags & EXPORT_CONNECTED);
    return connecting ? SESSION_CONNECTING : (enum session_state)x->state;
}

static bool state_valid(const struct export_session *x) {
    bool connected = x->flags & EXPORT_CONNECTED, backend_fd = x->flags & EXPORT_BACKEND_FD;
    bool queued = x->flags & EXPORT_QUEUED;
    bool tcp = x->backend_kind == BACKEND_TCP + 1; /* connects to other kinds take no time */
    switch (imported_state(x)) {
    case SESSION_CONNECTING: /* the first bytes for a backend are made when it is there */
        return !connected && x->backend_kind && queued == !backend_fd && (queued || tcp) && total(&x->up.wait) == 0 &&
               x->up.state == FLOW_OPEN && x->down.state == FLOW_OPEN && x->deadline_ms != EXPORT_NEVER;
    case SESSION_PREFACE: /* nothing is read but the greeting, which stays where it is; a backend may have stopped to read */
        return connected && backend_fd && !queued && x->flags & EXPORT_TLS && total(&x->down.wait) == 0 &&
               (x->up.state == FLOW_OPEN || x->up.state == FLOW_BROKEN) && x->down.state == FLOW_OPEN &&
               x->deadline_ms != EXPORT_NEVER && x->timer_ms != EXPORT_NEVER;
    case SESSION_OPEN:
        return connected && backend_fd && !queued;
    default:
        return !queued && (!backend_fd || x->backend_kind) && (!connected || x->backend_kind);
    }
}

static bool times_valid(const struct export_session *x) {
    return x->idle_ms <= EXPORT_TIME_MAX &&
           (x->state != SESSION_CLOSING || x->deadline_ms != EXPORT_NEVER || x->linger_timeout_ms == EXPORT_NEVER);
}

static bool makes_sense(const struct export_session *x) {
    return !(x->flags & EXPORT_HANDOFF) && flow_valid(&x->up) && flow_valid(&x->down) && partial_valid(x) && state_valid(x) &&
           times_valid(x);
}

/* ---- the parts ---- */

static bool take_waiting(struct relay *r, struct chain *to, struct chain *ahead, const struct export_bytes *b) {
    if (ahead->len != b->ahead)
        return false;
    *to = *ahead;
    *ahead = (struct chain){0};
    return b->here.len == 0 || chain_append_migrated(&r->pool, to, b->here) == 0;
}

static bool take_reason(struct session *s, struct span name) {
    return name.len == 0 || err_by_name(name, &s->reason) || (s->reason = ERR_UNSUPPORTED); /* of a later build: it had one */
}

static void take_flags(struct session *s, uint32_t flags) {
    s->client.tls = flags & EXPORT_TLS;
    s->read_ahead = flags & EXPORT_READ_AHEAD;
    s->connected = flags & EXPORT_CONNECTED;
    s->client.shut = flags & EXPORT_CLIENT_SHUT;
    s->client.fin = flags & EXPORT_CLIENT_FIN;
    s->client.reset = flags & EXPORT_RESET_CLIENT;
    s->backend.reset = flags & EXPORT_RESET_BACKEND;
}

/* Where the session belongs here. A session still on its way to a backend that is gone looks for another when there is one. */
static bool take_service(struct relay *r, struct session *s, const struct export_session *x) {
    uint16_t service = services_find(r, x->service), backend = BACKEND_NONE;
    if (service != SERVICES_NONE && x->backend_kind)
        backend = services_backend(r, service, x->backend);
    if (service == SERVICES_NONE || (backend == BACKEND_NONE && x->backend_kind && imported_state(x) != SESSION_CONNECTING)) {
        service = services_inherit(r, x);
        backend = x->backend_kind ? 0 : BACKEND_NONE;
    }
    if (service == SERVICES_NONE)
        return false;
    s->service = service;
    s->chosen = backend;
    for (size_t i = 0; i < x->ntried; i++) {
        uint16_t tried = services_backend(r, service, x->tried[i]);
        if (tried != BACKEND_NONE)
            s->tried |= UINT64_C(1) << tried;
    }
    return true;
}

static void take_times(struct relay *r, struct session *s, const struct export_session *x) {
    uint64_t now_ms = r->loop.now_ms;
    s->deadline_ms = x->deadline_ms == EXPORT_NEVER ? CONF_NEVER : now_ms + x->deadline_ms;
    s->active_ms = now_ms - MIN(now_ms, x->idle_ms);
    s->down_ms = (uint32_t)now_ms - x->down_idle_ms;
    uint64_t now_us = clock_mono_us();
    bool known =
        x->connecting_us || !(x->flags & EXPORT_CONNECTED); /* minors before 8 do not say it of one that has a backend */
    s->connect_begun_us = known ? now_us - MIN(now_us, x->connecting_us) : 0;
    s->connect_us = x->connect_us;
    s->first_byte_us = x->first_byte_us;
    s->retries = x->retries;
    if (s->state == SESSION_OPEN) { /* as this configuration has it: counted from the last byte */
        uint64_t idle_ms = session_service(r, s)->idle_ms;
        s->deadline_ms = idle_ms == CONF_NEVER ? CONF_NEVER : MAX(s->active_ms + idle_ms, now_ms);
        if (idle_ms != CONF_NEVER)
            wheel_arm(&r->loop.wheel, &s->timer, s->deadline_ms);
    } else if (x->timer_ms != EXPORT_NEVER) {
        wheel_arm(&r->loop.wheel, &s->timer, now_ms + x->timer_ms);
    }
}

/* The backend's side: its descriptor, its metrics. A queued session has none. */
static void take_backend_side(struct relay *r, struct session *s, int backend_fd) {
    if (s->chosen == BACKEND_NONE || backend_fd < 0)
        return;
    s->backend.fd = backend_fd;
    backends_join(&r->services[s->service].backends, s->chosen);
    s->on_backend = true;
}

/* As the service has it now, whatever the two sockets were made with: they may be older than the key. Nothing on a Unix socket.
 */
static void keep_alive(const struct session *s, uint64_t quiet_ms) {
    tcp_keepalive(s->client.fd, quiet_ms);
    if (s->backend.fd >= 0)
        tcp_keepalive(s->backend.fd, quiet_ms);
}

static bool watch_sides(struct relay *r, struct session *s) {
    uint32_t slot = s->item.slot, gen = LOOP_GEN(s->item.gen);
    s->client.wants_out = s->down.wait.len > 0;
    uint32_t client = SESSION_EVENTS | (s->client.wants_out ? EPOLLOUT : 0u);
    if (loop_watch(&r->loop, s->client.fd, client, RELAY_CLIENT, slot, gen) < 0)
        return false;
    if (s->backend.fd < 0)
        return true;
    bool tcp = session_service(r, s)->backends[s->chosen].kind == BACKEND_TCP;
    s->backend.wants_out = tcp || s->up.wait.len > 0;
    uint32_t backend = SESSION_EVENTS | (s->backend.wants_out ? EPOLLOUT : 0u);
    return loop_watch(&r->loop, s->backend.fd, backend, RELAY_BACKEND, slot, gen) == 0;
}

/* ---- the whole ---- */

static void take_flow(struct flow *f, const struct export_flow *x) {
    f->bytes = x->bytes;
    f->state = x->state;
    f->chunk_shift = x->chunk_shift;
}

/* What can only be wrong. */
static bool take_session_content(struct relay *r, struct session *s, const struct export_session *x,
                                 struct chain ahead[static EXPORT_PARTS]) {
    s->state = (uint8_t)imported_state(x);
    s->greeting = x->greeting;
    s->client.end = x->client_end;
    s->backend.end = x->backend_end;
    take_flags(s, x->flags);
    take_flow(&s->up, &x->up);
    take_flow(&s->down, &x->down);
    return (!s->client.tls || session_take_record_layer(s, x)) && take_reason(s, x->reason) &&
           take_waiting(r, &s->up.wait, &ahead[EXPORT_PART_UP], &x->up.wait) &&
           take_waiting(r, &s->down.wait, &ahead[EXPORT_PART_DOWN], &x->down.wait) &&
           take_waiting(r, &s->partial, &ahead[EXPORT_PART_PARTIAL], &x->partial);
}

/* What may also fail for want of memory or descriptors. */
static bool take_place(struct relay *r, struct session *s, const struct export_session *x, int backend_fd) {
    if (!take_service(r, s, x))
        return false;
    take_times(r, s, x);
    take_backend_side(r, s, backend_fd);
    if (services_counted_as(r, s->service) != SERVICES_NONE)
        keep_alive(s, session_service(r, s)->keepalive_ms);
    return session_keep_conn_info(s, x->packed_info) && watch_sides(r, s);
}

/* Everything but descriptors; those left in the session are closed as well. */
static void undo_session(struct relay *r, struct session *s) {
    uint16_t service = s->service;
    connect_leave(r, s);
    wheel_cancel(&r->loop.wheel, &s->timer);
    if (s->client.fd >= 0)
        close(s->client.fd);
    if (s->backend.fd >= 0)
        close(s->backend.fd);
    chain_free(&r->pool, &s->up.wait);
    chain_free(&r->pool, &s->down.wait);
    chain_free(&r->pool, &s->partial);
    free(s->conn_info);
    slab_free(&r->sessions, s); /* wipes keys */
    if (service != SERVICES_NONE)
        services_leave(r, service);
}

/* The exporter's copies would keep them watched here. */
static void unwatch(struct relay *r, struct session *s) {
    loop_unwatch(&r->loop, s->client.fd);
    if (s->backend.fd >= 0)
        loop_unwatch(&r->loop, s->backend.fd);
}

enum export_result import_session(struct relay *r, const struct export_session *x, int client_fd, int backend_fd,
                                  struct chain ahead[static EXPORT_PARTS], struct session **ret, const char **ret_why) {
    bool fits = session_socket_fits(client_fd) && (backend_fd < 0 || session_socket_fits(backend_fd));
    *ret_why = fits ? "state, flows and flags do not agree" : "a descriptor is no stream socket of TCP or Unix";
    if (!fits || !makes_sense(x))
        return EXPORT_IS_REFUSED;
    struct session *s = r->sessions.used < r->room ? slab_alloc(&r->sessions) : NULL;
    if (!s)
        return EXPORT_NO_ROOM;
    list_init(&s->link);
    s->client.fd = client_fd;
    s->backend.fd = -1;
    s->chosen = BACKEND_NONE;
    s->service = SERVICES_NONE;
    bool sound = take_session_content(r, s, x, ahead);
    if (sound && take_place(r, s, x, backend_fd)) {
        if (backend_fd >= 0 && s->backend.fd != backend_fd)
            close(backend_fd); /* of a connect to a backend that is gone */
        *ret = s;
        return EXPORT_IS_TAKEN;
    }
    unwatch(r, s);
    s->client.fd = -1;
    if (s->backend.fd == backend_fd)
        s->backend.fd = -1;
    undo_session(r, s);
    *ret_why = "keys, suite or waiting bytes do not agree with the rest";
    return sound ? EXPORT_NO_ROOM : EXPORT_IS_REFUSED;
}

void import_drop(struct relay *r, struct session *s) {
    unwatch(r, s);
    undo_session(r, s);
}

/* Work that no event announces. */
static bool has_business(const struct session *s) {
    return s->state == SESSION_CLOSING || s->read_ahead || s->up.wait.len || s->down.wait.len || s->up.state != FLOW_OPEN ||
           s->down.state != FLOW_OPEN || (s->client.tls && record_layer_control_owed(&s->record_layer));
}

void import_activate(struct relay *r, struct session *s, bool late) {
    struct conn_info f;
    session_conn_info(s, &f);
    session_count(r, s, 1);
    session_metrics_begin(r, s, &f, true);
    hold_settle(r, s);
    if (s->on_backend)
        session_metrics_on_backend(r, s, true);
    if (s->state == SESSION_CONNECTING && !s->on_backend)
        connect_try(r, s);
    else if (late && !session_watch_again(r, s))
        session_fail(r, s, ERR_SYSTEM);
    if (s->state != SESSION_CONNECTING && (late || has_business(s)))
        session_ready(r, s);
}
