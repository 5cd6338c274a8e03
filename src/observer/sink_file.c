/*
 * A file, stderr or stdout. Lines are gathered and written together; one that was cut by a full disk is ended before the next
 * one begins, so a reader never takes two halves for one line.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "observer/sink.h"

#define PATIENCE_MS 1000 /* for a pipe that somebody made non-blocking */

static int open_path(const char *path) {
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
}

static int file_open(struct sink *s, struct text *why) {
    if (!s->path)
        return 0;
    s->fd = open_path(s->path);
    if (s->fd >= 0)
        return 0;
    text_addf(why, "log file %s: %s", s->path, strerror(errno));
    return ERR_SYSTEM;
}

/* Waits for room where the descriptor itself would not. */
static bool wait_room(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, PATIENCE_MS) > 0 && (p.revents & POLLOUT);
}

/* How many bytes of it went out: all, or fewer with errno. */
static size_t write_all(int fd, const char *p, size_t len) {
    size_t done = 0;
    while (done < len) {
        ssize_t n = write(fd, p + done, len - done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0)
            errno = EIO;
        if (n == 0 || (n < 0 && errno != EINTR && !(errno == EAGAIN && wait_room(fd))))
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

static void file_flush(struct sink *s) {
    if (s->batch_len == 0)
        return;
    size_t done = 0;
    if (s->torn && write_all(s->fd, "\n", 1) == 1)
        s->torn = false;
    if (!s->torn)
        done = write_all(s->fd, s->batch, s->batch_len);
    if (done < s->batch_len) {
        s->error = errno;
        s->lost += count_lines(s->batch + done, s->batch_len - done);
    }
    if (done > 0)
        s->torn = s->batch[done - 1] != '\n';
    s->batch_len = 0;
}

static void file_put(struct sink *s, const struct fields *f) {
    struct text t = text_of(s->line, sizeof(s->line) - 1); /* one byte is the end of line's */
    format_line(&t, s->format, f, true);
    t.p[t.len++] = '\n';
    if (t.len > sizeof(s->batch) - s->batch_len)
        file_flush(s);
    memcpy(s->batch + s->batch_len, t.p, t.len);
    s->batch_len += t.len;
}

static int file_reopen(struct sink *s) {
    if (!s->path)
        return 0;
    int fd = open_path(s->path);
    if (fd < 0)
        return ERR_SYSTEM;
    file_flush(s);
    close(s->fd);
    s->fd = fd;
    s->torn = false;
    return 0;
}

static void file_close(struct sink *s) {
    if (s->path)
        close(s->fd);
}

const struct sink_ops sink_file_ops = {file_open, file_put, file_flush, file_reopen, file_close};
