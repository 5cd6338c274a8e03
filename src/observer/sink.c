#include "observer/sink.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "base/err.h"

static const struct sink_ops *ops_of(enum log_target target) {
    switch (target) {
    case LOG_TO_SYSLOG:
        return &sink_syslog_ops;
    case LOG_TO_JOURNAL:
        return &sink_journal_ops;
    default:
        return &sink_file_ops;
    }
}

int sink_open(struct sink *s, const struct conf *conf, struct text *why) {
    memset(s, 0, sizeof(*s));
    s->ops = ops_of(conf->log_target);
    s->format = conf->log_format;
    s->fd = conf->log_target == LOG_TO_STDOUT ? STDOUT_FILENO : STDERR_FILENO;
    if (conf->log_target == LOG_TO_FILE) {
        s->path = conf->log_file;
        s->fd = -1;
        s->is_own = true;
    }
    int err = s->ops->open(s, why);
    if (err < 0)
        s->ops = NULL;
    return err;
}

void sink_close(struct sink *s) {
    if (!s->ops)
        return;
    sink_flush(s);
    s->ops->close(s);
    s->ops = NULL;
}

/* A datagram is one entry, and fills the batch. */
static bool fits_another(const struct sink *s) {
    return s->batch_len == 0 || (s->ops == &sink_file_ops && s->batch_len + FORMAT_LINE_MAX <= SINK_BATCH_LEN);
}

bool sink_has_room(struct sink *s) {
    if (!fits_another(s))
        sink_flush(s);
    return fits_another(s);
}

void sink_put(struct sink *s, const struct fields *f) {
    if (sink_has_room(s))
        s->ops->put(s, f);
    else
        sink_lose(s, EAGAIN, 1);
}

void sink_flush(struct sink *s) {
    s->ops->flush(s);
}

void sink_wait(struct sink *s, int timeout_ms) {
    struct pollfd p = {.fd = s->fd, .events = POLLOUT};
    if (s->batch_len > 0)
        (void)poll(&p, 1, timeout_ms); /* the flush returns the result */
    sink_flush(s);
}

void sink_lose(struct sink *s, int error, uint64_t n) {
    s->lost += n;
    s->error = error;
}

const char *sink_error_text(int error) {
    return error == EAGAIN ? "its reader does not read" : strerror(error);
}

void sink_use(struct sink *s, int file) {
    if (s->ops != &sink_file_ops || !s->path) {
        close(file);
        return;
    }
    sink_flush(s);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = file;
    s->torn = false;
}

int sink_priority(enum log_level level) {
    static const int priorities[] = {
        [LOG_LEVEL_ERROR] = LOG_ERR,
        [LOG_LEVEL_WARNING] = LOG_WARNING,
        [LOG_LEVEL_INFO] = LOG_INFO,
        [LOG_LEVEL_DEBUG] = LOG_DEBUG,
    };
    return (unsigned)level < ARRAY_LEN(priorities) ? priorities[level] : LOG_ERR;
}
