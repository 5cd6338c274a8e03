/*
 * Where log lines go. A sink never fails its caller and never waits for anybody: a line that it cannot hand on is counted as
 * lost at that moment.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/text.h"
#include "conf/conf.h"
#include "observer/fields.h"
#include "observer/format.h"

#define SINK_BATCH_LEN (64 * 1024)

struct sink;

/* One target. FLUSH and REOPEN may be NULL: nothing to do. */
struct sink_ops {
    /* ERR_SYSTEM, ERR_UNSUPPORTED with a sentence in WHY. */
    int (*open)(struct sink *s, struct text *why);
    void (*put)(struct sink *s, const struct fields *f);
    void (*flush)(struct sink *s);
    int (*reopen)(struct sink *s);
    void (*close)(struct sink *s);
};

struct sink {
    const struct sink_ops *ops;
    enum log_format format;
    const char *path; /* borrowed from the configuration; NULL = stdout, stderr or no file */
    int fd;
    bool is_own;   /* FD is closed by us */
    bool torn;     /* the last line written is not whole */
    uint64_t lost; /* lines, ever */
    int error;     /* errno of the last loss; 0 = none was lost */
    size_t batch_len;
    char batch[SINK_BATCH_LEN];
    char line[FORMAT_LINE_MAX];
};

extern const struct sink_ops sink_file_ops, sink_syslog_ops, sink_journal_ops;

/* What the configuration says; keeps its file name. Large: static storage. Errors of the target with a sentence in WHY. */
MUST_CHECK int sink_open(struct sink *s, const struct conf *conf, struct text *why);
void sink_close(struct sink *s);

/* One event. May be kept until sink_flush(). */
void sink_put(struct sink *s, const struct fields *f);
void sink_flush(struct sink *s);

/* For the targets: N lines did not go out. */
void sink_lose(struct sink *s, int error, uint64_t n);

/* What to call the error of a loss. */
const char *sink_error_text(int error);

/* A log file opened anew by its name; the old one stays in use when that fails. ERR_SYSTEM (errno). */
MUST_CHECK int sink_reopen(struct sink *s);

/* The owner of a log file that was just made, so that it may reopen it later without the rights of root. */
void sink_give_to(struct sink *s, const char *user);

/* syslog's number for a level; the journal uses the same. */
int sink_priority(enum log_level level);
