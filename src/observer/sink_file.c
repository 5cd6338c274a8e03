/*
 * A file, stderr or stdout. Lines are gathered and written together, and nothing waits: while a pipe or a terminal takes
 * nothing its lines stay in the batch, and those that find no room there are lost. A line that was cut by a full disk is ended
 * before the next one begins, so a reader never takes two halves for one line.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/nowait.h"
#include "observer/sink.h"

static int log_file_open(struct sink *s, struct text *why) {
    (void)why;
    if (s->path) /* it comes open */
        return 0;
    int fd = nowait_open(s->fd);
    s->is_own = fd >= 0;
    s->fd = s->is_own ? fd : s->fd;
    return 0;
}

/* Pipes take so much whole or not at all: cut at the end of a line, no reader sees half of one, even with other writers. */
static size_t stream_chunk(const char *p, size_t len) {
    if (len <= PIPE_BUF)
        return len;
    const char *end = memrchr(p, '\n', PIPE_BUF);
    return end ? (size_t)(end - p) + 1 : PIPE_BUF;
}

/* How many bytes of it went out: all, or fewer with errno. */
static size_t write_all(const struct sink *s, const char *p, size_t len) {
    size_t done = 0;
    while (done < len) {
        size_t chunk = s->path ? len - done : stream_chunk(p + done, len - done);
        ssize_t n = nowait_write(s->fd, p + done, chunk);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0)
            errno = EIO;
        if (n == 0 || (n < 0 && errno != EINTR))
            break;
    }
    return done;
}

static uint64_t count_lines(const char *p, size_t len) {
    uint64_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += p[i] == '\n';
    return n;
}

static void log_file_flush(struct sink *s) {
    if (s->batch_len == 0)
        return;
    size_t done = 0;
    if (s->torn && write_all(s, "\n", 1) == 1)
        s->torn = false;
    if (!s->torn)
        done = write_all(s, s->batch, s->batch_len);
    size_t left = s->batch_len - done;
    if (left > 0 && errno == EAGAIN) {
        memmove(s->batch, s->batch + done, left);
        s->batch_len = left;
        return;
    }
    if (left > 0)
        sink_lose(s, errno, count_lines(s->batch + done, left));
    if (done > 0)
        s->torn = s->batch[done - 1] != '\n';
    s->batch_len = 0;
}

static void log_file_put(struct sink *s, const struct fields *f) {
    struct text t = text_of(s->line, sizeof(s->line) - 1); /* one byte is the end of line's */
    format_line(&t, s->format, f, true);
    t.p[t.len++] = '\n';
    memcpy(s->batch + s->batch_len, t.p, t.len);
    s->batch_len += t.len;
}

static void log_file_close(struct sink *s) {
    if (s->batch_len > 0)
        sink_lose(s, EAGAIN, count_lines(s->batch, s->batch_len));
    if (s->is_own && s->fd >= 0)
        close(s->fd);
}

const struct sink_ops sink_file_ops = {log_file_open, log_file_put, log_file_flush, log_file_close};
