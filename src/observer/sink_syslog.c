/*
 * syslog, over its own socket instead of syslog(3): that one waits for a daemon that does not read, and does not tell what
 * became of a line. Here nothing waits, and what does not arrive is counted. A daemon that comes back is found again.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "observer/sink.h"

#define SYSLOG_SOCKET "/dev/log"

/* Without a daemon there is no socket to send to; the next line tries again. */
static void open_socket(struct sink *s) {
    const struct sockaddr_un sun = {.sun_family = AF_UNIX, .sun_path = SYSLOG_SOCKET};
    s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || connect(s->fd, (const struct sockaddr *)&sun, sizeof(sun)) == 0)
        return;
    int error = errno;
    close(s->fd);
    s->fd = -1;
    errno = error;
}

static int syslog_open(struct sink *s, struct text *why) {
    (void)why;
    open_socket(s);
    return 0;
}

/* "<30>Nov 24 18:03:11 tls-off[4711]: " as syslog(3) writes it (RFC 3164 4.1); names of months are not the locale's. */
static void add_head(struct text *t, enum log_level level) {
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = time(NULL);
    struct tm tm;
    text_addf(t, "<%d>", LOG_DAEMON | sink_priority(level));
    if (localtime_r(&now, &tm))
        text_addf(t, "%.3s %2d %02d:%02d:%02d ", months + 3 * tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    text_addf(t, "tls-off[%d]: ", (int)getpid());
}

static bool send_line(struct sink *s, const struct text *t) {
    if (s->fd < 0)
        open_socket(s);
    return s->fd >= 0 && send(s->fd, t->p, t->len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)t->len;
}

/* The socket of a daemon that has ended is of no use for the next one. */
static bool is_gone(int error) {
    return error == ECONNREFUSED || error == ENOTCONN || error == ECONNRESET;
}

static void syslog_put(struct sink *s, const struct fields *f) {
    struct text t = text_of(s->line, sizeof(s->line));
    add_head(&t, f->level);
    format_line(&t, s->format, f, false);
    if (send_line(s, &t))
        return;
    if (s->fd >= 0 && is_gone(errno)) {
        close(s->fd);
        s->fd = -1;
        if (send_line(s, &t))
            return;
    }
    s->error = errno;
    s->lost++;
}

static void syslog_close(struct sink *s) {
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

const struct sink_ops sink_syslog_ops = {syslog_open, syslog_put, NULL, NULL, syslog_close};
