/*
 * Relays bytes: reads once, opens or seals in place, writes through at once; what the sink does not take waits in leased
 * memory, and the source is not read again before it has left.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "relay/session.h"
#include "relay/window.h"

#define FLUSH_IOV        64
#define DOWN_RECORDS_MAX 64   /* records sealed for one write */
#define BURST_GAP_MS     1000 /* a pause after which TCP begins with its initial window again */

/* Bytes to read now; 0 = the session waits, for its client's byte rate. */
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

/* ---- up: client to backend ---- */

/* A Unix socket reports "writable" at every read of its peer: it is watched only while it is needed. */
static void backend_want_out(struct relay *r, struct session *s, bool want) {
    if (s->backend.wants_out == want || s->backend.fd < 0)
        return;
    uint32_t events = EPOLLIN | EPOLLRDHUP | EPOLLET | (want ? EPOLLOUT : 0u);
    if (loop_rewatch(&r->loop, s->backend.fd, events, RELAY_BACKEND, s->item.slot, LOOP_GEN(s->item.gen)) < 0)
        session_fail(r, s, ERR_SYSTEM);
    s->backend.wants_out = want;
}

/* The backend takes no more bytes. Its own may still come: the other direction goes on. */
static void up_broken(struct relay *r, struct session *s) {
    chain_free(&r->pool, &s->up.wait);
    s->up.state = FLOW_BROKEN;
    s->down.readable = true; /* a reset would show there */
}

/* Everything has left: the client's end becomes the backend's. */
static void up_shut(struct session *s) {
    if (s->up.state != FLOW_EOF_SEEN || s->up.wait.len)
        return;
    s->up.state = FLOW_SHUT;
    (void)shutdown(s->backend.fd, SHUT_WR); /* fails only when the backend is gone: its reads show it */
}

bool flow_flush_up(struct relay *r, struct session *s) {
    if (s->backend.fd < 0 || s->up.state == FLOW_BROKEN)
        return false;
    int done = flush(r, s, s->backend.fd, &s->up);
    if (done < 0) {
        up_broken(r, s);
        return false;
    }
    backend_want_out(r, s, done == 0);
    if (done)
        up_shut(s);
    return done == 1;
}

/* Plain runs to the backend: written through when nothing waits before them. */
static void write_to_backend(struct relay *r, struct session *s, const struct iovec *iov, unsigned niov, size_t len) {
    size_t sent = 0;
    s->up.bytes += len;
    if (len) {
        window_moved(s->client.fd, s->up.bytes - len, s->up.bytes, &s->up.mark_us);
        session_metrics_bytes(r, s, STATS_BYTES_IN, len);
        rate_consume(s, len);
    }
    if (s->up.state == FLOW_BROKEN || len == 0)
        return;
    if (s->up.wait.len == 0) {
        struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = niov};
        ssize_t n = sendmsg(s->backend.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            up_broken(r, s);
            return;
        }
        sent = n > 0 ? (size_t)n : 0;
    }
    for (unsigned i = 0; i < niov && s->up.state != FLOW_BROKEN; i++) {
        size_t skip = MIN(sent, iov[i].iov_len);
        sent -= skip;
        if (skip < iov[i].iov_len)
            keep_waiting(r, s, &s->up, span_of((uint8_t *)iov[i].iov_base + skip, iov[i].iov_len - skip));
    }
}

static void up_eof(struct relay *r, struct session *s, enum side_end how) {
    s->client.end = (uint8_t)how;
    s->active_ms = r->loop.now_ms;
    if (s->up.state == FLOW_OPEN)
        s->up.state = FLOW_EOF_SEEN;
    up_shut(s);
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

/* The client's TCP ended. In passthrough mode that is an end like any other; after close_notify it is the rest of it. */
static void up_fin(struct relay *r, struct session *s) {
    s->client.fin = true;
    s->up.readable = false;
    if (s->up.state != FLOW_OPEN)
        return;
    if (!s->client.tls) {
        up_eof(r, s, END_CLOSE);
        return;
    }
    session_metrics_add(r, s, STATS_TRUNCATIONS, 1);
    if (session_service(r, s)->truncation == TRUNCATION_RESET) {
        s->client.end = END_TRUNCATED;
        s->backend.reset = true;
        session_fail(r, s, ERR_TRUNCATED);
        return;
    }
    up_eof(r, s, END_TRUNCATED);
}

/* Opens all whole records of IN and writes their plain bytes; keeps what is no whole record. */
static void up_open(struct relay *r, struct session *s, uint8_t *in, size_t len) {
    struct record_layer_opened opened;
    enum step step;
    uint32_t key_updates = s->record_layer.key_updates_in;
    do {
        step = record_layer_open(&s->record_layer, &r->contexts, in, len, &opened);
        write_to_backend(r, s, opened.iov, opened.niov, opened.plain_len);
        in += opened.consumed;
        len -= opened.consumed;
    } while (step == STEP_DONE && s->state == SESSION_OPEN);
    if (s->record_layer.key_updates_in != key_updates)
        session_metrics_add(r, s, STATS_KEY_UPDATES_IN, s->record_layer.key_updates_in - key_updates);

    if (step == STEP_EOF) {
        up_eof(r, s, END_CLOSE);
    } else if (step == STEP_FAILED) {
        s->backend.reset = session_service(r, s)->truncation == TRUNCATION_RESET; /* what came is a part, not the whole */
        session_fail(r, s, opened.err);
    } else if (len && s->state == SESSION_OPEN && chain_append(&r->pool, &s->partial, span_of(in, len)) < 0) {
        session_fail(r, s, ERR_NOMEM);
    }
}

static void up_take(struct relay *r, struct session *s, size_t len) {
    if (s->client.tls) {
        up_open(r, s, r->in, len);
    } else if (len) {
        struct iovec iov = {r->in, len};
        write_to_backend(r, s, &iov, 1, len);
    }
}

/* The client after its end or ours: only TCP's own end is of interest. */
static void up_discard(struct relay *r, struct session *s) {
    ssize_t n = recv(s->client.fd, r->in, (size_t)1 << CHUNK_MIN_SHIFT, MSG_DONTWAIT);
    if (n == 0) {
        s->client.fin = true;
        s->up.readable = false;
    } else if (n < 0 && errno != EINTR) {
        s->up.readable = false;
        if (errno != EAGAIN)
            flow_client_reset(r, s);
    }
}

static void up_read(struct relay *r, struct session *s) {
    size_t chunk = chunk_of(r, s, &s->up);
    if (chunk == 0)
        return;
    size_t carried = chain_peek(&s->partial, r->in, EXPORT_READ_AHEAD_MAX);
    ssize_t n = 0;
    if (!s->read_ahead) {
        n = recv(s->client.fd, r->in + carried, chunk, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            return;
        if (n < 0) {
            s->up.readable = false;
            if (errno != EAGAIN)
                flow_client_reset(r, s);
            return;
        }
        if (n == 0) {
            up_fin(r, s);
            return;
        }
        if ((size_t)n < chunk && !s->client.ended) /* a short read has emptied the socket */
            s->up.readable = false;
    }
    s->read_ahead = false;
    s->active_ms = r->loop.now_ms;
    chain_free(&r->pool, &s->partial);
    up_take(r, s, carried + (size_t)n);
    if (s->state == SESSION_OPEN && s->up.wait.len)
        (void)flow_flush_up(r, s); /* a first write also has the PROXY header */
    adapt(&s->up, (size_t)n == chunk);
}

void flow_up(struct relay *r, struct session *s) {
    if (s->up.wait.len && !s->read_ahead) {
        if (!flow_flush_up(r, s))
            return;
        hold_excuse(r, s);
    }
    if (s->up.state == FLOW_OPEN && (s->up.readable || s->read_ahead))
        up_read(r, s);
    else if (s->up.state != FLOW_OPEN && s->up.state != FLOW_BROKEN && s->up.readable)
        up_discard(r, s);
}

/* ---- down: backend to client ---- */

/* Everything has left: our side of TCP ends. */
static void down_shut(struct session *s) {
    if (s->down.state != FLOW_EOF_SEEN || s->down.wait.len)
        return;
    s->down.state = FLOW_SHUT;
    s->client.shut = true;
    (void)shutdown(s->client.fd, SHUT_WR); /* fails only when the client is gone: its reads show it */
}

/* Most clients take all at once: "writable" is watched only after it was not, and from then on. */
static void client_want_out(struct relay *r, struct session *s) {
    if (s->client.wants_out)
        return;
    s->client.wants_out = true;
    if (loop_rewatch(&r->loop, s->client.fd, SESSION_CLIENT_EVENTS | EPOLLOUT, RELAY_CLIENT, s->item.slot,
                     LOOP_GEN(s->item.gen)) < 0)
        session_fail(r, s, ERR_SYSTEM);
}

bool flow_flush_down(struct relay *r, struct session *s) {
    if (s->client.fd < 0 || s->down.state == FLOW_BROKEN)
        return false;
    int done = flush(r, s, s->client.fd, &s->down);
    if (done == 0)
        client_want_out(r, s);
    if (done < 0) {
        flow_client_reset(r, s);
        return false;
    }
    if (done)
        down_shut(s);
    return done == 1;
}

/* With MSG_MORE in FLAGS the bytes wait for what is sent next, at most 200 ms. */
static void put_client(struct relay *r, struct session *s, struct span bytes, int flags) {
    if (s->down.state == FLOW_BROKEN || bytes.len == 0)
        return;
    if (s->down.wait.len == 0) {
        ssize_t n = send(s->client.fd, bytes.p, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT | flags);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            flow_client_reset(r, s);
            return;
        }
        if (n > 0)
            bytes = span_of(bytes.p + n, bytes.len - (size_t)n);
    }
    if (bytes.len)
        keep_waiting(r, s, &s->down, bytes);
}

/* Bytes (records already) to the client: sent now or kept. */
static void put_records(struct relay *r, struct session *s, struct span bytes) {
    put_client(r, s, bytes, 0);
}

void flow_put_alert(struct relay *r, struct session *s, enum alert alert) {
    uint8_t record[RECORD_LAYER_CONTROL_MAX];
    size_t len = 0;
    if (!s->client.tls || s->record_layer.close_sent || s->down.state == FLOW_BROKEN)
        return;
    if (record_layer_alert(&s->record_layer, &r->contexts, alert, record, &len) == 0)
        put_client(r, s, span_of(record, len), MSG_MORE); /* the end of our side follows at once, in the same segment */
}

static void put_control(struct relay *r, struct session *s) {
    uint8_t records[RECORD_LAYER_CONTROL_MAX];
    size_t len = 0;
    uint32_t key_updates = s->record_layer.key_updates_out;
    int err = record_layer_control(&s->record_layer, &r->contexts, records, &len);
    if (err < 0)
        session_fail(r, s, err);
    else
        put_records(r, s, span_of(records, len));
    if (s->record_layer.key_updates_out != key_updates)
        session_metrics_add(r, s, STATS_KEY_UPDATES_OUT, s->record_layer.key_updates_out - key_updates);
}

static void down_eof(struct relay *r, struct session *s) {
    s->backend.end = END_CLOSE;
    s->active_ms = r->loop.now_ms;
    s->down.readable = false;
    flow_put_alert(r, s, ALERT_CLOSE_NOTIFY);
    if (s->down.state == FLOW_OPEN)
        s->down.state = FLOW_EOF_SEEN;
    down_shut(s);
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

/*
 * How the next read is laid out as records in the out scratch: the plain bytes of each are placed where they will be sealed,
 * so that all records touch and leave in one write.
 */
struct layout {
    size_t prefix, overhead; /* bytes before the plain bytes; before and behind them */
    size_t first, full;      /* plain bytes of the first record, of all others */
};

/*
 * The first record of a burst is no longer than TCP's initial window of ten segments (RFC 6928), or the client could not open
 * it before another round trip. Less would cost records and gain nothing: the window arrives as a whole.
 */
#define FIRST_RECORD (10 * 1428 - RECORD_OVERHEAD_MAX)

static struct layout layout_of(const struct relay *r, const struct session *s) {
    const struct suite *suite = record_layer_suite(&s->record_layer);
    struct layout l = {.prefix = record_prefix(suite), .first = s->record_layer.out_max, .full = s->record_layer.out_max};
    l.overhead = l.prefix + AEAD_TAG_LEN + (suite->version == TLS_1_3 ? 1 : 0);
    if (s->down.bytes == 0 || (uint32_t)r->loop.now_ms - s->down_ms > BURST_GAP_MS)
        l.first = MIN(l.first, (size_t)FIRST_RECORD);
    return l;
}

/* Seals N plain bytes laid out by L and sends them at once. */
static void down_seal(struct relay *r, struct session *s, size_t n, const struct layout *l) {
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
    if (total)
        put_records(r, s, span_of(r->out, total));
    if (err < 0)
        session_fail(r, s, err);
}

static ssize_t down_read(struct relay *r, struct session *s, size_t chunk, const struct layout *l) {
    struct iovec iov[DOWN_RECORDS_MAX];
    unsigned niov = 0;
    size_t at = 0;
    for (size_t limit = l->first; chunk > 0 && niov < ARRAY_LEN(iov); limit = l->full) {
        size_t take = MIN(chunk, limit);
        iov[niov++] = (struct iovec){r->out + at + l->prefix, take};
        at += take + l->overhead;
        chunk -= take;
    }
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = niov};
    return recvmsg(s->backend.fd, &msg, MSG_DONTWAIT);
}

/* Takes note of what a read came to. False when it brought no bytes. */
static bool down_got(struct relay *r, struct session *s, ssize_t n, size_t chunk) {
    if (n < 0 && errno == EINTR)
        return false;
    if (n < 0) {
        s->down.readable = false;
        if (errno != EAGAIN)
            flow_backend_reset(r, s);
        return false;
    }
    if (n == 0) {
        down_eof(r, s);
        return false;
    }
    if ((size_t)n < chunk && !s->backend.ended)
        s->down.readable = false;
    s->active_ms = r->loop.now_ms;
    s->down_ms = (uint32_t)r->loop.now_ms;
    if (s->down.bytes == 0)
        session_metrics_first_byte(r, s);
    s->down.bytes += (uint64_t)n;
    window_moved(s->backend.fd, s->down.bytes - (uint64_t)n, s->down.bytes, &s->down.mark_us);
    session_metrics_bytes(r, s, STATS_BYTES_OUT, (uint64_t)n);
    rate_consume(s, (size_t)n);
    return true;
}

/* At most CHUNK bytes. */
static void down_move(struct relay *r, struct session *s, size_t chunk) {
    ssize_t n = 0;
    if (s->client.tls) {
        struct layout l = layout_of(r, s);
        chunk = MIN(chunk, l.first + (DOWN_RECORDS_MAX - 1) * l.full);
        n = down_read(r, s, chunk, &l);
        if (down_got(r, s, n, chunk))
            down_seal(r, s, (size_t)n, &l);
    } else {
        n = recv(s->backend.fd, r->out, chunk, MSG_DONTWAIT);
        if (down_got(r, s, n, chunk))
            put_records(r, s, span_of(r->out, (size_t)n));
    }
    adapt(&s->down, n > 0 && (size_t)n == chunk);
}

static void down_take(struct relay *r, struct session *s) {
    size_t chunk = chunk_of(r, s, &s->down);
    if (chunk)
        down_move(r, s, chunk);
}

void flow_pass_down(struct relay *r, struct session *s, size_t n) {
    for (uint64_t end = s->down.bytes + n, before = UINT64_MAX; s->down.bytes < end && s->down.bytes != before;) {
        before = s->down.bytes;
        down_move(r, s, (size_t)(end - before));
    }
}

void flow_down(struct relay *r, struct session *s) {
    if (s->down.wait.len && !flow_flush_down(r, s))
        return;
    if (s->client.tls && record_layer_control_owed(&s->record_layer) && s->down.state == FLOW_OPEN)
        put_control(r, s);
    if (s->state == SESSION_OPEN && s->down.state == FLOW_OPEN && s->down.readable && s->down.wait.len == 0)
        down_take(r, s);
}
