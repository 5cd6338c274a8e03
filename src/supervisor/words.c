#include "supervisor/words.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "supervisor/super.h"

/* Full of zeros, and never larger: writing behind the end fails. */
int words_new(void) {
    int fd = memfd_create("tls-off-words", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || (ftruncate(fd, WORDS_MAX) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0))
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* At the first start to stderr, as no observer reads the log yet. */
static void log_words_line(struct super *s, const struct worker *w, const char *line, int len) {
    if (s->now)
        log_msg(&s->log, LOG_LEVEL_ERROR, "%s.%u (pid %d) said: %.*s", role_name(w->role), w->index, (int)w->pid, len, line);
    else
        fprintf(stderr, "tls-off: %s.%u said: %.*s\n", role_name(w->role), w->index, len, line);
}

void words_log(struct super *s, struct worker *w) {
    char text[WORDS_MAX];
    ssize_t n = w->words >= 0 ? pread(w->words, text, sizeof(text), 0) : 0;
    const char *end = text + strnlen(text, n > 0 ? (size_t)n : 0);
    for (const char *p = text, *next; p < end; p = next + 1) {
        next = memchr(p, '\n', (size_t)(end - p));
        next = next ? next : end;
        if (next > p)
            log_words_line(s, w, p, (int)(next - p));
    }
    if (w->words >= 0)
        close(w->words);
    w->words = -1;
}
