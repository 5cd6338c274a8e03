#include "acme/http_responder.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "acme/far_challenges.h"
#include "base/err.h"

#define REQUEST_MAX  8192
#define RESPONSE_MAX (REQUEST_MAX + 512)
#define PREFIX       "/.well-known/acme-challenge/"
#define HOST_MAX     255

struct exchange {
    char request[REQUEST_MAX];
    size_t len;
    char response[RESPONSE_MAX];
    struct text out;
    size_t sent;
};

/* ---- the answer ---- */

static void put_response(struct text *to, const char *status, const char *field, const char *body) {
    text_addf(to, "HTTP/1.1 %s\r\n%sContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", status,
              field, strlen(body), body);
}

/* "GET TARGET HTTP/1.x"; an empty span for everything else. */
static struct span target_of(struct span line) {
    const uint8_t *blank = line.len > 4 ? memchr(line.p + 4, ' ', line.len - 4) : NULL;
    if (!span_has_prefix(line, "GET /") || !blank ||
        !span_has_prefix(span_of(blank, (size_t)(line.p + line.len - blank)), " HTTP/1."))
        return span_of(NULL, 0);
    struct span target = span_of(line.p + 4, (size_t)(blank - line.p) - 4);
    for (size_t i = 0; i < target.len; i++)
        if (target.p[i] <= ' ' || target.p[i] > '~')
            return span_of(NULL, 0);
    return target;
}

/* The host without its port, when it is one that can stand in a URL. */
static bool host_of(struct span fields, struct text *to) {
    for (struct span line; span_take_line(&fields, &line);) {
        if (line.len < 5 || strncasecmp((const char *)line.p, "Host:", 5) != 0)
            continue;
        size_t at = 5;
        while (at < line.len && line.p[at] == ' ')
            at++;
        for (; at < line.len && line.p[at] != ':' && line.p[at] != '\r' && line.p[at] != ' '; at++) {
            uint8_t ch = line.p[at];
            bool ok =
                (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || ch == '-' || ch == '.';
            if (!ok)
                return false;
            text_add_span(to, span_of(&line.p[at], 1));
        }
        return to->len > 0 && !to->cut;
    }
    return false;
}

bool http_responder_answer(const struct http_responder *h, struct span request, struct text *to) {
    char host[HOST_MAX + 1], field[REQUEST_MAX + HOST_MAX + 32];
    struct text name = text_of(host, sizeof(host)), location = text_of(field, sizeof(field));
    const uint8_t *end = memchr(request.p, '\r', request.len);
    struct span line = span_of(request.p, end ? (size_t)(end - request.p) : 0);
    struct span target = target_of(line);
    struct challenge *own = NULL;
    size_t n = sizeof(PREFIX) - 1;
    struct far_challenges *far = span_has_prefix(target, PREFIX) ? h->challenges->far : NULL;
    if (span_has_prefix(target, PREFIX))
        own = challenges_by_token(h->challenges, span_of(target.p + n, target.len - n));
    const struct challenge *c = own;
    if (own)
        own->answered++;
    else if (far && far_find(far, CHALLENGE_HTTP_01, span_of(target.p + n, target.len - n), &c) == FAR_ASKED)
        return false;
    if (c) {
        put_response(to, "200 OK", "", c->key_authorization);
    } else if (target.len == 0) {
        put_response(to, "400 Bad Request", "", "only GET is answered here\n");
    } else if (h->redirects && !span_has_prefix(target, PREFIX) &&
               host_of(span_of(line.p + line.len, request.len - line.len), &name)) {
        text_addf(&location, "Location: https://%s%.*s\r\n", host, (int)target.len, (const char *)target.p);
        put_response(to, "308 Permanent Redirect", field, "");
    } else {
        put_response(to, "404 Not Found", "", "not found\n");
    }
    return true;
}

/* ---- the connection ---- */

static bool begin_exchange(struct responder_conn *c) {
    struct exchange *x = c->state;
    x->out = text_of(x->response, sizeof(x->response));
    return true;
}

static enum responder_step send_response(struct responder_conn *c) {
    struct exchange *x = c->state;
    while (x->sent < x->out.len) {
        ssize_t n = write(c->fd, x->response + x->sent, x->out.len - x->sent);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? RESPONDER_WRITES : RESPONDER_DONE;
        x->sent += (size_t)n;
    }
    return RESPONDER_DONE;
}

static enum responder_step work_exchange(struct responder_conn *c) {
    struct exchange *x = c->state;
    while (x->out.len == 0) {
        if (memmem(x->request, x->len, "\r\n\r\n", 4)) {
            if (!http_responder_answer(c->responder->ctx, span_of(x->request, x->len), &x->out))
                return RESPONDER_WAITS;
            break;
        }
        ssize_t n = x->len < REQUEST_MAX ? read(c->fd, x->request + x->len, REQUEST_MAX - x->len) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? RESPONDER_READS : RESPONDER_DONE;
        x->len += (size_t)n;
        bool is_whole = memmem(x->request, x->len, "\r\n\r\n", 4) != NULL;
        if (!is_whole && x->len == REQUEST_MAX)
            put_response(&x->out, "431 Request Header Fields Too Large", "", "expected at most 8 KiB\n");
        else if (!is_whole && n == 0)
            return RESPONDER_DONE;
    }
    return send_response(c);
}

static void end_exchange(struct responder_conn *c) {
    (void)c;
}

static const struct responder_protocol http = {sizeof(struct exchange), begin_exchange, work_exchange, end_exchange};

int http_responder_open(struct http_responder *h, struct challenges *challenges, bool redirects, struct loop *loop,
                        unsigned kind, const char *path, struct text *why) {
    h->challenges = challenges;
    h->redirects = redirects;
    return responder_open(&h->responder, loop, kind, path, &http, h, why);
}
