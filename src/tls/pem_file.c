#include "tls/pem_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/secret.h"

void pem_file_fini(struct pem_file *f) {
    secret_free(f->p, f->cap);
    f->p = NULL;
    f->len = f->cap = 0;
}

static int pem_file_error(struct text *why, int err, const char *file, const char *message) {
    text_addf(why, "%s: %s", file, message);
    return err;
}

static int pem_file_errno(struct text *why, const char *file, const char *what) {
    text_addf(why, "%s: %s: %s", file, what, strerror(errno));
    return ERR_SYSTEM;
}

/* Reads until the end of the file; it must not have grown past the size from fstat(). */
static int read_whole(int fd, const char *file, const char *wanted, struct pem_file *f, struct text *why) {
    while (f->len < f->cap) {
        ssize_t n = read(fd, f->p + f->len, f->cap - f->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pem_file_errno(why, file, "cannot be read");
        if (n == 0 && f->len)
            return 0;
        if (n == 0) {
            text_addf(why, "%s: the file is empty, expected %s", file, wanted);
            return ERR_FORMAT;
        }
        f->len += (size_t)n;
    }
    return pem_file_error(why, ERR_FORMAT, file, "the file changed while it was read");
}

/* Where it is and when it was written, as one number. */
static uint64_t stamp_of(const struct stat *st) {
    const uint64_t parts[] = {(uint64_t)st->st_dev,         (uint64_t)st->st_ino,          (uint64_t)st->st_size,
                              (uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec, (uint64_t)st->st_ctim.tv_nsec};
    uint64_t stamp = 0;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        stamp = (stamp ^ parts[i]) * UINT64_C(0x9e3779b97f4a7c15) + 1;
    return stamp;
}

static int check_pem_file(int fd, const char *file, const char *wanted, struct pem_file *f, size_t *ret_size,
                          struct text *why) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return pem_file_errno(why, file, "cannot be read");
    if (!S_ISREG(st.st_mode)) {
        text_addf(why, "%s: found %s, expected %s", file, S_ISDIR(st.st_mode) ? "a directory" : "no regular file", wanted);
        return ERR_FORMAT;
    }
    if (st.st_size > PEM_FILE_MAX)
        return pem_file_error(why, ERR_FORMAT, file, "the file is longer than 1 MiB");
    f->mode = st.st_mode & 07777;
    f->owner = st.st_uid;
    f->stamp = stamp_of(&st);
    *ret_size = (size_t)st.st_size;
    return 0;
}

static int open_file(const char *file, const char *wanted, struct pem_file *f, int *ret_fd, size_t *ret_size,
                     struct text *why) {
    *f = (struct pem_file){.p = NULL};
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a FIFO must not block us */
    if (fd < 0)
        return pem_file_errno(why, file, "cannot be opened");
    int err = check_pem_file(fd, file, wanted, f, ret_size, why);
    if (err)
        (void)close(fd); /* nothing was written */
    else
        *ret_fd = fd;
    return err;
}

int pem_file_read(const char *file, const char *wanted, struct pem_file *ret, struct text *why) {
    int fd;
    size_t size;
    int err = open_file(file, wanted, ret, &fd, &size, why);
    if (err)
        return err;
    ret->cap = size + 1;
    ret->p = secret_alloc(ret->cap, NULL);
    err = ret->p ? read_whole(fd, file, wanted, ret, why) : pem_file_error(why, ERR_NOMEM, file, "out of memory");
    if (err)
        pem_file_fini(ret);
    (void)close(fd); /* nothing was written */
    return err;
}

int pem_file_look(const char *file, const char *wanted, struct pem_file *ret, struct text *why) {
    int fd;
    size_t size;
    int err = open_file(file, wanted, ret, &fd, &size, why);
    if (err)
        return err;
    (void)close(fd); /* nothing was written */
    if (size)
        return 0;
    text_addf(why, "%s: the file is empty, expected %s", file, wanted);
    return ERR_FORMAT;
}
