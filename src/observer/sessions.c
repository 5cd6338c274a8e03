#include "observer/sessions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "observer/admin.h"
#include "observer/json.h"
#include "wire/listing.h"

#define SESSIONS_LIMIT_DEFAULT 1000
#define LIMIT_MAX              10000
#define SESSIONS_ANSWER_MS     500 /* for one page of one relay */

/* One request that waits for relays. */
struct listing_query {
    struct sessions *sessions;
    struct MHD_Connection *connection;
    struct wtimer timer;
    struct http_reply reply;
    struct listing_ask ask;
    char service[256], name[CONN_INFO_NAME_MAX + 1];
    struct control_peer at; /* the relay being asked */
    size_t rows, limit;
    json_t *missing;
};

/* ---- links ---- */

static int order(const struct control_peer *a, const struct control_peer *b) {
    if (a->generation != b->generation)
        return a->generation < b->generation ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

/* The place of that relay, or a free one; SESSIONS_LINKS when there is none. */
static size_t relay_place(const struct sessions *s, const struct control_peer *who) {
    size_t free_place = SESSIONS_LINKS;
    for (size_t i = 0; i < SESSIONS_LINKS; i++) {
        if (s->links[i].fd >= 0 && order(&s->peers[i], who) == 0)
            return i;
        if (s->links[i].fd < 0)
            free_place = i;
    }
    return free_place;
}

int sessions_take_link(struct sessions *s, const struct control_peer *who, int fd) {
    size_t i = relay_place(s, who);
    if (i == SESSIONS_LINKS) { /* more relays than there may be: one that is reported as missing */
        close(fd);
        return 0;
    }
    s->peers[i] = *who;
    return channel_open(&s->links[i], fd);
}

/* ---- answers ---- */

static bool put_reply_text(struct listing_query *q, const char *text) {
    return buf_append(&q->reply.body, text, strlen(text)) == 0;
}

static void put_conn_info(struct admin *a, json_t *o, const struct conn_info *f) {
    char text[ADDR_TEXT_MAX], id[2 * CONN_INFO_UNIQUE_ID_LEN + 1];
    struct text t = text_of(id, sizeof(id));
    uint64_t wall_us = clock_wall_us();
    const char *suite = f->suite ? a->names->suite(f->suite) : NULL, *group = f->group ? a->names->group(f->group) : NULL;
    text_add_hex(&t, span_of(f->unique_id, sizeof(f->unique_id)));
    json_put_text(o, "id", id);
    json_put_text(o, "client", addr_text(&f->client, text));
    if (f->peer.family != AF_UNSPEC)
        json_put_text(o, "peer", addr_text(&f->peer, text));
    json_put_text(o, "local", addr_text(&f->local, text));
    json_put_text(o, "version", f->tls_version == 0x0304 ? "TLSv1.3" : f->tls_version == 0x0303 ? "TLSv1.2" : "passthrough");
    json_put_text(o, "suite", suite);
    json_put_text(o, "group", group);
    json_put_bool(o, "resumed", f->resumed);
    json_put_text(o, "handshake", f->made_by != MADE_BY_UNKNOWN ? handshake_maker_text(f->made_by) : NULL);
    (void)json_object_set_new_nocheck(o, "sni", json_text(f->sni));
    (void)json_object_set_new_nocheck(o, "alpn", json_text(f->alpn));
    (void)json_object_set_new_nocheck(o, "ja4", json_text(f->ja4));
    (void)json_object_set_new_nocheck(o, "client_name", f->id.name.len ? json_text(f->id.name) : json_null());
    json_put_real(o, "started", (double)f->start_wall_us / 1e6);
    json_put_real(o, "age_seconds", wall_us > f->start_wall_us ? (double)(wall_us - f->start_wall_us) / 1e6 : 0);
    json_put_real(o, "handshake_ms", (double)f->handshake_us / 1000);
}

static json_t *session_object(struct listing_query *q, const struct listing_row *row, const struct conn_info *f) {
    static const char *const states[LISTING_STATES] = {"connecting", "open", "closing", "migrating"};
    json_t *o = json_object();
    char relay[32];
    (void)snprintf(relay, sizeof(relay), "relay.%u", q->at.index);
    put_conn_info(q->sessions->admin, o, f);
    (void)json_object_set_new_nocheck(o, "service", json_text(row->service));
    (void)json_object_set_new_nocheck(o, "backend", row->backend.len ? json_text(row->backend) : json_null());
    json_put_text(o, "state", states[row->state]);
    json_put_real(o, "idle_seconds", (double)row->idle_ms / 1000);
    json_put_real(o, "connect_ms", (double)row->connect_us / 1000);
    json_put_u64(o, "bytes_in", row->bytes_in);
    json_put_u64(o, "bytes_out", row->bytes_out);
    json_put_u64(o, "waiting_in", row->waiting_in);
    json_put_u64(o, "waiting_out", row->waiting_out);
    json_put_u64(o, "retries", row->retries);
    json_put_text(o, "relay", relay);
    json_put_u64(o, "generation", q->at.generation);
    return o;
}

static bool put_session(struct listing_query *q, const struct listing_row *row, const struct conn_info *f) {
    json_t *o = session_object(q, row, f);
    bool ok = put_reply_text(q, q->rows ? ",\n" : "") && json_write(&q->reply.body, o, JSON_DIGITS);
    json_decref(o);
    q->rows++;
    return ok;
}

static void free_query(struct listing_query *q) {
    struct sessions *s = q->sessions;
    wheel_cancel(&s->admin->loop->wheel, &q->timer);
    for (size_t i = 0; i < SESSIONS_QUERIES; i++)
        if (s->queries[i] == q)
            s->queries[i] = NULL;
    json_decref(q->missing);
    buf_fini(&q->reply.body);
    free(q);
}

/* The answer goes out; NEXT is where another page would begin, empty when that was all. */
static void finish_listing(struct listing_query *q, const char *next) {
    struct admin *a = q->sessions->admin;
    json_t *tail = json_object();
    char *text;
    (void)json_object_set_new_nocheck(tail, "next", next[0] ? json_string(next) : json_null());
    (void)json_object_set_nocheck(tail, "missing", q->missing);
    text = json_dumps(tail, JSON_COMPACT);
    json_decref(tail);
    if (!text || !put_reply_text(q, "],") || !put_reply_text(q, text + 1) || !put_reply_text(q, "\n"))
        http_reply_line(&q->reply, 500, "more sessions than there is room for");
    free(text);
    mhd.resume_connection(q->connection);
    http_send(a->http, q->connection, &q->reply);
    http_kick(a->http);
    free_query(q);
}

static void finish_here(struct listing_query *q, uint32_t slot) {
    char next[64];
    (void)snprintf(next, sizeof(next), "%u.%u.%u", q->at.generation, q->at.index, slot);
    finish_listing(q, next);
}

/* ---- asking ---- */

/* The first relay at or behind AT (which may have gone meanwhile); SESSIONS_LINKS when that were all. */
static size_t next_link(const struct sessions *s, const struct control_peer *at) {
    size_t best = SESSIONS_LINKS;
    for (size_t i = 0; i < SESSIONS_LINKS; i++)
        if (s->links[i].fd >= 0 && order(&s->peers[i], at) >= 0 &&
            (best == SESSIONS_LINKS || order(&s->peers[i], &s->peers[best]) < 0))
            best = i;
    return best;
}

static void add_missing(struct listing_query *q) {
    char name[32];
    (void)snprintf(name, sizeof(name), "relay.%u", q->at.index);
    json_append_text(q->missing, name);
}

/* Behind the relay being asked. */
static void step_over(struct listing_query *q) {
    q->ask.from = 0;
    q->at.index++;
    if (q->at.index == 0)
        q->at.generation++;
}

/* Asks for the next page, or finishes. */
static void ask_next_page(struct listing_query *q) {
    struct sessions *s = q->sessions;
    for (;;) {
        size_t i = next_link(s, &q->at);
        if (i == SESSIONS_LINKS) {
            finish_listing(q, "");
            return;
        }
        if (order(&s->peers[i], &q->at) != 0)
            q->ask.from = 0;
        q->at = s->peers[i];
        q->ask.id = s->last_id++;
        q->ask.max = (uint16_t)MIN(q->limit - q->rows, (size_t)LISTING_ROWS_MAX);
        if (listing_ask_send(s->links[i].fd, &q->ask) == 0) {
            wheel_arm(&s->admin->loop->wheel, &q->timer, s->admin->loop->now_ms + SESSIONS_ANSWER_MS);
            return;
        }
        add_missing(q);
        step_over(q);
    }
}

static void take_page(struct listing_query *q, struct listing_reader *page) {
    struct listing_row row;
    struct conn_info conn_info;
    uint32_t next = page->next;
    while (page->rows > 0) {
        if (listing_read_row(page, &row, &conn_info) < 0 || !put_session(q, &row, &conn_info)) {
            add_missing(q);
            next = LISTING_END;
            break;
        }
    }
    q->ask.from = next;
    if (q->rows >= q->limit && next != LISTING_END) {
        finish_here(q, next);
        return;
    }
    if (next == LISTING_END)
        step_over(q);
    if (q->rows >= q->limit) {
        size_t i = next_link(q->sessions, &q->at);
        if (i == SESSIONS_LINKS)
            finish_listing(q, "");
        else
            finish_here(q, 0);
        return;
    }
    ask_next_page(q);
}

/* The sessions of a link that ends are reported as missing by the query's timer. */
static bool on_page(void *ctx, struct channel *c, struct ipc_msg *m) {
    struct sessions *s = ctx;
    struct listing_reader page;
    if (listing_read(m, &page) < 0)
        return false;
    for (size_t i = 0; i < SESSIONS_QUERIES; i++) {
        struct listing_query *q = s->queries[i];
        if (!q || q->ask.id != page.id || order(&q->at, &s->peers[c - s->links]) != 0)
            continue;
        wheel_cancel(&s->admin->loop->wheel, &q->timer);
        take_page(q, &page);
        break;
    }
    return true;
}

static void on_late_answer(void *ctx, struct wtimer *t) {
    struct listing_query *q = CONTAINER_OF(t, struct listing_query, timer);
    (void)ctx;
    add_missing(q);
    step_over(q);
    ask_next_page(q);
}

void sessions_fini(struct sessions *s) {
    for (size_t i = 0; i < SESSIONS_QUERIES; i++)
        if (s->queries[i])
            finish_listing(s->queries[i], "");
    for (size_t i = 0; i < SESSIONS_LINKS; i++)
        channel_close(&s->links[i]);
}

/* ---- the request ---- */

/* "192.0.2.1", "2001:db8::/64", "uid:1000", or a verified name. */
static bool read_client(struct listing_query *q, const char *text) {
    struct text name = text_of(q->name, sizeof(q->name));
    if (addr_client_parse(text, q->ask.client) == 0) {
        q->ask.by_client = true;
        return true;
    }
    text_add(&name, text);
    q->ask.name = span_of(q->name, name.len);
    return !name.cut && name.len > 0;
}

static bool read_place(struct listing_query *q, const char *text) {
    uint32_t generation, slot;
    uint16_t index;
    int end = 0;
    if (sscanf(text, "%10u.%5hu.%10u%n", &generation, &index, &slot, &end) != 3 || text[end])
        return false;
    q->at = (struct control_peer){ROLE_RELAY, index, generation};
    q->ask.from = slot;
    return true;
}

static bool read_query(struct listing_query *q, const struct http_request *request) {
    const char *limit = http_query(request, "limit"), *service = http_query(request, "service");
    const char *client = http_query(request, "client"), *after = http_query(request, "after");
    uint64_t n = SESSIONS_LIMIT_DEFAULT;
    struct text t = text_of(q->service, sizeof(q->service));
    if (limit && (text_parse_u64(limit, LIMIT_MAX, &n) < 0 || n == 0))
        return false;
    q->limit = (size_t)n;
    if (service)
        text_add(&t, service);
    q->ask.service = span_of(q->service, t.len);
    return !t.cut && (!client || read_client(q, client)) && (!after || read_place(q, after));
}

static struct listing_query **free_query_place(struct sessions *s) {
    for (size_t i = 0; i < SESSIONS_QUERIES; i++)
        if (!s->queries[i])
            return &s->queries[i];
    return NULL;
}

void sessions_answer(struct admin *a, const struct http_request *request, struct http_reply *r) {
    struct listing_query **place = free_query_place(&a->sessions), *q = place ? calloc(1, sizeof(*q)) : NULL;
    if (!q) {
        http_reply_line(r, 503, "too many ask for sessions at the same time");
        return;
    }
    q->sessions = &a->sessions;
    q->timer.kind = (uint8_t)a->sessions.timer_kind;
    q->connection = request->connection;
    q->missing = json_array();
    q->reply = (struct http_reply){.status = 200, .type = "application/json"};
    buf_init(&q->reply.body, HTTP_BODY_MAX);
    if (!read_query(q, request) || !put_reply_text(q, "{\"sessions\":[")) {
        free_query(q);
        http_reply_line(r, 400,
                        "expected limit=1 to 10000; service=NAME; client=ADDRESS or NAME; after=NEXT of the page before");
        return;
    }
    *place = q;
    r->queued = true;
    mhd.suspend_connection(request->connection);
    ask_next_page(q);
}

void sessions_start(struct admin *a, unsigned kind, unsigned timer_kind) {
    static const struct channel_ops ops = {.rules = listing_to_observer, .message = on_page};
    struct sessions *s = &a->sessions;
    *s = (struct sessions){.admin = a, .timer_kind = timer_kind, .last_id = 1};
    channel_init(s->links, SESSIONS_LINKS, a->loop, kind, &ops, s);
    loop_on_timer(a->loop, timer_kind, on_late_answer, s);
}
