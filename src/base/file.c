#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"

#define MIB (1024u * 1024)

static int file_errno(const struct file *f, const char *what, struct text *why) {
    text_addf(why, "%s: %s: %s", f->path, what, strerror(errno));
    return ERR_SYSTEM;
}

static const char *type_name(mode_t mode) {
    return S_ISDIR(mode) ? "a directory" : S_ISFIFO(mode) ? "a FIFO" : S_ISSOCK(mode) ? "a socket" : "a device";
}

int file_check(struct file *f, struct text *why) {
    if (fstat(f->fd, &f->st) < 0)
        return file_errno(f, "cannot be read", why);
    if (!S_ISREG(f->st.st_mode))
        text_addf(why, "%s: found %s, expected %s", f->path, type_name(f->st.st_mode), f->expected);
    else if (f->st.st_size < 0 || (uint64_t)f->st.st_size > f->max)
        text_addf(why, "%s: the file is longer than %zu %s, expected %s", f->path, f->max % MIB ? f->max : f->max / MIB,
                  f->max % MIB ? "bytes" : "MiB", f->expected);
    else
        return 0;
    return ERR_FORMAT;
}

int file_open(struct file *f, struct text *why) {
    f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a FIFO must not block us */
    if (f->fd < 0)
        return file_errno(f, "cannot be opened", why);
    int err = file_check(f, why);
    if (err < 0)
        file_close(f);
    return err;
}

int file_read(const struct file *f, uint8_t *to, size_t *ret_len, struct text *why) {
    ssize_t n = to && lseek(f->fd, 0, SEEK_SET) == 0 ? fd_read_all(f->fd, to, file_room(f)) : -1;
    *ret_len = n > 0 ? (size_t)n : 0;
    if (!to) {
        text_addf(why, "%s: cannot be read: out of memory", f->path);
        return ERR_NOMEM;
    }
    if (n < 0)
        return file_errno(f, "cannot be read", why);
    if (n > 0 && n == f->st.st_size)
        return 0;
    if (n > 0)
        text_addf(why, "%s: the file changed while it was read", f->path);
    else
        text_addf(why, "%s: the file is empty, expected %s", f->path, f->expected);
    return ERR_FORMAT;
}

void file_close(struct file *f) {
    if (f->fd >= 0)
        (void)close(f->fd); /* was only read */
    f->fd = -1;
}

ssize_t fd_read_all(int fd, void *to, size_t cap) {
    size_t len = 0;
    while (len < cap) {
        ssize_t n = read(fd, (uint8_t *)to + len, cap - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

ssize_t input_read_all(const char *name, void *to, size_t cap) {
    bool given = strcmp(name, INPUT_STDIN) == 0;
    int fd = given ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -1;
    ssize_t n = fd_read_all(fd, to, cap);
    int saved = errno;
    if (!given)
        (void)close(fd); /* was only read */
    errno = saved;
    return n;
}

struct span file_read_own(const char *path, void *to, size_t cap) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : fd_read_all(fd, to, cap);
    if (fd >= 0)
        (void)close(fd); /* was only read */
    return span_of(to, n > 0 ? (size_t)n : 0);
}

int fd_write_all(int fd, struct span bytes) {
    while (bytes.len) {
        ssize_t n = write(fd, bytes.p, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ERR_SYSTEM;
        bytes = span_of(bytes.p + n, bytes.len - (size_t)n);
    }
    return 0;
}
