#include "supervisor/words.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "supervisor/super.h"

/* Full of zeros, and never larger: writing behind the end fails. */
int words_new(size_t max) {
    int fd = memfd_create("tls-off-words", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || (ftruncate(fd, (off_t)max) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0))
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

void words_each(int fd, void (*fn)(void *ctx, const char *line, int len), void *ctx) {
    char text[WORDS_MAX];
    ssize_t n = fd >= 0 ? pread(fd, text, sizeof(text), 0) : 0;
    const char *end = text + strnlen(text, n > 0 ? (size_t)n : 0);
    for (const char *p = text, *next; p < end; p = next + 1) {
        next = memchr(p, '\n', (size_t)(end - p));
        next = next ? next : end;
        if (next > p)
            fn(ctx, p, (int)(next - p));
    }
}

struct speaker {
    struct super *s;
    const struct worker *w;
};

/* At the first start to stderr, as no observer reads the log yet. */
static void log_words_line(void *ctx, const char *line, int len) {
    const struct speaker *by = ctx;
    const struct worker *w = by->w;
    if (by->s->now)
        log_msg(&by->s->log, LOG_LEVEL_ERROR, "%s.%u (pid %d) said: %.*s", role_name(w->role), w->index, (int)w->pid, len,
                line);
    else
        fprintf(stderr, "tls-off: %s.%u said: %.*s\n", role_name(w->role), w->index, len, line);
}

void words_log(struct super *s, struct worker *w) {
    words_each(w->words, log_words_line, &(struct speaker){s, w});
    if (w->words >= 0)
        close(w->words);
    w->words = -1;
}
