/*
 * HTTPS requests to issuers, by libcurl in the event loop. Answers are bounded in bytes and in time, nothing but https is
 * spoken, the issuer's certificate is checked, and no redirect is followed: an answer comes from where the question went.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "acme/alarm_clock.h"
#include "base/buf.h"
#include "base/defs.h"
#include "base/loop.h"
#include "base/span.h"
#include "base/text.h"

#define HTTP_OUT_BODY_MAX   (128 * 1024)
#define HTTP_OUT_FIELD_MAX  1024
#define HTTP_OUT_ALTERNATES 4

struct http_out {
    struct loop *loop;
    unsigned kind; /* of its sockets in the loop */
    void *multi;
    struct alarm_clock timeout;
    struct alarm_clock idle; /* until connections that nobody uses are closed */
    unsigned active;
};

/* Texts and spans live during the call that brings them. */
struct http_out_answer {
    const char *failed; /* a sentence when there was no answer; NULL: the rest holds */
    unsigned status;
    struct span body;
    char type[128]; /* Content-Type */
    char nonce[HTTP_OUT_FIELD_MAX];
    char location[HTTP_OUT_FIELD_MAX];
    char alternates[HTTP_OUT_ALTERNATES][HTTP_OUT_FIELD_MAX]; /* Link: rel="alternate" */
    size_t nalternates;
    int64_t retry_after; /* seconds, or the second since 1970 when it is that large; -1 = none */
};

typedef void (*http_out_fn)(void *ctx, const struct http_out_answer *a);

enum http_out_method { HTTP_OUT_GET, HTTP_OUT_HEAD, HTTP_OUT_POST };

/* One request at a time; begins zeroed. */
struct http_out_request {
    void *easy; /* NULL = none under way */
    void *headers;
    struct http_out *out;
    struct buf body;
    struct http_out_answer answer;
    http_out_fn fn;
    void *ctx;
    char error[256]; /* libcurl's CURL_ERROR_SIZE */
};

/* Before the sandbox. ERR_UNSUPPORTED (a sentence in WHY), ERR_NOMEM. */
MUST_CHECK int http_out_init(struct http_out *h, struct loop *loop, unsigned kind, struct text *why);

/*
 * Sends; FN is called from the loop, once, unless it is cancelled. CA: certificates in PEM that the server's is checked
 * against; kept by the caller until then. ERR_NOMEM; FN is not called then.
 */
MUST_CHECK int http_out_send(struct http_out *h, struct http_out_request *r, enum http_out_method method, const char *url,
                             struct span body, struct span ca, http_out_fn fn, void *ctx);
void http_out_cancel(struct http_out_request *r);
