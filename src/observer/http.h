/*
 * The HTTP server: connections, limits and deadlines; it knows no resource. Runs inside the role's event loop, without threads.
 *
 * A client costs a bounded amount: so many connections a socket, where a new one closes the oldest idle one; a
 * request of at most HTTP_REQUEST_MAX bytes within HTTP_IDLE_MS; answers of at most HTTP_PENDING_MAX bytes in all, each taken
 * within HTTP_ANSWER_MS. On a TCP socket only GET and HEAD are taken, and only for a Host that is an address or localhost.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/loop.h"
#include "observer/mhd.h"
#include "wire/control.h"

#define HTTP_SOCKETS     2 /* by enum admin_kind */
#define HTTP_CONNECTIONS 256
#define HTTP_REQUEST_MAX (16 * 1024) /* request line and headers, and what the library keeps for a connection */
#define HTTP_UPLOAD_MAX  4096        /* bodies are not looked at */
#define HTTP_IDLE_MS     15000       /* to send a request in, or without one */
#define HTTP_ANSWER_MS   30000
#define HTTP_CROWDED_MS  1500 /* for both, while a socket has all the connections it may have */
#define HTTP_BODY_MAX    (8 * 1024 * 1024)
#define HTTP_PENDING_MAX (32 * 1024 * 1024)

enum http_method { HTTP_GET = 1, HTTP_HEAD = 2, HTTP_POST = 4 };

struct http_request {
    struct MHD_Connection *connection;
    struct http_conn *conn;
    const char *path; /* decoded, without the query */
    enum http_method method;
    bool local; /* came by the Unix socket: may command */
};

/* An answer being made. BODY is the answerer's to fill; it goes to the library from here. */
struct http_reply {
    unsigned status;
    const char *type; /* static */
    struct buf body;
    const char *allow; /* for 405: the Allow header; static */
    bool queued;       /* the answerer has queued a response, or suspended the connection, itself */
};

struct http;
typedef void (*http_answer_fn)(void *ctx, const struct http_request *q, struct http_reply *r);

struct http_counts {
    uint64_t accepted, requests, refused, evicted, timed_out;
    uint32_t connections;
};

/*
 * ANSWER is called for each whole request that the limits let through, from loop events and timers of these kinds.
 * BEFORE_ANSWER is called first each time: what must not wait for a long row of requests. ERR_NOMEM.
 */
struct http_setup {
    struct loop *loop;
    unsigned kind, timer_kind;
    http_answer_fn answer;
    void (*before_answer)(void *before_ctx);
    bool (*is_barred)(void *before_ctx, int32_t pid); /* this process may not use the Unix socket */
    void *before_ctx;                                 /* of both */
    void *ctx;
};
MUST_CHECK int http_new(const struct http_setup *setup, struct http **ret);
void http_free(struct http *h);

/* Serves a listening socket, which is taken over in any case. ERR_SYSTEM, ERR_UNSUPPORTED. */
MUST_CHECK int http_listen(struct http *h, enum admin_kind kind, int fd);

/* Once a second: ends the connections that are late. */
void http_second(struct http *h);

/* The library's turn, now: for what must be sent before the loop ends. */
void http_run(struct http *h);

/* After mhd.resume_connection(): the answer goes out in the next turn. */
void http_kick(struct http *h);

/* Queues R as the answer of a request, whose connection may have been suspended since; empties it. */
void http_send(struct http *h, struct MHD_Connection *c, struct http_reply *r);

/* A connection whose answer has no end: its own deadlines are the answerer's. */
void http_stream_begin(const struct http_request *q);

/* nosniff and the like, for responses that an answerer makes itself. */
void http_add_headers(struct MHD_Response *r);

/* A parameter of the query; NULL when it is not there. */
const char *http_query(const struct http_request *q, const char *name);

/* A header of the request, by any case of its name; NULL when it is not there. */
const char *http_header(const struct http_request *q, const char *name);

/* A reply of one line of text. */
void http_reply_line(struct http_reply *r, unsigned status, const char *line);

struct http_counts http_counts(const struct http *h);
