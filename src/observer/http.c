#include "observer/http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"

#define ROOM 32 /* connections the library may hold beyond ours: those that are being ended */

enum http_conn_state {
    CONN_IDLE,   /* sends its request in, or says nothing */
    CONN_ANSWER, /* being answered: it has HTTP_ANSWER_MS to take it */
    CONN_STREAM,
};

/* One connection, from its acceptance on; the library's own object is not ours to look into. */
struct http_conn {
    struct list link; /* in its socket's list, in the order of SINCE_MS */
    struct http_socket *socket;
    int fd;
    enum http_conn_state state;
    bool ended; /* closed by us: the library will notice */
    uint64_t since_ms;
    size_t pending; /* bytes of its answer */
    size_t uploaded;
};

struct http_socket {
    struct http *http;
    struct MHD_Daemon *daemon;
    bool local;
    struct list conns;
    uint32_t nconns;
    struct wtimer timer;
};

struct http {
    struct http_setup setup;
    struct http_socket sockets[HTTP_SOCKETS];
    size_t pending;
    struct http_counts counts;
};

/* ---- connections ---- */

/* The library sees the end of the connection and frees it. */
static void end_http_conn(struct http_conn *c) {
    if (c->ended)
        return;
    c->ended = true;
    (void)shutdown(c->fd, SHUT_RDWR); /* one that is gone already is no fault */
}

static void goto_state(struct http_conn *c, enum http_conn_state state) {
    c->state = state;
    c->since_ms = c->socket->http->setup.loop->now_ms;
    list_remove(&c->link);
    list_push(&c->socket->conns, &c->link);
}

/* The oldest idle connection makes room: a scraper is served however many connections were left open. */
static void make_room(struct http_socket *s) {
    struct http_conn *oldest = NULL;
    uint32_t open = 0;
    for (struct list *n = s->conns.next; n != &s->conns; n = n->next) {
        struct http_conn *c = CONTAINER_OF(n, struct http_conn, link);
        open += !c->ended;
        if (!oldest && !c->ended && c->state == CONN_IDLE)
            oldest = c;
    }
    if (open <= HTTP_CONNECTIONS || !oldest)
        return;
    s->http->counts.evicted++;
    end_http_conn(oldest);
}

/* Who is at the other end of a Unix socket, as the kernel knows it. */
static bool is_barred(const struct http_socket *s, int fd) {
    struct ucred peer;
    socklen_t len = sizeof(peer);
    const struct http_setup *setup = &s->http->setup;
    return s->local && setup->is_barred && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           setup->is_barred(setup->before_ctx, (int32_t)peer.pid);
}

static struct http_conn *begin_conn(struct http_socket *s, struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = mhd.get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct http_conn *c = calloc(1, sizeof(*c));
    if (!c || !info) {
        free(c);
        return NULL;
    }
    c->socket = s;
    c->fd = info->connect_fd;
    list_init(&c->link);
    goto_state(c, CONN_IDLE);
    s->nconns++;
    s->http->counts.accepted++;
    if (is_barred(s, c->fd)) {
        s->http->counts.refused++;
        end_http_conn(c);
    }
    make_room(s);
    return c;
}

static void on_connection(void *ctx, struct MHD_Connection *connection, void **place,
                          enum MHD_ConnectionNotificationCode what) {
    struct http_conn *c = *place;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *place = begin_conn(ctx, connection);
        return;
    }
    *place = NULL;
    if (!c)
        return;
    list_remove(&c->link);
    c->socket->nconns--;
    c->socket->http->pending -= c->pending;
    free(c);
}

static struct http_conn *conn_of(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = mhd.get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **place, enum MHD_RequestTerminationCode how) {
    (void)ctx;
    (void)how;
    struct http_conn *c = conn_of(connection);
    *place = NULL;
    if (!c)
        return;
    c->socket->http->pending -= c->pending;
    c->pending = c->uploaded = 0;
    goto_state(c, CONN_IDLE);
}

/* With no room left for others, a client that takes no bytes for longer than a normal reader needs is late much sooner. */
static bool is_late(const struct http_conn *c, uint64_t now_ms) {
    bool crowded = c->socket->nconns >= HTTP_CONNECTIONS;
    uint64_t limit_ms = crowded ? HTTP_CROWDED_MS : c->state == CONN_IDLE ? HTTP_IDLE_MS : HTTP_ANSWER_MS;
    return c->state != CONN_STREAM && now_ms > c->since_ms + limit_ms;
}

void http_second(struct http *h) {
    for (size_t i = 0; i < HTTP_SOCKETS; i++)
        for (struct list *n = h->sockets[i].conns.next; n != &h->sockets[i].conns; n = n->next) {
            struct http_conn *c = CONTAINER_OF(n, struct http_conn, link);
            if (c->ended || !is_late(c, h->setup.loop->now_ms))
                continue;
            h->counts.timed_out += c->state == CONN_ANSWER;
            end_http_conn(c);
        }
}

/* ---- requests ---- */

const char *http_query(const struct http_request *q, const char *name) {
    return mhd.lookup_connection_value(q->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *http_header(const struct http_request *q, const char *name) {
    return mhd.lookup_connection_value(q->connection, MHD_HEADER_KIND, name);
}

/* An address with an optional port, or localhost: no name that another party's DNS could point to us (DNS rebinding). */
static bool is_own_host(const char *host) {
    char name[64];
    struct text t = text_of(name, sizeof(name));
    struct addr a;
    size_t len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    if (len > strlen(host) || (host[len] != 0 && host[len] != ':'))
        return false;
    for (const char *p = host + len; *p; p++)
        if (p > host + len && (*p < '0' || *p > '9'))
            return false;
    text_add_span(&t, host[0] == '[' ? span_of(host + 1, len - 2) : span_of(host, len));
    return !t.cut && (strcasecmp(name, "localhost") == 0 || addr_parse_ip(name, &a) == 0);
}

static enum http_method method_of(const char *name) {
    return strcmp(name, "GET") == 0    ? HTTP_GET
           : strcmp(name, "HEAD") == 0 ? HTTP_HEAD
           : strcmp(name, "POST") == 0 ? HTTP_POST
                                       : 0;
}

void http_reply_line(struct http_reply *r, unsigned status, const char *line) {
    r->status = status;
    r->type = "text/plain; charset=utf-8";
    buf_fini(&r->body);
    if (buf_append(&r->body, line, strlen(line)) < 0 || buf_append(&r->body, "\n", 1) < 0)
        buf_fini(&r->body); /* the status says it all the same */
}

static enum MHD_Result count_length(void *ctx, enum MHD_ValueKind kind, const char *name, const char *value) {
    (void)kind;
    (void)value;
    *(unsigned *)ctx += strcasecmp(name, "Content-Length") == 0;
    return MHD_YES;
}

/* Which of two lengths is meant is how requests are smuggled (RFC 9112 6.3); the library takes one of them. */
static bool two_lengths(const struct http_request *q) {
    unsigned lengths = 0;
    (void)mhd.get_connection_values(q->connection, MHD_HEADER_KIND, count_length, &lengths); /* how many there were */
    return lengths > 1;
}

/* What no resource is asked about. */
static bool refuse_request(const struct http_request *q, const char *version, struct http_reply *r) {
    const char *host = http_header(q, "Host");
    if (!q->method || (q->method == HTTP_POST && !q->local)) {
        http_reply_line(r, q->method ? 403 : 405,
                        q->method ? "commands are taken on the admin socket only" : "only GET, HEAD and POST are known here");
        r->allow = q->method ? NULL : "GET, HEAD, POST";
    } else if (!q->local && (host ? !is_own_host(host) : strcmp(version, "HTTP/1.0") != 0)) {
        http_reply_line(r, 421, "this address answers for an IP address or localhost only");
    } else if (two_lengths(q)) {
        http_reply_line(r, 400, "more than one Content-Length");
    } else {
        return false;
    }
    return true;
}

static const char arrived; /* marks a request whose headers have been looked at */

static enum MHD_Result on_http_request(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
                                       const char *version, const char *upload, size_t *upload_size, void **place) {
    struct http_socket *s = ctx;
    struct http *h = s->http;
    struct http_conn *c = conn_of(connection);
    struct http_reply r = {.status = 200};
    if (!c || c->ended)
        return MHD_NO;
    struct http_request q = {connection, c, url, method_of(method), s->local};
    buf_init(&r.body, HTTP_BODY_MAX);
    (void)upload;
    if (*upload_size > 0) {
        c->uploaded += *upload_size;
        *upload_size = 0;
        return c->uploaded <= HTTP_UPLOAD_MAX ? MHD_YES : MHD_NO;
    }
    bool first = *place == NULL;
    *place = (void *)(uintptr_t)&arrived;
    if (first && !refuse_request(&q, version, &r))
        return MHD_YES;
    h->counts.requests++;
    goto_state(c, CONN_ANSWER);
    if (first) {
        h->counts.refused++;
    } else {
        h->setup.before_answer(h->setup.before_ctx);
        h->setup.answer(h->setup.ctx, &q, &r);
    }
    if (r.queued)
        buf_fini(&r.body);
    else
        http_send(h, connection, &r);
    return MHD_YES;
}

/* ---- answers ---- */

static void add_header(struct MHD_Response *response, const char *name, const char *value) {
    (void)mhd.add_response_header(response, name, value); /* fails when out of memory only: an answer without it */
}

void http_add_headers(struct MHD_Response *response) {
    add_header(response, "X-Content-Type-Options", "nosniff");
    add_header(response, "X-Frame-Options", "DENY");
    add_header(response, "Referrer-Policy", "no-referrer");
    add_header(response, "Cross-Origin-Resource-Policy", "same-origin");
}

/* The body's memory becomes the library's. NULL when out of memory. */
static struct MHD_Response *response_of(struct http_reply *r) {
    size_t len = buf_len(&r->body);
    MUST(r->body.off == 0);
    struct MHD_Response *response = mhd.create_response_from_buffer_with_free_callback(len, r->body.p, free);
    if (!response)
        return NULL;
    buf_init(&r->body, HTTP_BODY_MAX);
    return response;
}

void http_send(struct http *h, struct MHD_Connection *connection, struct http_reply *r) {
    struct http_conn *c = conn_of(connection);
    MUST(c);
    if (h->pending + buf_len(&r->body) > HTTP_PENDING_MAX) {
        h->counts.refused++;
        http_reply_line(r, 503, "too many answers wait for their readers");
    }
    size_t len = buf_len(&r->body);
    struct MHD_Response *response = response_of(r);
    if (!response) {
        buf_fini(&r->body);
        end_http_conn(c);
        return;
    }
    c->pending += len;
    h->pending += len;
    add_header(response, "Content-Type", r->type ? r->type : "application/json");
    add_header(response, "Cache-Control", "no-store");
    add_header(response, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
    http_add_headers(response);
    if (r->allow)
        add_header(response, "Allow", r->allow);
    if (mhd.queue_response(connection, r->status, response) != MHD_YES)
        end_http_conn(c);
    mhd.destroy_response(response); /* our reference; the connection has its own */
}

void http_stream_begin(const struct http_request *q) {
    goto_state(q->conn, CONN_STREAM);
}

/* ---- the loop ---- */

/* One turn of the library, and when it wants its next one: at once when something is left, which then comes after the loop's
 * other events. */
static void run(struct http_socket *s) {
    struct loop *l = s->http->setup.loop;
    MHD_UNSIGNED_LONG_LONG wait_ms;
    (void)mhd.run(s->daemon); /* fails when epoll does; the next turn tries again */
    wheel_cancel(&l->wheel, &s->timer);
    if (mhd.get_timeout(s->daemon, &wait_ms) == MHD_YES)
        wheel_arm(&l->wheel, &s->timer, l->now_ms + (uint64_t)wait_ms);
}

static void on_epoll(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    struct http *h = ctx;
    (void)gen;
    (void)events;
    if (h->sockets[key].daemon)
        run(&h->sockets[key]);
}

static void on_timer(void *ctx, struct wtimer *t) {
    (void)ctx;
    run(CONTAINER_OF(t, struct http_socket, timer));
}

void http_run(struct http *h) {
    for (size_t i = 0; i < HTTP_SOCKETS; i++)
        if (h->sockets[i].daemon)
            run(&h->sockets[i]);
}

void http_kick(struct http *h) {
    for (size_t i = 0; i < HTTP_SOCKETS; i++)
        if (h->sockets[i].daemon)
            wheel_arm(&h->setup.loop->wheel, &h->sockets[i].timer, h->setup.loop->now_ms);
}

struct http_counts http_counts(const struct http *h) {
    struct http_counts c = h->counts;
    for (size_t i = 0; i < HTTP_SOCKETS; i++)
        c.connections += h->sockets[i].nconns;
    return c;
}

int http_new(const struct http_setup *setup, struct http **ret) {
    struct http *h = calloc(1, sizeof(*h));
    if (!h)
        return ERR_NOMEM;
    h->setup = *setup;
    for (size_t i = 0; i < HTTP_SOCKETS; i++) {
        h->sockets[i].http = h;
        h->sockets[i].timer.kind = (uint8_t)setup->timer_kind;
        h->sockets[i].local = i == ADMIN_UNIX;
        list_init(&h->sockets[i].conns);
    }
    loop_on(setup->loop, setup->kind, on_epoll, h);
    loop_on_timer(setup->loop, setup->timer_kind, on_timer, h);
    *ret = h;
    return 0;
}

static void stop_socket(struct http_socket *s) {
    if (!s->daemon)
        return;
    wheel_cancel(&s->http->setup.loop->wheel, &s->timer);
    mhd.stop_daemon(s->daemon); /* closes the listening socket too, and reports the end of every connection */
    s->daemon = NULL;
}

int http_listen(struct http *h, enum admin_kind kind, int fd) {
    struct http_socket *s = &h->sockets[kind];
    stop_socket(s);
    const unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME;
    s->daemon = mhd.start_daemon(flags, 0, NULL, NULL, on_http_request, s, MHD_OPTION_LISTEN_SOCKET, fd,
                                 MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
                                 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_REQUEST_MAX, MHD_OPTION_CONNECTION_LIMIT,
                                 (unsigned)(HTTP_CONNECTIONS + ROOM), MHD_OPTION_CONNECTION_TIMEOUT, 0u,
                                 MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    if (!s->daemon) {
        close(fd);
        return ERR_UNSUPPORTED;
    }
    const union MHD_DaemonInfo *info = mhd.get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (!info || loop_watch(h->setup.loop, info->epoll_fd, EPOLLIN, h->setup.kind, (uint32_t)kind, 0) < 0) {
        stop_socket(s);
        return ERR_SYSTEM;
    }
    return 0;
}

void http_free(struct http *h) {
    if (!h)
        return;
    for (size_t i = 0; i < HTTP_SOCKETS; i++)
        stop_socket(&h->sockets[i]);
    free(h);
}
