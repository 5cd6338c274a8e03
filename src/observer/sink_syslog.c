/*
 * syslog, over its own socket instead of syslog(3): that one waits for a daemon that does not read, and does not say what
 * became of a line. Without a daemon there is no socket to send to; the next line tries again.
 */
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "observer/datagram.h"
#include "observer/sink.h"

#define SYSLOG_SOCKET "/dev/log"

static int syslog_open(struct sink *s, struct text *why) {
    (void)why;
    s->fd = -1;
    s->path = SYSLOG_SOCKET;
    return 0;
}

/* "<30>Nov 24 18:03:11 tls-off[4711]: " as syslog(3) writes it (RFC 3164 4.1); names of months are not the locale's. */
static void add_syslog_head(struct text *t, enum log_level level) {
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = time(NULL);
    struct tm tm;
    text_addf(t, "<%d>", LOG_DAEMON | sink_priority(level));
    if (localtime_r(&now, &tm))
        text_addf(t, "%.3s %2d %02d:%02d:%02d ", months + 3 * tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    text_addf(t, "tls-off[%d]: ", (int)getpid());
}

static void syslog_put(struct sink *s, const struct fields *f) {
    struct text t = text_of(s->batch, FORMAT_LINE_MAX);
    add_syslog_head(&t, f->level);
    format_line(&t, s->format, f, false);
    s->batch_len = t.len;
    datagram_flush(s);
}

const struct sink_ops sink_syslog_ops = {syslog_open, syslog_put, datagram_flush, datagram_end};
