/*
 * Where log lines go. A sink never fails its caller and never waits for anybody. What is not taken now it keeps, and then it
 * has no room for more (sink_has_room()), so that events stay where they are. A line that is put nevertheless, or that cannot
 * be handed on at all, is counted as lost at that moment.
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

#define SINK_BATCH_LEN (128 * 1024)

struct sink;

/* One target. PUT is called while there is room. */
struct sink_ops {
    /* ERR_SYSTEM, ERR_UNSUPPORTED with a sentence in WHY. */
    int (*open)(struct sink *s, struct text *why);
    void (*put)(struct sink *s, const struct fields *f);
    void (*flush)(struct sink *s);
    void (*close)(struct sink *s);
};

struct sink {
    const struct sink_ops *ops;
    enum log_format format;
    const char *path; /* of a file, borrowed from the configuration, or a daemon's socket; NULL = stdout or stderr */
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

/*
 * What the configuration says; a log file comes by sink_use(). Large: static storage. Errors of the target with a sentence in
 * WHY.
 */
MUST_CHECK int sink_open(struct sink *s, const struct conf *conf, struct text *why);
void sink_close(struct sink *s);

/* Whether a line that is put now is kept. Tries to make room. */
bool sink_has_room(struct sink *s);

/* One event. May be kept until sink_flush(); lost without room. */
void sink_put(struct sink *s, const struct fields *f);
void sink_flush(struct sink *s);

/* For the targets: N lines did not go out. */
void sink_lose(struct sink *s, int error, uint64_t n);

/* Until what is kept is taken, TIMEOUT_MS at the longest: for the end, when no request is left. */
void sink_wait(struct sink *s, int timeout_ms);

/* What to call the error of a loss. */
const char *sink_error_text(int error);

/* Goes on in another log file, owned from here; what is kept still goes into the one before. */
void sink_use(struct sink *s, int file);

/* syslog's number for a level; the journal uses the same. */
int sink_priority(enum log_level level);
