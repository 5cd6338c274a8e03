/*
 * A small application to try tls-off with: an HTTP server on a Unix socket that reads a PROXY header in front of each
 * connection, returns what is sent to it, and shows what it received.
 *
 * POST, PUT (any path)   the body again GET /info             the request and the PROXY header as JSON GET (any other path) the
 * same as a page
 *
 * The main thread is the door (door.h); libmicrohttpd's thread serves. The info of a connection passes between them in a table
 * by descriptor, since the library accepts connections without any context.
 */
#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/defs.h"
#include "base/rand.h"
#include "base/text.h"
#include "door.h"
#include "page.h"
#include "request_info.h"

#define BODY_MAX     ((size_t)64 << 20)
#define BODIES_MAX   ((size_t)512 << 20) /* of all requests together */
#define HEADERS_MAX  ((size_t)64 << 10)
#define FDS_MAX      65536u
#define IDLE_SECONDS 600u

struct request {
    uint8_t *body;
    size_t len, cap;
    unsigned refusal; /* HTTP status that the body has already earned, 0 = none */
};

struct demo {
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock; /* of handed */
    json_t **handed;      /* by descriptor: the info of a connection on its way to the server */
    size_t nhanded;
    size_t bodies; /* bytes held by all requests; the server's thread only */
};

static json_t *exchange_conn_info(struct demo *d, int fd, json_t *conn_info) {
    MUST(fd >= 0 && (size_t)fd < d->nhanded);
    pthread_mutex_lock(&d->lock);
    json_t *before = d->handed[fd];
    d->handed[fd] = conn_info;
    pthread_mutex_unlock(&d->lock);
    return before;
}

/* From the door. The server closes FD in any case. */
static void on_connection(void *ctx, int fd, json_t *conn_info) {
    static const struct sockaddr_un unnamed = {.sun_family = AF_UNIX};
    struct demo *d = ctx;
    json_decref(exchange_conn_info(d, fd, conn_info)); /* of one that the server dropped before it began */
    if (MHD_add_connection(d->daemon, fd, (const struct sockaddr *)&unnamed, sizeof(unnamed.sun_family)) != MHD_YES)
        (void)fprintf(stderr, "connection refused: %s\n", strerror(errno));
}

static void on_change(void *ctx, struct MHD_Connection *c, void **ret_conn_info, enum MHD_ConnectionNotificationCode what) {
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        json_decref(*ret_conn_info);
        *ret_conn_info = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    *ret_conn_info = info ? exchange_conn_info(ctx, info->connect_fd, NULL) : NULL;
}

static void drop_body(struct demo *d, struct request *r) {
    d->bodies -= r->cap;
    free(r->body);
    r->body = NULL;
    r->len = r->cap = 0;
}

static void keep_body(struct demo *d, struct request *r, const char *from, size_t n) {
    if (r->refusal)
        return;
    size_t need = r->len + n, cap = MAX(r->cap, HEADERS_MAX);
    while (cap < need)
        cap *= 2;
    uint8_t *body = r->body;
    if (need > BODY_MAX)
        r->refusal = MHD_HTTP_CONTENT_TOO_LARGE;
    else if (cap > r->cap && (cap - r->cap > BODIES_MAX - d->bodies || !(body = realloc(r->body, cap))))
        r->refusal = MHD_HTTP_SERVICE_UNAVAILABLE;
    if (r->refusal) {
        drop_body(d, r);
        return;
    }
    d->bodies += cap - r->cap;
    r->body = body;
    r->cap = cap;
    memcpy(r->body + r->len, from, n);
    r->len = need;
}

static void set_header(struct MHD_Response *r, const char *name, const char *value) {
    (void)MHD_add_response_header(r, name, value); /* one that it refuses (line breaks in it) is omitted */
}

static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, const char *type, struct MHD_Response *r) {
    if (!r)
        return MHD_NO;
    set_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    set_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    set_header(r, "X-Content-Type-Options", "nosniff");
    enum MHD_Result ok = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result answer_plain(struct MHD_Connection *c, unsigned status, const char *text) {
    struct MHD_Response *r = MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
    if (r && status == MHD_HTTP_METHOD_NOT_ALLOWED)
        set_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD, POST, PUT");
    return answer(c, status, "text/plain; charset=utf-8", r);
}

static enum MHD_Result answer_refusal(struct MHD_Connection *c, unsigned status) {
    return answer_plain(
        c, status, status == MHD_HTTP_CONTENT_TOO_LARGE ? "a body may have 64 MiB\n" : "too many bytes are held already\n");
}

static enum MHD_Result answer_json(struct MHD_Connection *c, const json_t *conn_info) {
    char *text = json_dumps(conn_info, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    if (!text)
        return MHD_NO;
    return answer(c, MHD_HTTP_OK, "application/json",
                  MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE));
}

static enum MHD_Result answer_page(struct MHD_Connection *c, const json_t *conn_info) {
    char nonce[32], policy[256];
    struct text n = text_of(nonce, sizeof(nonce)), p = text_of(policy, sizeof(policy));
    text_addf(&n, "%016llx", (unsigned long long)rand_u64());
    text_addf(&p,
              "default-src 'none'; style-src 'nonce-%s'; script-src 'nonce-%s'; connect-src 'self'; form-action 'self'; "
              "img-src data:; base-uri 'none'",
              nonce, nonce);
    size_t len = 0;
    char *page = page_write(conn_info, nonce, &len);
    if (!page)
        return MHD_NO;
    struct MHD_Response *r = MHD_create_response_from_buffer(len, page, MHD_RESPMEM_MUST_FREE);
    if (r)
        set_header(r, "Content-Security-Policy", policy);
    return answer(c, MHD_HTTP_OK, "text/html; charset=utf-8", r);
}

/* The body is sent from where it was received; it lives until on_request_end(). */
static enum MHD_Result answer_echo(struct MHD_Connection *c, struct request *q) {
    const char *type = MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE);
    struct MHD_Response *r = MHD_create_response_from_buffer(q->len, q->body, MHD_RESPMEM_PERSISTENT);
    if (r)
        set_header(r, "Content-Security-Policy", "default-src 'none'; sandbox"); /* a stranger's form may have sent it */
    return answer(c, MHD_HTTP_OK, type ? type : "application/octet-stream", r);
}

static bool is_one_of(const char *method, const char *a, const char *b) {
    return strcmp(method, a) == 0 || strcmp(method, b) == 0;
}

/* The request is whole: answer it. */
static enum MHD_Result answer_request(struct MHD_Connection *c, const char *path, const char *method, const char *version,
                                      struct request *q) {
    if (q->refusal)
        return answer_refusal(c, q->refusal);
    if (is_one_of(method, MHD_HTTP_METHOD_POST, MHD_HTTP_METHOD_PUT))
        return answer_echo(c, q);
    if (!is_one_of(method, MHD_HTTP_METHOD_GET, MHD_HTTP_METHOD_HEAD))
        return answer_plain(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET, POST or PUT\n");
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    json_t *conn_info = info_of_request(c, method, path, version, info ? info->socket_context : NULL);
    enum MHD_Result ok = strcmp(path, "/info") == 0 ? answer_json(c, conn_info) : answer_page(c, conn_info);
    json_decref(conn_info);
    return ok;
}

/* Called with the headers, then with each piece of the body, then with none. */
static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *path, const char *method,
                                  const char *version, const char *upload, size_t *upload_len, void **state) {
    struct request *q = *state;
    if (!q) {
        uint64_t announced = 0;
        const char *length = MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
        if (length && (text_parse_u64(length, UINT64_MAX, &announced) != 0 || announced > BODY_MAX))
            return answer_refusal(c, MHD_HTTP_CONTENT_TOO_LARGE);
        *state = q = calloc(1, sizeof(*q));
        return q ? MHD_YES : MHD_NO;
    }
    if (*upload_len == 0)
        return answer_request(c, path, method, version, q);
    keep_body(ctx, q, upload, *upload_len);
    *upload_len = 0;
    return MHD_YES;
}

static void on_request_end(void *ctx, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode how) {
    (void)c, (void)how;
    if (*state)
        drop_body(ctx, *state);
    free(*state);
    *state = NULL;
}

/* As many descriptors as the host allows, up to FDS_MAX; returns their number. */
static unsigned raise_fds(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0)
        return 256;
    r.rlim_cur = MIN(r.rlim_max, (rlim_t)FDS_MAX);
    (void)setrlimit(RLIMIT_NOFILE, &r); /* the limit is read again: it is what counts */
    if (getrlimit(RLIMIT_NOFILE, &r) < 0)
        return 256;
    return (unsigned)MIN(r.rlim_cur, (rlim_t)FDS_MAX);
}

static int stop_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    (void)signal(SIGPIPE, SIG_IGN);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static struct MHD_Daemon *start_server(struct demo *d, unsigned fds) {
    return MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC, 0, NULL, NULL, on_request,
                            d, MHD_OPTION_NOTIFY_COMPLETED, on_request_end, d, MHD_OPTION_NOTIFY_CONNECTION, on_change, d,
                            MHD_OPTION_CONNECTION_LIMIT, fds, MHD_OPTION_CONNECTION_MEMORY_LIMIT, HEADERS_MAX,
                            MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_END);
}

int main(int argc, char **argv) {
    static struct demo d = {.lock = PTHREAD_MUTEX_INITIALIZER};
    if (argc != 2 || argv[1][0] == '-') {
        (void)fprintf(stderr, "usage: tls-off-demo SOCKET\n");
        return 2;
    }
    unsigned fds = raise_fds();
    int stop_fd = stop_signals(); /* before the server's thread starts, so that it inherits the mask */
    d.nhanded = fds;
    d.handed = calloc(fds, sizeof(json_t *));
    if (stop_fd < 0 || !d.handed) {
        (void)fprintf(stderr, "cannot start: %s\n", strerror(errno));
        return 1;
    }
    int listen_fd = door_open(argv[1]);
    if (listen_fd < 0) {
        (void)fprintf(stderr, "cannot listen on %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    int status = 1;
    d.daemon = start_server(&d, fds);
    if (d.daemon) {
        (void)printf("listening on unix:%s\n", argv[1]);
        (void)fflush(stdout);
        door_serve(listen_fd, stop_fd, on_connection, &d);
        MHD_stop_daemon(d.daemon);
        status = 0;
    } else {
        (void)fprintf(stderr, "cannot start the HTTP server\n");
    }
    (void)unlink(argv[1]);
    close(listen_fd);
    for (size_t i = 0; i < d.nhanded; i++)
        json_decref(d.handed[i]);
    free(d.handed);
    return status;
}
