/* syslog(3). It does not say whether a line arrived, so nothing is ever counted as lost here. */
#include <syslog.h>

#include "observer/sink.h"

static int syslog_open(struct sink *s, struct text *why) {
    (void)s;
    (void)why;
    openlog("tls-off", LOG_PID | LOG_NDELAY, LOG_DAEMON);
    return 0;
}

/* Time and level are syslog's own. */
static void syslog_put(struct sink *s, const struct fields *f) {
    struct text t = text_of(s->line, sizeof(s->line));
    format_line(&t, s->format, f, false);
    syslog(LOG_DAEMON | sink_priority(f->level), "%s", t.p);
}

static void syslog_close(struct sink *s) {
    (void)s;
    closelog();
}

const struct sink_ops sink_syslog_ops = {syslog_open, syslog_put, NULL, NULL, syslog_close};
