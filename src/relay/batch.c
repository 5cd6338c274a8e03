#include "relay/batch.h"

#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/secret.h"
#include "tls/record_layer_pack.h"
#include "wire/export.h"

#define HERE_MAX (8 * 1024) /* waiting bytes that still travel in the session itself */

_Static_assert((int)EXPORT_STATE_CONNECTING == (int)SESSION_CONNECTING && (int)EXPORT_STATE_OPEN == (int)SESSION_OPEN &&
                   (int)EXPORT_STATE_CLOSING == (int)SESSION_CLOSING,
               "the states of a session are those of the format");
_Static_assert((int)EXPORT_FLOW_OPEN == (int)FLOW_OPEN && (int)EXPORT_FLOW_EOF_SEEN == (int)FLOW_EOF_SEEN &&
                   (int)EXPORT_FLOW_SHUT == (int)FLOW_SHUT && (int)EXPORT_FLOW_BROKEN == (int)FLOW_BROKEN,
               "the states of a flow are those of the format");
_Static_assert(CONF_NEVER == EXPORT_NEVER && CONF_BACKENDS_MAX <= EXPORT_TRIED_MAX, "the format holds what we have");

int batch_init(struct batch *p) {
    *p = (struct batch){.body = secret_alloc(IPC_BODY_MAX, NULL)};
    p->len = EXPORT_BATCH_LEN;
    return p->body ? 0 : ERR_NOMEM;
}

void batch_fini(struct batch *p) {
    secret_free(p->body, IPC_BODY_MAX);
}

void batch_clear(struct batch *p) {
    uint8_t *body = p->body;
    secret_wipe(body, p->len);
    *p = (struct batch){.body = body, .len = EXPORT_BATCH_LEN};
}

bool batch_has_room(const struct batch *p) {
    return !p->sealed && !p->full && p->n < EXPORT_BATCH_MAX && p->nfds + 2 <= EXPORT_FDS_MAX;
}

/* ---- a session in the format's terms ---- */

static uint32_t flags_of(const struct session *s) {
    bool queued = s->state == SESSION_CONNECTING && !s->on_backend;
    return (s->tls ? EXPORT_TLS : 0u) | (s->backend_fd >= 0 && !queued ? EXPORT_BACKEND_FD : 0u) |
           (s->read_ahead && s->partial.len ? EXPORT_READ_AHEAD : 0u) | (s->connected ? EXPORT_CONNECTED : 0u) |
           (queued ? EXPORT_QUEUED : 0u) | (s->client_shut ? EXPORT_CLIENT_SHUT : 0u) |
           (s->client_fin ? EXPORT_CLIENT_FIN : 0u) | (s->reset_client ? EXPORT_RESET_CLIENT : 0u) |
           (s->reset_backend ? EXPORT_RESET_BACKEND : 0u);
}

/* What a broken flow may still hold goes nowhere. */
static const struct chain *waiting(const struct session *s, unsigned part) {
    static const struct chain none;
    switch (part) {
    case EXPORT_PART_UP:
        return s->up.state == FLOW_BROKEN ? &none : &s->up.wait;
    case EXPORT_PART_DOWN:
        return s->down.state == FLOW_BROKEN ? &none : &s->down.wait;
    default:
        return &s->partial;
    }
}

static struct export_bytes waiting_bytes(const struct session *s, unsigned part, bool ahead, uint8_t *room, size_t *used) {
    const struct chain *c = waiting(s, part);
    if (ahead)
        return (struct export_bytes){.ahead = (uint32_t)c->len};
    size_t n = chain_peek(c, room + *used, HERE_MAX - *used);
    struct span here = span_of(room + *used, n);
    *used += n;
    return (struct export_bytes){.here = here};
}

static void service_of(struct relay *r, const struct session *s, struct export_session *to) {
    const struct conf_service *c = session_service(r, s);
    to->service = span_str(c->name);
    to->idle_timeout_ms = MIN(c->idle_ms, c->idle_ms == CONF_NEVER ? CONF_NEVER : EXPORT_TIME_MAX);
    to->linger_timeout_ms = MIN(c->linger_ms, c->linger_ms == CONF_NEVER ? CONF_NEVER : EXPORT_TIME_MAX);
    to->connect_timeout_ms = MIN(c->connect_ms, c->connect_ms == CONF_NEVER ? CONF_NEVER : EXPORT_TIME_MAX);
    to->truncation = (uint8_t)c->truncation;
    if (s->backend != BACKEND_NONE) {
        const struct conf_backend *b = &c->backends[s->backend];
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
    if (!s->connected)
        to->connecting_us = MIN(clock_mono_us() - s->connect_begun_us, EXPORT_TIME_MAX);
    to->connect_us = s->connect_us;
    to->retries = s->retries;
}

static void fill_export_session(struct relay *r, const struct session *s, struct export_session *to) {
    to->flags = flags_of(s);
    to->state = s->state;
    to->client_end = s->client_end;
    to->backend_end = s->backend_end;
    to->reason = s->reason ? span_str(err_name(s->reason)) : span_of(NULL, 0);
    to->up = (struct export_flow){.bytes = s->up.bytes, .state = s->up.state, .chunk_shift = s->up.chunk_shift};
    to->down = (struct export_flow){.bytes = s->down.bytes, .state = s->down.state, .chunk_shift = s->down.chunk_shift};
    times_of(r, s, to);
    service_of(r, s, to);
    to->packed_info = span_of(s->conn_info, s->conn_info_len);
}

/* ---- into the message ---- */

bool batch_session(struct batch *p, struct relay *r, struct session *s) {
    static struct export_session x; /* 1.5 KB */
    uint8_t record_layer[RECORD_LAYER_PACKED_MAX];
    size_t wait = 0, used = 0;
    for (unsigned part = 0; part < EXPORT_PARTS; part++)
        wait += waiting(s, part)->len;
    bool ahead = wait > HERE_MAX;
    if (ahead && p->n > 0)
        return false;
    x = (struct export_session){0};
    fill_export_session(r, s, &x);
    if (s->tls)
        x.record_layer = record_layer_pack(&s->record_layer, record_layer);
    x.up.wait = waiting_bytes(s, EXPORT_PART_UP, ahead, r->out, &used);
    x.down.wait = waiting_bytes(s, EXPORT_PART_DOWN, ahead, r->out, &used);
    x.partial = waiting_bytes(s, EXPORT_PART_PARTIAL, ahead, r->out, &used);

    bool two = x.flags & EXPORT_BACKEND_FD;
    struct wr w = wr_of(p->body + p->len, IPC_BODY_MAX - p->len);
    export_append(&w, &x, two ? 2 : 1);
    secret_wipe(record_layer, sizeof(record_layer));
    if (!wr_end(&w)) {
        secret_wipe(w.p, w.len);
        return false;
    }
    p->len += w.len;
    p->fds[p->nfds++] = s->client_fd;
    if (two)
        p->fds[p->nfds++] = s->backend_fd;
    p->n++;
    p->ahead = ahead ? s : NULL;
    p->full = ahead;
    return true;
}

/* Waiting bytes of one session, a message a piece. */
static int send_ahead(struct batch *p, int link) {
    static uint8_t body[1 + EXPORT_BYTES_MAX];
    for (; p->part < EXPORT_PARTS; p->part++, p->off = 0) {
        const struct chain *c = waiting(p->ahead, p->part);
        while (p->off < c->len) {
            body[0] = (uint8_t)p->part;
            size_t n = chain_peek_at(c, p->off, body + 1, EXPORT_BYTES_MAX);
            int err = ipc_send(link, EXPORT_BYTES, span_of(body, 1 + n), NULL, 0);
            secret_wipe(body, 1 + n);
            if (err < 0)
                return err;
            p->off += n;
        }
    }
    p->ahead = NULL;
    return 0;
}

int batch_send(struct batch *p, int link, uint32_t number) {
    if (!p->sealed) {
        struct export_batch b = {.major = EXPORT_MAJOR, .minor = EXPORT_MINOR, .number = number, .n = p->n};
        struct wr head = wr_of(p->body, EXPORT_BATCH_LEN);
        export_batch_pack(&head, &b);
        p->sealed = true;
    }
    int err = p->ahead ? send_ahead(p, link) : 0;
    return err < 0 ? err : ipc_send(link, EXPORT_SESSIONS, span_of(p->body, p->len), p->fds, p->nfds);
}
