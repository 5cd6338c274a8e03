#include "relay/batch.h"

#include <string.h>

#include "base/err.h"
#include "base/secret.h"
#include "relay/export_form.h"
#include "relay/relay.h"
#include "relay/session.h"
#include "tls/record_layer_pack.h"
#include "wire/export.h"

#define HERE_MAX (8 * 1024) /* waiting bytes that still travel in the session itself */

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

/* ---- waiting bytes ---- */

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
    export_fill(r, s, &x);
    if (s->client.tls)
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
    p->fds[p->nfds++] = s->client.fd;
    if (two)
        p->fds[p->nfds++] = s->backend.fd;
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
