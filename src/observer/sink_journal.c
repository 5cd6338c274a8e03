/* systemd's journal: every field under its own name, and the line for people as the message. */
#include "observer/sink.h"

#include "base/err.h"

#ifdef HAVE_SYSTEMD

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#define SD_JOURNAL_SUPPRESS_LOCATION /* the place in this file says nothing about the event */
#include <systemd/sd-journal.h>
#include <unistd.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define JOURNAL_MAX    (FIELDS_MAX + 3)
#define PREFIX         "TLS_OFF_"

/* The library is silent when there is no journal, so it is asked for once, at the start. */
static int journal_open(struct sink *s, struct text *why) {
    (void)s;
    if (access(JOURNAL_SOCKET, W_OK) == 0)
        return 0;
    text_addf(why, "the journal: %s: %s", JOURNAL_SOCKET, strerror(errno));
    return ERR_SYSTEM;
}

/* Entries are gathered one behind the other in the sink's batch; what does not fit is left out. */
struct entry {
    struct text text;
    struct iovec iov[JOURNAL_MAX];
    int n;
};

static void end_field(struct entry *e, size_t start) {
    if (e->n < JOURNAL_MAX && !e->text.cut)
        e->iov[e->n++] = (struct iovec){e->text.p + start, e->text.len - start};
}

static void add_field(struct entry *e, const struct field *f) {
    size_t start = e->text.len;
    text_add(&e->text, PREFIX);
    for (const char *p = f->name; *p; p++) {
        char c = (char)toupper((unsigned char)*p);
        text_add_span(&e->text, span_of(&c, 1));
    }
    text_add(&e->text, "=");
    text_add_span(&e->text, f->value);
    end_field(e, start);
}

static void journal_put(struct sink *s, const struct fields *f) {
    struct entry e = {.text = text_of(s->batch, sizeof(s->batch))};
    text_add(&e.text, "MESSAGE=");
    format_line(&e.text, s->format, f, false);
    end_field(&e, 0);
    size_t start = e.text.len;
    text_addf(&e.text, "PRIORITY=%d", sink_priority(f->level));
    end_field(&e, start);
    start = e.text.len;
    text_add(&e.text, "SYSLOG_IDENTIFIER=tls-off");
    end_field(&e, start);
    for (size_t i = 0; i < f->n; i++)
        add_field(&e, &f->list[i]);

    int err = sd_journal_sendv(e.iov, e.n);
    if (err < 0) {
        s->error = -err;
        s->lost++;
    }
}

#else

static int journal_open(struct sink *s, struct text *why) {
    (void)s;
    text_add(why, "this tls-off was built without libsystemd: log.target \"journal\" is not to be had");
    return ERR_UNSUPPORTED;
}

static void journal_put(struct sink *s, const struct fields *f) {
    (void)f;
    s->lost++;
}

#endif

static void journal_close(struct sink *s) {
    (void)s;
}

const struct sink_ops sink_journal_ops = {journal_open, journal_put, NULL, NULL, journal_close};
