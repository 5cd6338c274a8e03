#include "observer/live.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/list.h"
#include "observer/clients.h"
#include "observer/json.h"
#include "observer/status.h"

/* An event as it is sent, shared by all streams that send it. */
struct message {
    unsigned refs;
    struct buf text;
};

struct stream {
    struct list link;
    struct live *live; /* NULL: the observer stops */
    struct MHD_Connection *connection;
    int fd;
    bool suspended;
    struct message *now, *next; /* being sent; the newest one, or NULL */
    size_t sent;                /* bytes of NOW */
    uint64_t moved_ms;          /* when the reader last took something, or had taken all */
};

struct live {
    struct admin *admin;
    struct list streams;
    unsigned nstreams;
    struct message *latest, *history; /* of this second; NULL = no reader has asked yet */
};

/* ---- messages ---- */

static struct message *message_ref(struct message *m) {
    if (m)
        m->refs++;
    return m;
}

static void message_unref(struct message **place) {
    struct message *m = *place;
    *place = NULL;
    if (!m || --m->refs > 0)
        return;
    buf_fini(&m->text);
    free(m);
}

/* NULL when out of memory, and for a tree that is too large. */
static struct message *message_of(const char *event, const json_t *tree) {
    char head[96];
    struct message *m = calloc(1, sizeof(*m));
    if (!m)
        return NULL;
    m->refs = 1;
    buf_init(&m->text, LIVE_TEXT_MAX);
    int n = snprintf(head, sizeof(head), "id: %llu\nevent: %s\ndata: ", (unsigned long long)clock_wall_us() / 1000, event);
    /* Compact JSON has no line breaks, so it is one line of data. 13 digits hold a time in milliseconds. */
    if (n < 0 || buf_append(&m->text, head, (size_t)n) < 0 || !json_write(&m->text, tree, 13) ||
        buf_append(&m->text, "\n\n", 2) < 0)
        message_unref(&m);
    return m;
}

/* ---- what is sent ---- */

static struct message *make_snapshot(struct live *l) {
    json_t *top = json_object(), *status = status_json(l->admin, STATUS_LIVE);
    const struct client_query busiest = {.limit = LIVE_CLIENTS, .sort = CLIENTS_BY_RATE};
    (void)json_object_set_new(top, "clients", clients_json(l->admin, &busiest)); /* when out of memory they are missing */
    json_put_u64(top, "clients_tracked", l->admin->stats_view.clients.n);
    (void)json_object_set_new(top, "status", status);
    struct message *m = message_of("snapshot", top);
    if (!m) {
        (void)json_object_del(status, "services");
        m = message_of("snapshot", top);
    }
    json_decref(top);
    return m;
}

static void put_edges(json_t *top) {
    json_t *edges = json_put_array(top, "edges");
    for (unsigned i = 0; i + 1 < STATS_BUCKETS; i++)
        (void)json_array_append_new(edges, json_real((double)stats_bucket_bound(i) / 1e6));
}

static void add_u64(json_t *list, uint64_t v) {
    (void)json_array_append_new(list, json_integer((json_int_t)v));
}

static struct message *make_history(const struct live *l) {
    const struct stats_view *f = &l->admin->stats_view;
    json_t *top = json_object(), *time = json_put_array(top, "time");
    json_t *in = json_put_array(top, "bytes_in"), *out = json_put_array(top, "bytes_out");
    json_t *full = json_put_array(top, "full"), *resumed = json_put_array(top, "resumed");
    json_t *failed = json_put_array(top, "failed"), *sessions = json_put_array(top, "sessions");
    put_edges(top);
    for (uint64_t i = stats_view_past(f, HISTORY_SECONDS); i < f->seconds; i++) {
        const struct stats_second *s = stats_view_at(f, i);
        (void)json_array_append_new(time, json_real((double)s->wall_ms / 1000)); /* when out of memory it is missing */
        add_u64(in, s->totals[RATE_IN]);
        add_u64(out, s->totals[RATE_OUT]);
        add_u64(full, s->totals[RATE_HANDSHAKES] - s->resumed);
        add_u64(resumed, s->resumed);
        add_u64(failed, s->totals[RATE_FAILED]);
        add_u64(sessions, s->sessions_now);
    }
    struct message *m = message_of("history", top);
    json_decref(top);
    return m;
}

/* ---- streams ---- */

/* A content reader: the library has room for MAX bytes. Without data the connection is suspended until the next second. */
static ssize_t on_stream_room(void *ctx, uint64_t pos, char *to, size_t max) {
    struct stream *s = ctx;
    (void)pos;
    if (!s->live)
        return MHD_CONTENT_READER_END_OF_STREAM;
    s->moved_ms = s->live->admin->loop->now_ms;
    if (!s->now) {
        s->now = s->next;
        s->next = NULL;
        s->sent = 0;
    }
    if (!s->now) {
        mhd.suspend_connection(s->connection);
        s->suspended = true;
        return 0;
    }
    struct span text = buf_span(&s->now->text);
    size_t n = MIN(max, text.len - s->sent);
    memcpy(to, text.p + s->sent, n);
    s->sent += n;
    if (s->sent == text.len)
        message_unref(&s->now);
    return (ssize_t)n;
}

/* The connection has ended. */
static void on_stream_end(void *ctx) {
    struct stream *s = ctx;
    list_remove(&s->link);
    if (s->live)
        s->live->nstreams--;
    message_unref(&s->now);
    message_unref(&s->next);
    free(s);
}

static void wake_stream(struct stream *s) {
    if (!s->suspended)
        return;
    s->suspended = false;
    mhd.resume_connection(s->connection);
}

static struct stream *stream_new(struct live *l, const struct http_request *q) {
    const union MHD_ConnectionInfo *info = mhd.get_connection_info(q->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct stream *s = info ? calloc(1, sizeof(*s)) : NULL;
    if (!s)
        return NULL;
    if (!l->history)
        l->history = make_history(l);
    if (!l->latest)
        l->latest = make_snapshot(l);
    *s = (struct stream){.live = l, .connection = q->connection, .fd = info->connect_fd, .moved_ms = l->admin->loop->now_ms};
    /* Where it fails the kernel's own bound holds. */
    (void)setsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &(int){LIVE_SNDBUF}, sizeof(int));
    s->now = message_ref(l->history);
    s->next = message_ref(l->latest);
    list_init(&s->link);
    list_push(&l->streams, &s->link);
    l->nstreams++;
    return s;
}

static bool add_stream_headers(struct MHD_Response *response) {
    http_add_headers(response);
    return mhd.add_response_header(response, "Content-Type", "text/event-stream") == MHD_YES &&
           mhd.add_response_header(response, "Cache-Control", "no-store") == MHD_YES &&
           mhd.add_response_header(response, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'") ==
               MHD_YES;
}

void live_answer(struct admin *a, const struct http_request *q, struct http_reply *r) {
    struct live *l = a->live;
    if (l->nstreams >= LIVE_STREAMS) {
        http_reply_line(r, 503, "too many pages are open");
        return;
    }
    struct stream *s = stream_new(l, q);
    struct MHD_Response *response =
        s ? mhd.create_response_from_callback(MHD_SIZE_UNKNOWN, HTTP_REQUEST_MAX, on_stream_room, s, on_stream_end) : NULL;
    if (s && !response)
        on_stream_end(s);
    if (response && add_stream_headers(response))
        r->queued = mhd.queue_response(q->connection, 200, response) == MHD_YES;
    if (r->queued)
        http_stream_begin(q);
    if (response)
        mhd.destroy_response(response); /* our reference; with the last one the stream ends */
    if (!r->queued)
        http_reply_line(r, 500, "out of memory");
}

/* ---- by the clock ---- */

/* The library notices, and closes; what still waits in the kernel goes with a reset. Failures show as a stream that stays. */
static void cut_stream(const struct stream *s) {
    (void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    (void)shutdown(s->fd, SHUT_RDWR);
}

void live_second(struct live *l) {
    uint64_t now_ms = l->admin->loop->now_ms;
    message_unref(&l->latest);
    message_unref(&l->history);
    if (list_empty(&l->streams))
        return;
    l->latest = make_snapshot(l);
    for (struct list *n = l->streams.next; n != &l->streams; n = n->next) {
        struct stream *s = CONTAINER_OF(n, struct stream, link);
        if (!s->suspended && now_ms > s->moved_ms + LIVE_STUCK_MS)
            cut_stream(s);
        message_unref(&s->next);
        s->next = message_ref(l->latest);
        wake_stream(s);
    }
    http_kick(l->admin->http);
}

struct live *live_new(struct admin *a) {
    struct live *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->admin = a;
    list_init(&l->streams);
    return l;
}

void live_free(struct live *l) {
    if (!l)
        return;
    struct list *n;
    while ((n = list_shift(&l->streams))) {
        struct stream *s = CONTAINER_OF(n, struct stream, link);
        s->live = NULL;
        wake_stream(s);
    }
    message_unref(&l->latest);
    message_unref(&l->history);
    free(l);
}
