/*
 * systemd's journal: every field under its own name, and the line for people as the message. One datagram an entry, as
 * systemd's "Native Journal Protocol" describes it, and not through libsystemd, which waits for a journal that does not read.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "observer/datagram.h"
#include "observer/sink.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define JOURNAL_PREFIX "TLS_OFF_"

static int journal_open(struct sink *s, struct text *why) {
    s->fd = -1;
    s->path = JOURNAL_SOCKET;
    if (access(JOURNAL_SOCKET, W_OK) == 0)
        return 0;
    text_addf(why, "the journal: %s: %s", JOURNAL_SOCKET, strerror(errno));
    return ERR_SYSTEM;
}

/* "NAME=value\n"; a value of several lines has its length before it instead (64 bits, little endian). */
static void add_field(struct text *entry, const char *prefix, const char *name, struct span value) {
    text_add(entry, prefix);
    for (const char *p = name; *p; p++) {
        char c = (char)toupper((unsigned char)*p);
        text_add_span(entry, span_of(&c, 1));
    }
    if (memchr(value.p, '\n', value.len)) {
        char len[8];
        for (unsigned i = 0; i < sizeof(len); i++)
            len[i] = (char)(value.len >> 8 * i);
        text_add(entry, "\n");
        text_add_span(entry, span_of(len, sizeof(len)));
    } else {
        text_add(entry, "=");
    }
    text_add_span(entry, value);
    text_add(entry, "\n");
}

static void journal_put(struct sink *s, const struct fields *f) {
    struct text entry = text_of(s->batch, sizeof(s->batch)), line = text_of(s->line, sizeof(s->line));
    format_line(&line, s->format, f, false);
    add_field(&entry, "", "message", span_of(line.p, line.len));
    char priority = (char)('0' + sink_priority(f->level));
    add_field(&entry, "", "priority", span_of(&priority, 1));
    add_field(&entry, "", "syslog_identifier", span_str("tls-off"));
    for (size_t i = 0; i < f->n; i++)
        add_field(&entry, JOURNAL_PREFIX, f->list[i].name, f->list[i].value);
    s->batch_len = entry.len;
    datagram_flush(s);
}

const struct sink_ops sink_journal_ops = {journal_open, journal_put, datagram_flush, datagram_end};
