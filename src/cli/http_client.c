#include "cli/http_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"

#define READ_AT_ONCE (64 * 1024)

/* ---- the head ---- */

/* The next line without its end; false when it is incomplete. */
static bool next_head_line(struct span *rest, struct span *ret) {
    const uint8_t *end = rest->len ? memchr(rest->p, '\n', rest->len) : NULL;
    if (!end)
        return false;
    size_t len = (size_t)(end - rest->p);
    *ret = span_of(rest->p, len > 0 && rest->p[len - 1] == '\r' ? len - 1 : len);
    *rest = span_of(end + 1, rest->len - len - 1);
    return true;
}

/* "HTTP/1.1 200 OK" (RFC 9112 4). */
static int read_status(struct span line, unsigned *ret) {
    static const char version[] = "HTTP/1.";
    const size_t at = sizeof(version) - 1;
    unsigned status = 0;
    if (line.len < at + 5 || memcmp(line.p, version, at) != 0 || (line.p[at] != '0' && line.p[at] != '1') ||
        line.p[at + 1] != ' ')
        return ERR_FORMAT;
    for (size_t i = at + 2; i < at + 5; i++) {
        if (line.p[i] < '0' || line.p[i] > '9')
            return ERR_FORMAT;
        status = status * 10 + (unsigned)(line.p[i] - '0');
    }
    if (status < 200 || (line.len > at + 5 && line.p[at + 5] != ' '))
        return ERR_FORMAT;
    *ret = status;
    return 0;
}

static int read_length(struct span value, struct http_head *h) {
    char digits[24];
    struct text t = text_of(digits, sizeof(digits));
    uint64_t n;
    text_add_span(&t, value);
    if (t.cut || h->body_len != SIZE_MAX || text_parse_u64(digits, HTTP_CLIENT_BODY_MAX, &n) < 0)
        return ERR_FORMAT;
    h->body_len = (size_t)n;
    return 0;
}

static bool is_header(struct span name, const char *wanted) {
    return name.len == strlen(wanted) && strncasecmp((const char *)name.p, wanted, name.len) == 0;
}

static int read_field(struct span line, struct http_head *h) {
    const uint8_t *colon = memchr(line.p, ':', line.len);
    if (!colon)
        return ERR_FORMAT;
    size_t at = (size_t)(colon - line.p);
    struct span name = span_of(line.p, at), value = span_of(colon + 1, line.len - at - 1);
    while (value.len > 0 && (value.p[0] == ' ' || value.p[0] == '\t'))
        value = span_of(value.p + 1, value.len - 1);
    while (value.len > 0 && (value.p[value.len - 1] == ' ' || value.p[value.len - 1] == '\t'))
        value.len--;
    if (is_header(name, "Content-Length"))
        return read_length(value, h);
    return is_header(name, "Transfer-Encoding") ? ERR_FORMAT : 0; /* never sent to us */
}

int http_head_parse(struct span bytes, struct http_head *ret) {
    struct http_head h = {.body_len = SIZE_MAX};
    struct span rest = bytes, line;
    bool first = true;
    while (next_head_line(&rest, &line)) {
        int err = line.len == 0 && !first ? 1 : first ? read_status(line, &h.status) : read_field(line, &h);
        if (err < 0)
            return err;
        if (err > 0) {
            h.len = bytes.len - rest.len;
            *ret = h;
            return h.len <= HTTP_CLIENT_HEAD_MAX ? 1 : ERR_FORMAT;
        }
        first = false;
    }
    return bytes.len < HTTP_CLIENT_HEAD_MAX ? 0 : ERR_FORMAT;
}

/* ---- the connection ---- */

/* Waits for EVENTS. ERR_AGAIN at the deadline. */
static int wait_for(int fd, short events, uint64_t deadline_ms) {
    for (;;) {
        uint64_t now_ms = clock_mono_ms();
        struct pollfd p = {.fd = fd, .events = events};
        if (now_ms >= deadline_ms)
            return ERR_AGAIN;
        int n = poll(&p, 1, (int)MIN(deadline_ms - now_ms, 60000u));
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return ERR_SYSTEM;
    }
}

static int open_admin_stream(const char *path, uint64_t deadline_ms, int *ret_fd) {
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len >= sizeof(sun.sun_path)) {
        errno = ENAMETOOLONG;
        return ERR_SYSTEM;
    }
    memcpy(sun.sun_path, path, len);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ERR_SYSTEM;
    while (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
        int err = errno == ENOENT || errno == ECONNREFUSED ? ERR_NOT_FOUND : ERR_SYSTEM;
        if (errno == EAGAIN &&
            clock_mono_ms() < deadline_ms) { /* its queue is full: a Unix socket does not report when it has room */
            (void)poll(NULL, 0, 10);         /* a pause */
            continue;
        }
        int error = errno;
        close(fd);
        errno = error;
        return error == EAGAIN ? ERR_AGAIN : err;
    }
    *ret_fd = fd;
    return 0;
}

static int send_all(int fd, const char *p, size_t len, uint64_t deadline_ms) {
    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n > 0) {
            p += n;
            len -= (size_t)n;
            continue;
        }
        if (errno == EPIPE || errno == ECONNRESET)
            return ERR_CLOSED;
        int err = errno == EAGAIN ? wait_for(fd, POLLOUT, deadline_ms) : errno == EINTR ? 0 : ERR_SYSTEM;
        if (err < 0)
            return err;
    }
    return 0;
}

/* More bytes behind IN. ERR_CLOSED at the end of the connection. */
static int read_more(int fd, struct buf *in, uint64_t deadline_ms) {
    uint8_t *room = buf_reserve(in, READ_AT_ONCE);
    if (!room)
        return ERR_LIMIT;
    for (;;) {
        ssize_t n = recv(fd, room, READ_AT_ONCE, 0);
        if (n > 0) {
            buf_commit(in, (size_t)n);
            return 0;
        }
        if (n == 0 || errno == ECONNRESET)
            return ERR_CLOSED;
        int err = errno == EAGAIN ? wait_for(fd, POLLIN, deadline_ms) : errno == EINTR ? 0 : ERR_SYSTEM;
        if (err < 0)
            return err;
    }
}

/* The head into IN, with whatever came behind it. */
static int read_head(int fd, struct buf *in, uint64_t deadline_ms, struct http_head *ret) {
    int whole = 0, err;
    while ((whole = http_head_parse(buf_span(in), ret)) == 0)
        if ((err = read_more(fd, in, deadline_ms)) < 0)
            return err;
    return whole < 0 ? whole : 0;
}

/* The whole answer into IN, head included. */
static int read_whole_answer(int fd, struct buf *in, uint64_t deadline_ms, struct http_head *ret) {
    int err = read_head(fd, in, deadline_ms, ret);
    if (err < 0)
        return err;
    while (ret->body_len == SIZE_MAX || buf_len(in) - ret->len < ret->body_len) {
        err = read_more(fd, in, deadline_ms);
        if (err == ERR_CLOSED && ret->body_len == SIZE_MAX)
            return 0;
        if (err < 0)
            return err;
    }
    return buf_len(in) - ret->len > ret->body_len ? ERR_FORMAT : 0;
}

int http_ask(const char *path, const char *method, const char *target, uint64_t deadline_ms, struct http_answer *ret) {
    char request[2048];
    struct text t = text_of(request, sizeof(request));
    struct http_head head = {0};
    struct buf in;
    int fd, err = open_admin_stream(path, deadline_ms, &fd);
    if (err < 0)
        return err;
    buf_init(&in, HTTP_CLIENT_HEAD_MAX + HTTP_CLIENT_BODY_MAX + READ_AT_ONCE);
    text_addf(&t, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", method, target);
    text_add(&t, strcmp(method, "POST") == 0 ? "Content-Length: 0\r\n\r\n" : "\r\n");
    err = t.cut ? ERR_LIMIT : send_all(fd, request, t.len, deadline_ms);
    if (err == 0)
        err = read_whole_answer(fd, &in, deadline_ms, &head);
    int error = errno;
    close(fd);
    errno = error;
    if (err < 0) {
        buf_fini(&in);
        return err;
    }
    ret->status = head.status;
    if (head.len < buf_len(&in))
        buf_consume(&in, head.len);
    else
        buf_fini(&in);
    ret->body = in;
    return 0;
}

static int pass_pieces(int fd, struct buf *in, http_piece_fn take, void *ctx) {
    for (;;) {
        struct span piece = buf_span(in);
        if (piece.len && !take(ctx, piece))
            return 0;
        buf_consume(in, piece.len);
        int err = read_more(fd, in, clock_mono_ms() + HTTP_SILENT_MS);
        if (err < 0)
            return err == ERR_CLOSED ? 0 : err;
    }
}

int http_follow(const char *path, const char *target, uint64_t deadline_ms, http_piece_fn take, void *ctx,
                struct http_answer *ret) {
    char request[2304];
    struct text t = text_of(request, sizeof(request));
    struct http_head head = {0};
    int fd, err = open_admin_stream(path, deadline_ms, &fd);
    if (err < 0)
        return err;
    buf_init(&ret->body, HTTP_CLIENT_HEAD_MAX + 2 * READ_AT_ONCE);
    text_addf(&t, "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", target); /* in 1.0 nothing is chunked */
    err = t.cut ? ERR_LIMIT : send_all(fd, request, t.len, deadline_ms);
    if (err == 0)
        err = read_head(fd, &ret->body, deadline_ms, &head);
    ret->status = err == 0 ? head.status : 0;
    if (err == 0)
        buf_consume(&ret->body, head.len);
    if (err == 0 && head.status == 200)
        err = pass_pieces(fd, &ret->body, take, ctx);
    else
        while (err == 0 && (err = read_more(fd, &ret->body, deadline_ms)) == 0)
            continue;
    close(fd);
    return ret->status && ret->status != 200 && err == ERR_CLOSED ? 0 : err;
}
