#include "observer/tracing.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "access/netlist.h"
#include "base/clock.h"
#include "base/list.h"
#include "observer/fields.h"
#include "observer/format.h"
#include "shm/tracers.h"

struct trace_line {
    struct list link;
    uint64_t wall_us;
    size_t len;
    char text[];
};

/* What this observer has for the tracer of a slot. */
struct tracer {
    uint32_t serial;             /* 0 = there is none */
    struct list lines;           /* oldest first */
    struct trace_line *swept;    /* the last one before this sweep: it keeps its place; NULL = none waits */
    size_t bytes;                /* of all of them */
    uint64_t dropped;            /* since it was last said */
    bool counted;                /* as many sessions have ended as were wanted: it is over after this sweep */
    const char *end;             /* why it is over: the last line that is sent; NULL = it is not */
    struct trace_reader *reader; /* NULL = nobody reads at present */
    uint64_t orphan_ms;          /* since when, where this observer serves */
};

/* A connection. It may outlive its tracer, whose last lines it then sends. */
struct trace_reader {
    struct tracing *of; /* NULL: the observer stops */
    unsigned slot;
    uint32_t serial;
    struct MHD_Connection *connection;
    int fd;
    bool suspended;
    bool ends;        /* has been sent why */
    struct text head; /* a line of ours, being sent */
    char head_room[64];
    size_t sent; /* of the first line */
    uint64_t moved_ms;
};

struct tracing {
    struct admin *admin;
    bool serves;
    struct tracer tracers[TRACERS_MAX];
    struct fields fields;
    char line_room[FORMAT_LINE_MAX];
};

static struct tracers *tracers_page(const struct tracing *t) {
    return t->admin->child->tracers;
}

/* ---- queues ---- */

static struct trace_line *first_line(const struct tracer *x) {
    return list_empty(&x->lines) ? NULL : CONTAINER_OF(x->lines.next, struct trace_line, link);
}

static void drop_first(struct tracer *x) {
    struct trace_line *l = first_line(x);
    x->bytes -= l->len;
    if (x->swept == l)
        x->swept = NULL;
    list_remove(&l->link);
    free(l);
}

static void reset_tracer(struct tracer *x) {
    for (struct list *at = x->lines.next, *next; at != &x->lines; at = next) {
        next = at->next;
        free(CONTAINER_OF(at, struct trace_line, link));
    }
    list_init(&x->lines);
    x->bytes = 0;
    x->swept = NULL;
    x->serial = 0;
    x->reader = NULL;
    x->end = NULL;
    x->counted = false;
    x->dropped = 0;
}

/* Behind those of its time, but before none that another sweep has brought. */
static void enqueue_line(struct tracer *x, struct trace_line *l) {
    struct list *at = x->lines.prev;
    while (at != &x->lines && CONTAINER_OF(at, struct trace_line, link) != x->swept &&
           CONTAINER_OF(at, struct trace_line, link)->wall_us > l->wall_us)
        at = at->prev;
    list_push(at->next, &l->link);
    x->bytes += l->len;
}

static void put_fields(struct tracing *t, struct tracer *x, const struct fields *f, uint64_t wall_us) {
    struct text text = text_of(t->line_room, sizeof(t->line_room));
    bool json = tracers_page(t)->slots[x - t->tracers].json;
    format_line(&text, json ? LOG_AS_JSON : LOG_AS_TEXT, f, true);
    text_add(&text, "\n");
    struct trace_line *l = x->bytes + text.len <= TRACING_QUEUE_MAX ? malloc(sizeof(*l) + text.len) : NULL;
    if (!l) {
        x->dropped++;
        return;
    }
    l->wall_us = wall_us;
    l->len = text.len;
    memcpy(l->text, text.p, text.len);
    enqueue_line(x, l);
}

/* What was lost is said where it is missing, as soon as there is room. */
static void put_dropped(struct tracing *t, struct tracer *x) {
    uint64_t n = x->dropped;
    if (n == 0 || x->bytes > TRACING_QUEUE_MAX / 2)
        return;
    x->dropped = 0;
    fields_of_dropped(n, clock_wall_us(), t->admin->child->setup.index, &t->fields);
    put_fields(t, x, &t->fields, UINT64_MAX);
}

/* ---- tracers ---- */

/* Tracers of others come and go in the page. */
static void look_at_page(struct tracing *t) {
    for (unsigned i = 0; i < TRACERS_MAX; i++) {
        struct tracer *x = &t->tracers[i];
        uint32_t serial = tracers_serial(tracers_page(t), i);
        if (serial == x->serial)
            continue;
        reset_tracer(x);
        x->serial = serial;
        x->orphan_ms = t->admin->loop->now_ms;
    }
}

/* With a reader it is over when that one has all of it. */
static void end_tracer(struct tracing *t, struct tracer *x, const char *why) {
    x->end = why;
    if (x->reader)
        return;
    tracers_drop(tracers_page(t), (unsigned)(x - t->tracers));
    reset_tracer(x);
}

/* Counts the end of a session; false when no more are wanted. */
static bool takes_end(struct tracer_slot *s) {
    uint32_t left = __atomic_load_n(&s->sessions_left, __ATOMIC_RELAXED);
    if (left != TRACERS_FOREVER && left > 0)
        __atomic_store_n(&s->sessions_left, --left, __ATOMIC_RELAXED);
    return left > 0;
}

static bool is_of_client(const struct event *e, const struct tracer_filter *f) {
    return tracer_filter_fits(f, &e->conn_info.client, e->conn_info.id.name);
}

void tracing_event(struct tracing *t, const struct event *e) {
    if (!t || !tracers_any(tracers_page(t)) || e->kind == EVENT_LINE)
        return;
    look_at_page(t);
    bool made = false;
    for (unsigned i = 0; i < TRACERS_MAX; i++) {
        struct tracer *x = &t->tracers[i];
        struct tracer_slot *s = &tracers_page(t)->slots[i];
        bool is_end = e->kind != EVENT_TRACE;
        if (!x->serial || x->end || (x->counted && is_end) || !is_of_client(e, &s->filter))
            continue;
        if (!made)
            fields_of_event(e, t->admin->names, &t->fields);
        made = true;
        put_fields(t, x, &t->fields, e->wall_us);
        x->counted = x->counted || (is_end && !takes_end(s)); /* what led to it may be in rings that come later */
    }
}

/* ---- readers ---- */

static void wake_reader(struct trace_reader *r) {
    if (!r->suspended)
        return;
    r->suspended = false;
    mhd.resume_connection(r->connection);
}

static struct tracer *tracer_of(const struct trace_reader *r) {
    struct tracer *x = r->of ? &r->of->tracers[r->slot] : NULL;
    return x && x->serial == r->serial && x->reader == r ? x : NULL;
}

static size_t give_bytes(struct trace_reader *r, const char *text, size_t len, char *to, size_t max) {
    size_t n = MIN(max, len - r->sent);
    memcpy(to, text + r->sent, n);
    r->sent = r->sent + n == len ? 0 : r->sent + n;
    return n;
}

/* The next bytes: a line of ours that was begun, lines of events, the end. 0: nothing at present; -1: no more. */
static ssize_t next_bytes(struct trace_reader *r, char *to, size_t max) {
    struct tracer *x = tracer_of(r);
    if (r->head.len) {
        size_t n = give_bytes(r, r->head.p, r->head.len, to, max);
        if (r->sent == 0)
            r->head.len = 0;
        return (ssize_t)n;
    }
    struct trace_line *l = x ? first_line(x) : NULL;
    if (l) {
        size_t n = give_bytes(r, l->text, l->len, to, max);
        if (r->sent == 0)
            drop_first(x);
        return (ssize_t)n;
    }
    if (!x || r->ends)
        return -1;
    if (!x->end)
        return 0;
    r->ends = true;
    text_add(&r->head, x->end);
    return next_bytes(r, to, max);
}

static ssize_t on_reader_room(void *ctx, uint64_t pos, char *to, size_t max) {
    struct trace_reader *r = ctx;
    (void)pos;
    ssize_t n = next_bytes(r, to, max);
    if (r->of)
        r->moved_ms = r->of->admin->loop->now_ms;
    if (n < 0)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n == 0) {
        mhd.suspend_connection(r->connection);
        r->suspended = true;
    }
    return n;
}

/* The connection has ended: so does its tracer, but at the observer's own end. */
static void on_reader_end(void *ctx) {
    struct trace_reader *r = ctx;
    struct tracer *x = tracer_of(r);
    if (x) {
        x->reader = NULL;
        end_tracer(r->of, x, "");
    }
    free(r);
}

static struct trace_reader *reader_new(struct tracing *t, const struct http_request *q, unsigned slot) {
    const union MHD_ConnectionInfo *info = mhd.get_connection_info(q->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct trace_reader *r = info ? calloc(1, sizeof(*r)) : NULL;
    struct tracer *x = &t->tracers[slot];
    if (!r)
        return NULL;
    *r = (struct trace_reader){.of = t, .slot = slot, .serial = x->serial, .connection = q->connection, .fd = info->connect_fd};
    r->moved_ms = t->admin->loop->now_ms;
    r->head = text_of(r->head_room, sizeof(r->head_room));
    text_addf(&r->head, "# tracer %u\n", x->serial);
    x->reader = r;
    return r;
}

/* ---- the request ---- */

static bool read_query_number(const struct http_request *q, const char *name, uint64_t max, uint64_t *ret,
                              struct http_reply *r) {
    const char *text = http_query(q, name);
    char line[128];
    struct text t = text_of(line, sizeof(line));
    if (!text || (text_parse_u64(text, max, ret) == 0 && *ret > 0))
        return true;
    text_addf(&t, "%s: expected a number from 1 to %llu", name, (unsigned long long)max);
    http_reply_line(r, 400, line);
    return false;
}

/* An address, a network, or a verified name. */
static bool read_filter(const char *client, struct tracer_filter *ret, struct http_reply *r) {
    char reason[256];
    struct text why = text_of(reason, sizeof(reason));
    size_t len = client ? strlen(client) : 0;
    if (len == 0 || len > TRACERS_NAME_MAX) {
        http_reply_line(r, 400, "client: expected an address, a network or a verified name");
        return false;
    }
    if (netlist_is_network(client)) {
        if (netlist_parse(span_str(client), &ret->net, &why) == 0)
            return true;
        http_reply_line(r, 400, reason);
        return false;
    }
    ret->name_len = (uint16_t)len;
    memcpy(ret->name, client, len);
    return true;
}

static int add_tracer(struct tracing *t, const struct http_request *q, struct http_reply *r) {
    struct tracer_slot wanted = {.sessions_left = TRACERS_FOREVER};
    uint64_t for_ms = TRACING_FOR_MS, sessions = TRACERS_FOREVER;
    const char *format = http_query(q, "format");
    if (!read_filter(http_query(q, "client"), &wanted.filter, r) ||
        !read_query_number(q, "for_ms", TRACING_FOR_MAX_MS, &for_ms, r) ||
        !read_query_number(q, "sessions", TRACING_SESSIONS_MAX, &sessions, r))
        return -1;
    wanted.json = format && strcmp(format, "json") == 0;
    wanted.sessions_left = (uint32_t)sessions;
    wanted.until_ms = clock_mono_ms() + for_ms;
    int slot = tracers_add(tracers_page(t), &wanted);
    if (slot < 0)
        http_reply_line(r, 503, "8 clients are traced already, expected fewer");
    return slot;
}

/* One that was here before a reload. */
static int find_tracer(const struct tracing *t, uint64_t serial, struct http_reply *r) {
    for (unsigned i = 0; i < TRACERS_MAX; i++)
        if (t->tracers[i].serial == serial && !t->tracers[i].reader && !t->tracers[i].end)
            return (int)i;
    http_reply_line(r, 404, "no tracer of this number waits here");
    return -1;
}

static bool add_trace_headers(struct MHD_Response *response) {
    http_add_headers(response);
    return mhd.add_response_header(response, "Content-Type", "text/plain; charset=utf-8") == MHD_YES &&
           mhd.add_response_header(response, "Cache-Control", "no-store") == MHD_YES;
}

static void send_stream(struct tracing *t, unsigned slot, const struct http_request *q, struct http_reply *r) {
    struct trace_reader *reader = reader_new(t, q, slot);
    struct MHD_Response *response =
        reader ? mhd.create_response_from_callback(MHD_SIZE_UNKNOWN, HTTP_REQUEST_MAX, on_reader_room, reader, on_reader_end)
               : NULL;
    if (reader && !response)
        on_reader_end(reader);
    if (response && add_trace_headers(response))
        r->queued = mhd.queue_response(q->connection, 200, response) == MHD_YES;
    if (r->queued)
        http_stream_begin(q);
    if (response)
        mhd.destroy_response(response); /* our reference; with the last one the reader ends */
    if (!r->queued)
        http_reply_line(r, 500, "out of memory");
}

void trace_answer(struct admin *a, const struct http_request *q, struct http_reply *r) {
    struct tracing *t = a->tracing;
    uint64_t serial = 0;
    if (!q->local) {
        http_reply_line(r, 403, "clients are traced on the admin socket only");
        return;
    }
    if (!tracers_page(t)) {
        http_reply_line(
            r, 503,
            "clients cannot be traced: the counters are of the version before (stop and start), or there was no memory");
        return;
    }
    if (!read_query_number(q, "tracer", UINT32_MAX, &serial, r))
        return;
    look_at_page(t);
    int slot = serial ? find_tracer(t, serial, r) : add_tracer(t, q, r);
    if (slot < 0)
        return;
    look_at_page(t);
    send_stream(t, (unsigned)slot, q, r);
}

/* ---- by the clock ---- */

void tracing_flush(struct tracing *t) {
    bool woken = false;
    for (unsigned i = 0; t && i < TRACERS_MAX; i++) {
        struct tracer *x = &t->tracers[i];
        if (!x->serial)
            continue;
        put_dropped(t, x);
        if (x->counted && !x->end && x->reader)
            end_tracer(t, x, "# end: as many sessions as were wanted\n");
        x->swept = list_empty(&x->lines) ? NULL : CONTAINER_OF(x->lines.prev, struct trace_line, link);
        if (x->reader && (first_line(x) || x->end)) {
            wake_reader(x->reader);
            woken = true;
        }
    }
    if (woken)
        http_kick(t->admin->http);
}

/* What still waits in the kernel goes with a reset; where this fails the library ends it. */
static void cut_reader(const struct trace_reader *r) {
    (void)setsockopt(r->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    (void)shutdown(r->fd, SHUT_RDWR);
}

/* A comment a second, so that a reader that has gone is noticed, and one that takes nothing. */
static void tend_reader(struct trace_reader *r, uint64_t now_ms) {
    if (!r->suspended) {
        if (now_ms > r->moved_ms + TRACING_STUCK_MS)
            cut_reader(r);
        return;
    }
    text_add(&r->head, "#\n");
    wake_reader(r);
}

void tracing_second(struct tracing *t) {
    uint64_t now_ms = t->admin->loop->now_ms;
    if (!tracers_page(t))
        return;
    look_at_page(t);
    for (unsigned i = 0; i < TRACERS_MAX; i++) {
        struct tracer *x = &t->tracers[i];
        if (!x->serial)
            continue;
        if (x->reader)
            tend_reader(x->reader, now_ms);
        if (!x->end && x->reader && clock_mono_ms() >= tracers_page(t)->slots[i].until_ms)
            end_tracer(t, x, "# end: the time is over\n");
        else if (!x->reader && t->serves && now_ms > x->orphan_ms + TRACING_ORPHAN_MS)
            end_tracer(t, x, "");
    }
    tracing_flush(t);
    http_kick(t->admin->http);
}

unsigned tracing_count(const struct tracing *t) {
    unsigned n = 0;
    for (unsigned i = 0; t && tracers_page(t) && i < TRACERS_MAX; i++)
        n += tracers_serial(tracers_page(t), i) != 0;
    return n;
}

/* The library asks for more, and is suspended, when it has sent what it had. */
bool tracing_waits(const struct tracing *t) {
    for (unsigned i = 0; i < TRACERS_MAX; i++)
        if (t->tracers[i].reader && (first_line(&t->tracers[i]) || !t->tracers[i].reader->suspended))
            return true;
    return false;
}

void tracing_serve(struct tracing *t) {
    t->serves = true;
    for (unsigned i = 0; i < TRACERS_MAX; i++)
        t->tracers[i].orphan_ms = t->admin->loop->now_ms;
}

struct tracing *tracing_new(struct admin *a) {
    struct tracing *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->admin = a;
    for (unsigned i = 0; i < TRACERS_MAX; i++)
        list_init(&t->tracers[i].lines);
    return t;
}

void tracing_free(struct tracing *t) {
    if (!t)
        return;
    for (unsigned i = 0; i < TRACERS_MAX; i++) {
        struct trace_reader *r = t->tracers[i].reader;
        t->tracers[i].reader = NULL; /* the page keeps the tracer */
        reset_tracer(&t->tracers[i]);
        if (r) {
            r->of = NULL;
            wake_reader(r);
        }
    }
    free(t);
}
