/*
 * Requests of our own by HTTP and HTTPS, by libcurl in the event loop: to issuers, to OCSP responders, to a collector of
 * traces. Answers are bounded in bytes and in time, the certificate of an HTTPS server is checked, and no redirect is followed:
 * an answer comes from where the question went.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/alarm_clock.h"
#include "base/buf.h"
#include "base/defs.h"
#include "base/loop.h"
#include "base/span.h"
#include "base/text.h"

#define HTTP_OUT_BODY_MAX   (128 * 1024)
#define HTTP_OUT_HEAD_MAX   (64 * 1024) /* of all header fields, those of interim answers included */
#define HTTP_OUT_FIELD_MAX  1024
#define HTTP_OUT_ALTERNATES 4

struct http_out {
    struct loop *loop;
    unsigned kind;    /* of its sockets in the loop */
    uint32_t idle_ms; /* a connection that nobody uses is kept so long for the next request */
    void *multi;
    struct alarm_clock timeout;
    struct alarm_clock idle; /* IDLE_MS since the last request ended */
    unsigned active;
};

/* Texts and spans live during the call that brings them. */
struct http_out_answer {
    const char *failed; /* a sentence when there was no answer; NULL: the rest holds */
    unsigned curl_code; /* it has failed by this error of libcurl; 0 = it has not */
    bool too_long;      /* it has failed by an answer of more than HTTP_OUT_BODY_MAX bytes */
    unsigned status;
    struct span body;
    char type[128]; /* Content-Type */
    char nonce[HTTP_OUT_FIELD_MAX];
    char location[HTTP_OUT_FIELD_MAX];
    char next[HTTP_OUT_FIELD_MAX];                            /* Link: rel="next" */
    char alternates[HTTP_OUT_ALTERNATES][HTTP_OUT_FIELD_MAX]; /* Link: rel="alternate" */
    size_t nalternates;
    int64_t retry_after; /* seconds from now; -1 = none */
};

typedef void (*http_out_fn)(void *ctx, const struct http_out_answer *a);

enum http_out_method { HTTP_OUT_GET, HTTP_OUT_HEAD, HTTP_OUT_POST };

struct http_out_question {
    enum http_out_method method;
    const char *scheme; /* "https" or "http": a URL with another one is not asked */
    const char *url;
    struct span ca;   /* certificates in PEM that an https server's is checked against; kept by the caller until the answer */
    const char *type; /* of the body of a POST: "Content-Type: ..." */
    struct span body; /* of a POST; copied */
    const char *const *fields; /* more fields, "Name: value", ended by NULL; NULL = none */
    uint32_t timeout_ms;       /* for all of it; 0 = a minute */
};

/* One request at a time; begins zeroed. */
struct http_out_request {
    void *easy; /* NULL = none under way */
    void *headers;
    struct http_out *out;
    struct buf body;
    size_t head_len;
    struct http_out_answer answer;
    http_out_fn fn;
    void *ctx;
    char error[256]; /* libcurl's CURL_ERROR_SIZE */
};

/*
 * Certificates in PEM for CA below, from FILE, or of this system when that is NULL; before the sandbox. *RET is the caller's,
 * from malloc(). As file_open() and file_read(), with a sentence in WHY.
 */
MUST_CHECK int http_out_trust(const char *file, struct span *ret, struct text *why);

/* Before the sandbox. IDLE_MS as above. ERR_UNSUPPORTED (a sentence in WHY), ERR_NOMEM. */
MUST_CHECK int http_out_init(struct http_out *h, struct loop *loop, unsigned kind, uint32_t idle_ms, struct text *why);

/* Sends; FN is called from the loop, once, unless it is cancelled. ERR_NOMEM; FN is not called then. */
MUST_CHECK int http_out_send(struct http_out *h, struct http_out_request *r, const struct http_out_question *q, http_out_fn fn,
                             void *ctx);
void http_out_cancel(struct http_out_request *r);

/* The value of a Retry-After: seconds, or a date in any of the forms of RFC 9110 5.6.7; from NOW_S on. -1: it is neither. */
int64_t http_out_retry_after(struct span value, int64_t now_s);
