/*
 * Relays bytes: reads once, opens or seals in place, writes through at once; what the sink does not take waits in leased
 * memory, and the source is not read again before it has left.
 *
 * Both flows are pumped by the same code. What differs is a property of a side: its transport (records of the record layer, or
 * bytes as they are), and what its end and its faults mean for the other one. A session has one record layer, so at most one
 * of its sides is TLS.
 */
#include "relay/flow.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "relay/hold.h"
#include "relay/rate.h"
#include "relay/relay.h"
#include "relay/session.h"
#include "relay/session_info.h"
#include "relay/session_metrics.h"
#include "relay/window.h"

#define FLUSH_IOV        64
#define READ_RECORDS_MAX 64   /* records sealed for one write */
#define BURST_GAP_MS     1000 /* a pause after which TCP begins with its initial window again */

/* A flow with its two ends. */
struct way {
    struct flow *flow;
    struct side *from, *to;
};

static struct way way_of(struct session *s, struct flow *f) {
    bool up = f == &s->up;
    return (struct way){f, up ? &s->client : &s->backend, up ? &s->backend : &s->client};
}

static bool from_client(const struct session *s, const struct way *w) {
    return w->from == &s->client;
}

/* Bytes to read now; 0 = the session waits, for a byte rate. */
static size_t chunk_of(struct relay *r, struct session *s, const struct flow *f) {
    return rate_room(r, s, hold_chunk(r, s, (size_t)1 << f->chunk_shift));
}

/* Full reads that went out whole call for larger ones, a blocked sink for smaller ones. */
static void adapt(struct flow *f, bool full) {
    if (f->wait.len)
        f->chunk_shift = CHUNK_MIN_SHIFT;
    else if (full && f->chunk_shift < CHUNK_MAX_SHIFT)
        f->chunk_shift++;
}

/* ---- faults ---- */

/* The backend takes no more bytes. Its own may still come: the other direction goes on. */
static void up_broken(struct relay *r, struct session *s) {
    chain_free(&r->pool, &s->up.wait);
    s->up.state = FLOW_BROKEN;
    s->down.readable = true; /* a reset would show there */
}

void flow_client_reset(struct relay *r, struct session *s) {
    /* many clients answer our last bytes with a reset, having sent and received all they need */
    bool was_over = s->state == SESSION_CLOSING || (s->client.end == END_CLOSE && s->down.state != FLOW_OPEN);
    s->client.fin = true;
    s->up.readable = s->down.readable = false;
    s->down.state = FLOW_BROKEN;
    chain_free(&r->pool, &s->down.wait);
    if (was_over)
        return;
    s->client.end = END_RESET;
    s->backend.reset = true;
    session_fail(r, s, ERR_CLIENT_RESET);
}

/*
 * A backend that ended by a reset has not sent all, and the client must not take it for a whole answer. Over TLS the missing
 * close_notify shows it, and spares the client a reset that could swallow bytes it has not read; otherwise only a reset can.
 */
void flow_backend_reset(struct relay *r, struct session *s) {
    s->backend.end = END_RESET;
    s->down.readable = false;
    s->client.reset = !s->client.tls;
    if (s->up.state != FLOW_SHUT)
        up_broken(r, s);
    session_fail(r, s, ERR_BACKEND_RESET);
}

static void source_broken(struct relay *r, struct session *s, const struct way *w) {
    if (from_client(s, w))
        flow_client_reset(r, s);
    else
        flow_backend_reset(r, s);
}

static void sink_broken(struct relay *r, struct session *s, const struct way *w) {
    if (from_client(s, w))
        up_broken(r, s);
    else
        flow_client_reset(r, s);
}

/* ---- to the sink ---- */

/*
 * Most clients take all at once: "writable" is watched only after it was not, and from then on. A Unix socket, as backends
 * have, reports it at every read of its peer: there it is watched only while it is needed.
 */
static void want_out(struct relay *r, struct session *s, struct side *side, bool want) {
    bool client = side == &s->client;
    if (side->wants_out == want || (client && !want))
        return;
    side->wants_out = want;
    if (loop_rewatch(&r->loop, side->fd, SESSION_EVENTS | (want ? EPOLLOUT : 0u), client ? RELAY_CLIENT : RELAY_BACKEND,
                     s->item.slot, LOOP_GEN(s->item.gen)) < 0)
        session_fail(r, s, ERR_SYSTEM);
}

/* Everything has left: the source's end becomes the sink's. */
static void shut_sink(const struct way *w) {
    if (w->flow->state != FLOW_EOF_SEEN || w->flow->wait.len)
        return;
    w->flow->state = FLOW_SHUT;
    w->to->shut = true;
    (void)shutdown(w->to->fd, SHUT_WR); /* fails only when the sink is gone: its reads show it */
}

static void keep_waiting(struct relay *r, struct session *s, struct flow *f, struct span bytes) {
    int err = chain_append(&r->pool, &f->wait, bytes);
    if (err < 0) {
        f->state = FLOW_BROKEN;
        session_fail(r, s, err);
    }
}

/* Sends as much of a chain as the socket takes: 1 all, 0 blocked, -1 broken (errno). */
static int flush(struct relay *r, struct session *s, int fd, struct flow *f) {
    while (f->wait.len) {
        struct iovec iov[FLUSH_IOV];
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = chain_iov(&f->wait, iov, FLUSH_IOV)};
        ssize_t n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            f->blocked = errno == EAGAIN;
            return f->blocked ? 0 : -1;
        }
        chain_consume(&r->pool, &f->wait, (size_t)n);
        s->active_ms = r->loop.now_ms;
    }
    f->blocked = false;
    return 1;
}

bool flow_flush(struct relay *r, struct session *s, struct flow *f) {
    struct way w = way_of(s, f);
    if (w.to->fd < 0 || f->state == FLOW_BROKEN)
        return false;
    int done = flush(r, s, w.to->fd, f);
    if (done < 0) {
        sink_broken(r, s, &w);
        return false;
    }
    want_out(r, s, w.to, done == 0);
    if (done)
        shut_sink(&w);
    return done == 1;
}

/* Bytes as the sink's socket takes them: written through when nothing waits before them. */
static void write_or_queue(struct relay *r, struct session *s, const struct way *w, struct iovec *iov, unsigned niov,
                           int flags) {
    size_t sent = 0;
    if (w->flow->state == FLOW_BROKEN)
        return;
    if (w->flow->wait.len == 0) {
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = niov};
        ssize_t n = sendmsg(w->to->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT | flags);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            sink_broken(r, s, w);
            return;
        }
        sent = n > 0 ? (size_t)n : 0;
    }
    for (unsigned i = 0; i < niov && w->flow->state != FLOW_BROKEN; i++) {
        size_t skip = MIN(sent, iov[i].iov_len);
        sent -= skip;
        if (skip < iov[i].iov_len)
            keep_waiting(r, s, w->flow, span_of((uint8_t *)iov[i].iov_base + skip, iov[i].iov_len - skip));
    }
}

/* Records to the client, sealed already. With MSG_MORE they wait for what is sent next, at most 200 ms. */
static void put_records(struct relay *r, struct session *s, struct flow *f, uint8_t *records, size_t len, int flags) {
    struct way w = way_of(s, f);
    struct iovec iov = {records, len};
    if (len)
        write_or_queue(r, s, &w, &iov, 1, flags);
}

void flow_put_alert(struct relay *r, struct session *s, enum alert alert) {
    uint8_t record[RECORD_LAYER_CONTROL_MAX];
    size_t len = 0;
    if (!s->client.tls || s->record_layer.close_sent || s->down.state == FLOW_BROKEN)
        return;
    if (record_layer_alert(&s->record_layer, &r->contexts, alert, record, &len) == 0)
        put_records(r, s, &s->down, record, len, MSG_MORE); /* the end of our side follows at once, in the same segment */
}

static void put_control(struct relay *r, struct session *s, struct flow *f) {
    uint8_t records[RECORD_LAYER_CONTROL_MAX];
    size_t len = 0;
    uint32_t key_updates = s->record_layer.key_updates_out;
    int err = record_layer_control(&s->record_layer, &r->contexts, records, &len);
    if (err < 0)
        session_fail(r, s, err);
    else
        put_records(r, s, f, records, len, 0);
    if (s->record_layer.key_updates_out != key_updates)
        session_metrics_add(r, s, STATS_KEY_UPDATES_OUT, s->record_layer.key_updates_out - key_updates);
}

/* ---- the end of the source ---- */

static void source_ends(struct relay *r, struct session *s, const struct way *w, enum side_end how) {
    w->from->end = (uint8_t)how;
    s->active_ms = r->loop.now_ms;
    if (w->to->tls)
        flow_put_alert(r, s, ALERT_CLOSE_NOTIFY);
    if (w->flow->state == FLOW_OPEN)
        w->flow->state = FLOW_EOF_SEEN;
    shut_sink(w);
}

/* Its TCP ended. Without TLS that is an end like any other; after close_notify it is the rest of it. */
static void source_fin(struct relay *r, struct session *s, const struct way *w) {
    w->from->fin = true;
    w->flow->readable = false;
    if (w->flow->state != FLOW_OPEN)
        return;
    if (!w->from->tls) {
        source_ends(r, s, w, END_CLOSE);
        return;
    }
    session_metrics_add(r, s, STATS_TRUNCATIONS, 1);
    if (session_service(r, s)->truncation == TRUNCATION_RESET) {
        w->from->end = END_TRUNCATED;
        w->to->reset = true;
        session_fail(r, s, ERR_TRUNCATED);
        return;
    }
    source_ends(r, s, w, END_TRUNCATED);
}

/* ---- layout: plain bytes are read to where they will be sealed ---- */

/* How the next read is laid out as records in the out scratch, so that all records touch and leave in one write. */
struct layout {
    size_t prefix, overhead; /* bytes before the plain bytes; before and behind them */
    size_t first, full;      /* plain bytes of the first record, of all others */
};

/*
 * The first record of a burst is no longer than TCP's initial window of ten segments (RFC 6928), or the client could not open
 * it before another round trip. Less would cost records and gain nothing: the window arrives as a whole.
 */
#define FIRST_RECORD (10 * 1428 - RECORD_OVERHEAD_MAX)

static struct layout layout_of(const struct relay *r, const struct session *s, const struct way *w) {
    const struct suite *suite = record_layer_suite(&s->record_layer);
    struct layout l = {.prefix = record_prefix(suite), .first = s->record_layer.out_max, .full = s->record_layer.out_max};
    l.overhead = l.prefix + AEAD_TAG_LEN + (suite->version == TLS_1_3 ? 1 : 0);
    if (w->flow->bytes == 0 || (uint32_t)r->loop.now_ms - s->down_ms > BURST_GAP_MS)
        l.first = MIN(l.first, (size_t)FIRST_RECORD);
    return l;
}

static ssize_t read_laid_out(struct relay *r, int fd, size_t chunk, const struct layout *l) {
    struct iovec iov[READ_RECORDS_MAX];
    unsigned niov = 0;
    size_t at = 0;
    for (size_t limit = l->first; chunk > 0 && niov < ARRAY_LEN(iov); limit = l->full) {
        size_t take = MIN(chunk, limit);
        iov[niov++] = (struct iovec){r->out + at + l->prefix, take};
        at += take + l->overhead;
        chunk -= take;
    }
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = niov};
    return recvmsg(fd, &msg, MSG_DONTWAIT);
}

/* Seals N plain bytes laid out by L and sends them at once. */
static void seal_and_send(struct relay *r, struct session *s, const struct way *w, size_t n, const struct layout *l) {
    struct record_run run;
    int err = record_run_begin(&run, &r->contexts, record_layer_suite(&s->record_layer), &s->record_layer.out, true);
    size_t total = 0, records = 0;
    for (size_t limit = l->first; n > 0 && err == 0; limit = l->full) {
        size_t plain = MIN(n, limit), len = 0;
        err = record_seal(&run, CONTENT_APPLICATION_DATA, r->out + total, plain, &len);
        total += err == 0 ? len : 0;
        n -= plain;
        records++;
    }
    record_layer_progress(&s->record_layer, records);
    put_records(r, s, w->flow, r->out, total, 0);
    if (err < 0)
        session_fail(r, s, err);
}

/* ---- through ---- */

/* N plain bytes of the source, whether its sink takes them or not. */
static void account(struct relay *r, struct session *s, const struct way *w, size_t n) {
    bool up = from_client(s, w);
    if (!up && w->flow->bytes == 0)
        session_metrics_first_byte(r, s);
    w->flow->bytes += n;
    window_moved(w->from->fd, w->flow->bytes - n, w->flow->bytes, &w->flow->mark_us);
    session_metrics_bytes(r, s, up ? STATS_BYTES_IN : STATS_BYTES_OUT, n);
    rate_consume(r, s, n);
}

/* Opens all whole records of IN and passes their plain bytes on; keeps what is no whole record. */
static void open_records(struct relay *r, struct session *s, const struct way *w, uint8_t *in, size_t len) {
    struct record_layer_opened opened;
    enum step step;
    uint32_t key_updates = s->record_layer.key_updates_in;
    do {
        step = record_layer_open(&s->record_layer, &r->contexts, in, len, &opened);
        rate_consume(r, s, opened.padding); /* it costs what data costs */
        if (opened.plain_len) {
            account(r, s, w, opened.plain_len);
            write_or_queue(r, s, w, opened.iov, opened.niov, 0);
        }
        in += opened.consumed;
        len -= opened.consumed;
    } while (step == STEP_DONE && s->state == SESSION_OPEN);
    if (s->record_layer.key_updates_in != key_updates)
        session_metrics_add(r, s, STATS_KEY_UPDATES_IN, s->record_layer.key_updates_in - key_updates);

    if (step == STEP_EOF) {
        source_ends(r, s, w, END_CLOSE);
    } else if (step == STEP_FAILED) {
        w->to->reset = session_service(r, s)->truncation == TRUNCATION_RESET; /* what came is a part, not the whole */
        session_fail(r, s, opened.err);
    } else if (len && s->state == SESSION_OPEN && chain_append(&r->pool, &s->partial, span_of(in, len)) < 0) {
        session_fail(r, s, ERR_NOMEM);
    }
}

/* LEN bytes have been read: behind each other in the in scratch, or laid out by L for a sink that is TLS. */
static void pass(struct relay *r, struct session *s, const struct way *w, size_t len, const struct layout *l) {
    struct iovec iov = {r->in, len};
    if (w->from->tls) {
        open_records(r, s, w, r->in, len);
        return;
    }
    account(r, s, w, len);
    if (w->to->tls)
        seal_and_send(r, s, w, len, l);
    else
        write_or_queue(r, s, w, &iov, 1, 0);
}

/* What a read came to. False when it brought no bytes. */
static bool read_ok(struct relay *r, struct session *s, const struct way *w, ssize_t n, size_t chunk) {
    if (n == 0)
        source_fin(r, s, w);
    if (n < 0 && errno != EINTR)
        w->flow->readable = false;
    if (n < 0 && errno != EINTR && errno != EAGAIN)
        source_broken(r, s, w);
    if (n > 0 && (size_t)n < chunk && !w->from->ended) /* a short read has emptied the socket */
        w->flow->readable = false;
    return n > 0;
}

/* Reads at most CHUNK bytes and passes them on, behind those of the client's that are there already. */
static void pump_chunk(struct relay *r, struct session *s, const struct way *w, size_t chunk) {
    struct layout l = {0};
    bool ahead = from_client(s, w) && s->read_ahead;
    size_t carried = from_client(s, w) ? chain_peek(&s->partial, r->in, EXPORT_READ_AHEAD_MAX) : 0;
    ssize_t n = 0;
    if (w->to->tls) {
        l = layout_of(r, s, w);
        chunk = MIN(chunk, l.first + (READ_RECORDS_MAX - 1) * l.full);
        n = read_laid_out(r, w->from->fd, chunk, &l);
    } else if (!ahead) {
        n = recv(w->from->fd, r->in + carried, chunk, MSG_DONTWAIT);
    }
    if (!ahead && !read_ok(r, s, w, n, chunk))
        return;
    s->active_ms = r->loop.now_ms;
    if (from_client(s, w)) {
        s->read_ahead = false;
        chain_free(&r->pool, &s->partial);
    } else {
        s->down_ms = (uint32_t)r->loop.now_ms;
    }
    pass(r, s, w, carried + (size_t)n, &l);
    if (s->state == SESSION_OPEN && w->flow->wait.len)
        (void)flow_flush(r, s, w->flow); /* a first write also has the PROXY header */
    adapt(w->flow, (size_t)n == chunk);
}

static void pump_read(struct relay *r, struct session *s, const struct way *w) {
    size_t chunk = chunk_of(r, s, w->flow);
    if (chunk)
        pump_chunk(r, s, w, chunk);
}

void flow_pass_down(struct relay *r, struct session *s, size_t n) {
    struct way w = way_of(s, &s->down);
    for (uint64_t end = s->down.bytes + n, before = UINT64_MAX; s->down.bytes < end && s->down.bytes != before;) {
        before = s->down.bytes;
        pump_chunk(r, s, &w, (size_t)(end - before));
    }
}

/* The client after its end or ours: only TCP's own end is of interest. */
static void discard(struct relay *r, struct session *s, const struct way *w) {
    ssize_t n = recv(w->from->fd, r->in, (size_t)1 << CHUNK_MIN_SHIFT, MSG_DONTWAIT);
    if (n <= 0)
        (void)read_ok(r, s, w, n, 0);
}

void flow_pump(struct relay *r, struct session *s, struct flow *f) {
    bool up = f == &s->up, ahead = up && s->read_ahead;
    const struct side *to = up ? &s->backend : &s->client;
    if (f->wait.len && !ahead) {
        if (!flow_flush(r, s, f))
            return;
        if (up)
            hold_excuse(r, s);
    }
    if (to->tls && f->state == FLOW_OPEN && record_layer_control_owed(&s->record_layer))
        put_control(r, s, f);
    if (s->state != SESSION_OPEN || !(f->readable || ahead))
        return;
    struct way w = way_of(s, f);
    if (f->state == FLOW_OPEN && (f->wait.len == 0 || ahead))
        pump_read(r, s, &w);
    else if (up && f->state != FLOW_OPEN && f->state != FLOW_BROKEN)
        discard(r, s, &w);
}
