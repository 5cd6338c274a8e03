#include "supervisor/hook_output.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "supervisor/super.h"

#define PIECE_MAX 65536 /* read at once: as much as a pipe has */
#define LEFT_MAX  16    /* pieces that are read after the end: what has left the program's session may write for ever */

int hook_output_open(struct super *s, struct hook_output *o, int *ret) {
    int ends[2];
    *o = (struct hook_output){.fd = -1};
    if (pipe2(ends, O_CLOEXEC) < 0)
        return ERR_SYSTEM;
    /* `echo x >/dev/stderr` opens it again, as another user than ours */
    if (fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 && fchmod(ends[1], 0622) == 0 &&
        loop_watch(&s->loop, ends[0], EPOLLIN, SUPER_HOOK, 0, 0) == 0) {
        o->fd = ends[0];
        *ret = ends[1];
        return 0;
    }
    int error = errno;
    close(ends[0]);
    close(ends[1]);
    errno = error;
    return ERR_SYSTEM;
}

void hook_output_close(struct hook_output *o) {
    if (o->fd >= 0)
        close(o->fd);
    o->fd = -1;
}

/* ---- lines ---- */

static void log_line(struct super *s, struct hook_output *o, const char *prefix) {
    if (o->line_len) {
        log_msg(&s->log, LOG_LEVEL_INFO, "%s%.*s", prefix, (int)o->line_len, o->line);
        o->lines++;
    }
    o->line_len = 0;
}

static void take_byte(struct super *s, struct hook_output *o, const char *prefix, char c) {
    o->len++;
    if (!o->over && (o->len > HOOK_OUTPUT_MAX || (o->lines == HOOK_OUTPUT_LINES && c != '\n'))) {
        o->over = true;
        if (o->lines < HOOK_OUTPUT_LINES)
            log_line(s, o, prefix);
    }
    if (o->over) {
        o->omitted++;
        return;
    }
    if (c != '\n')
        o->line[o->line_len++] = c ? c : ' ';
    if (c == '\n' || o->line_len == HOOK_LINE_MAX)
        log_line(s, o, prefix);
}

/* ---- reading ---- */

bool hook_output_read(struct super *s, struct hook_output *o, const char *prefix) {
    static char piece[PIECE_MAX];
    ssize_t n = o->fd >= 0 ? read(o->fd, piece, sizeof(piece)) : 0;
    for (ssize_t i = 0; i < n; i++)
        take_byte(s, o, prefix, piece[i]);
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

void hook_output_end(struct super *s, struct hook_output *o, const char *prefix) {
    for (unsigned i = 0; i < LEFT_MAX; i++) {
        uint64_t len = o->len;
        if (!hook_output_read(s, o, prefix) || o->len == len)
            break;
    }
    hook_output_close(o);
    if (!o->over)
        log_line(s, o, prefix);
    if (o->omitted)
        log_msg(&s->log, LOG_LEVEL_WARNING,
                "%s%llu more bytes of its output are not logged, the limit is %d bytes and %d lines", prefix,
                (unsigned long long)o->omitted, HOOK_OUTPUT_MAX, HOOK_OUTPUT_LINES);
}
