#include "conf/ticket_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/owner.h"
#include "base/rand.h"
#include "base/rd.h"
#include "base/sealed.h"
#include "base/secret.h"

#define FORBIDDEN (S_IWGRP | S_IRWXO) /* a group may read it: mounts of secrets come so */

static int close_with(int fd, int err) {
    int saved = errno;
    (void)close(fd); /* nothing in it is lost: it was read, or is given up */
    errno = saved;
    return err;
}

/* Checks owner, mode and size. */
static int check_secret_file(const char *file, const struct stat *st, struct text *why) {
    size_t before = why->len;
    if (!S_ISREG(st->st_mode))
        text_addf(why, "\"%s\" is no file, expected %d to %d random bytes", file, TICKET_SECRET_MIN, TICKET_SECRET_MAX);
    else if (!owner_is_trusted(st->st_uid))
        text_addf(why, "\"%s\" is owned by user %u, expected %s", file, (unsigned)st->st_uid, owner_expected());
    else if (st->st_mode & FORBIDDEN)
        text_addf(why, "\"%s\" has mode %03o, expected 600 (or 640): who reads it can resume and, with TLS 1.2, read sessions",
                  file, st->st_mode & 0777u);
    else if (st->st_size < TICKET_SECRET_MIN || st->st_size > TICKET_SECRET_MAX)
        text_addf(why, "\"%s\" has %lld bytes, expected %d to %d random ones", file, (long long)st->st_size, TICKET_SECRET_MIN,
                  TICKET_SECRET_MAX);
    return why->len == before ? 0 : ERR_FORMAT;
}

/* A file of one byte over and over is a placeholder, not a secret. */
static bool is_uniform(const uint8_t *p, size_t n) {
    size_t same = 1;
    while (same < n && p[same] == p[0])
        same++;
    return same == n;
}

/* The bytes of FILE into TO; their number, or an error with a sentence in WHY. */
static int read_secret_file(const char *file, uint8_t to[static TICKET_SECRET_MAX], struct text *why) {
    struct stat st;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        text_addf(why, "\"%s\" cannot be read: %s", file, strerror(errno));
        return fd < 0 ? ERR_SYSTEM : close_with(fd, ERR_SYSTEM);
    }
    if (check_secret_file(file, &st, why) < 0)
        return close_with(fd, ERR_FORMAT);
    size_t want = (size_t)st.st_size, have = 0;
    while (have < want) {
        ssize_t n = read(fd, to + have, want - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            text_addf(why, "\"%s\" cannot be read: %s", file, n < 0 ? strerror(errno) : "it became shorter meanwhile");
            return close_with(fd, ERR_SYSTEM);
        }
        have += (size_t)n;
    }
    (void)close(fd); /* was only read */
    if (!is_uniform(to, have))
        return (int)have;
    text_addf(why, "\"%s\" holds one byte over and over, expected random bytes", file);
    return ERR_FORMAT;
}

int ticket_secret_check(const char *file, struct text *why) {
    uint8_t *secret = secret_alloc(TICKET_SECRET_MAX, NULL);
    int n = secret ? read_secret_file(file, secret, why) : ERR_NOMEM;
    if (!secret)
        text_add(why, "out of memory");
    secret_free(secret, TICKET_SECRET_MAX);
    return n < 0 ? n : 0;
}

static int write_secret(int fd, const uint8_t *p, size_t n) {
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return ERR_SYSTEM;
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

/* One more secret behind the LEN bytes at TO: its length in two bytes, then itself. */
static int add_secret(const char *file, uint8_t *to, size_t *len, struct text *why) {
    int n = TICKET_SECRET_NEW;
    if (file)
        n = read_secret_file(file, to + *len + 2, why);
    else
        rand_bytes(to + *len + 2, TICKET_SECRET_NEW);
    if (n < 0)
        return n;
    to[*len] = (uint8_t)(n >> 8);
    to[*len + 1] = (uint8_t)n;
    *len += 2 + (size_t)n;
    return 0;
}

int ticket_secrets_memfd(const char **files, size_t n, int *ret_fd, struct text *why) {
    uint8_t *secrets = secret_alloc(TICKET_SECRETS_LEN_MAX, NULL);
    size_t len = 0;
    if (!secrets)
        return ERR_SYSTEM;
    int err = n == 0 ? add_secret(NULL, secrets, &len, why) : 0;
    for (size_t i = 0; i < n && err == 0; i++)
        err = add_secret(files[i], secrets, &len, why);
    if (err == 0)
        err = sealed_copy("tls-off-tickets", span_of(secrets, len), ret_fd);
    secret_free(secrets, TICKET_SECRETS_LEN_MAX);
    return err;
}

size_t ticket_secrets_of(struct span bytes, struct span ret[static CONF_SECRETS_MAX]) {
    struct rd r = rd_of(bytes);
    size_t n = 0;
    while (!r.bad && rd_left(&r) > 0 && n < CONF_SECRETS_MAX)
        ret[n++] = rd_vec16(&r);
    return rd_end(&r) ? n : 0;
}

int ticket_secret_new(const char *file) {
    uint8_t secret[TICKET_SECRET_NEW];
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0600);
    if (fd < 0)
        return ERR_SYSTEM;
    rand_bytes(secret, sizeof(secret));
    int err = fchmod(fd, 0600) == 0 ? write_secret(fd, secret, sizeof(secret)) : ERR_SYSTEM; /* an odd umask makes it less */
    secret_wipe(secret, sizeof(secret));
    if (err == 0 && fsync(fd) != 0)
        err = ERR_SYSTEM;
    if (err < 0) {
        int saved = errno;
        (void)unlink(file); /* ours, and of no use */
        errno = saved;
    }
    return close_with(fd, err);
}
