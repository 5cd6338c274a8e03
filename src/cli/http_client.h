/*
 * Just enough of an HTTP/1.1 client to ask a running tls-off over its Unix socket: one request, one answer of bounded size
 * within a deadline, nothing else. Why not libcurl: docs/decisions/011-own-http-client.md.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/span.h"

#define HTTP_CLIENT_HEAD_MAX (16 * 1024)
#define HTTP_CLIENT_BODY_MAX (64 * 1024 * 1024)

struct http_head {
    unsigned status;
    size_t len;      /* of the head, its empty line included */
    size_t body_len; /* SIZE_MAX = up to the end of the connection */
};

/* STEP-like: 1 = a whole head in RET, 0 = more bytes are needed, ERR_FORMAT (no HTTP/1.x answer, chunked, two lengths). */
MUST_CHECK int http_head_parse(struct span bytes, struct http_head *ret);

struct http_answer {
    unsigned status;
    struct buf body; /* the caller's to free (buf_fini) */
};

/*
 * Asks for TARGET by METHOD at the socket PATH. ERR_NOT_FOUND: no socket, or none that listens; ERR_CLOSED: closed before the
 * end of the answer; ERR_AGAIN: the DEADLINE (clock_mono_ms()) has passed; ERR_FORMAT, ERR_LIMIT: not an answer of tls-off;
 * ERR_SYSTEM (errno).
 */
MUST_CHECK int http_ask(const char *path, const char *method, const char *target, uint64_t deadline_ms,
                        struct http_answer *ret);

/* False: no more is wanted. */
typedef bool (*http_piece_fn)(void *ctx, struct span piece);

/*
 * The same by GET for an answer without an end: what comes with a 200 goes to TAKE, piece by piece. 0: a 200 that has ended or
 * is not wanted any more, or another status with its body; errors as above, ERR_AGAIN also when nothing has come for
 * HTTP_SILENT_MS.
 */
#define HTTP_SILENT_MS 30000
MUST_CHECK int http_follow(const char *path, const char *target, uint64_t deadline_ms, http_piece_fn take, void *ctx,
                           struct http_answer *ret);
