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

void words_log(struct super *s, struct worker *w) {
    char room[WORDS_MAX], before[64];
    ssize_t n = w->words >= 0 ? pread(w->words, room, WORDS_MAX, 0) : 0;
    struct span text = span_of(room, strnlen(room, n > 0 ? (size_t)n : 0));
    struct text by = text_of(before, sizeof(before));
    text_addf(&by, "%s.%u ", role_name(w->role), w->index);
    if (s->now)
        text_addf(&by, "(pid %d) ", (int)w->pid);
    text_add(&by, "said: ");
    if (s->now)
        log_lines(&s->log, LOG_LEVEL_ERROR, before, text);
    for (struct span line; !s->now && span_take_line(&text, &line);) /* no observer reads the log yet */
        fprintf(stderr, "tls-off: %s%.*s\n", before, (int)line.len, (const char *)line.p);
    if (w->words >= 0)
        close(w->words);
    w->words = -1;
}
