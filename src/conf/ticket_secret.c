#include "conf/ticket_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/rand.h"
#include "base/rd.h"
#include "base/sealed.h"
#include "base/secret.h"

#define HARM "resume and, with TLS 1.2, read sessions"

static int close_with(int fd, int err) {
    int saved = errno;
    (void)close(fd); /* nothing in it is lost: it was read, or is given up */
    errno = saved;
    return err;
}

int ticket_secret_check(const char *file, struct text *why) {
    return secret_file_check(file, HARM, why);
}

/* One more secret behind the LEN bytes at TO: its length in two bytes, then itself. */
static int add_secret(const char *file, uint8_t *to, size_t *len, struct text *why) {
    int n = TICKET_SECRET_NEW;
    if (file)
        n = secret_file_read(file, HARM, to + *len + 2, why);
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
    uint8_t *secrets = secret_alloc(TICKET_SECRETS_LEN_MAX + 1, NULL); /* the last file may have grown by a byte */
    size_t len = 0;
    if (!secrets)
        return ERR_SYSTEM;
    int err = n == 0 ? add_secret(NULL, secrets, &len, why) : 0;
    for (size_t i = 0; i < n && err == 0; i++)
        err = add_secret(files[i], secrets, &len, why);
    if (err == 0)
        err = sealed_copy("tls-off-tickets", span_of(secrets, len), ret_fd);
    secret_free(secrets, TICKET_SECRETS_LEN_MAX + 1);
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
    int err =
        fchmod(fd, 0600) == 0 ? fd_write_all(fd, span_of(secret, sizeof(secret))) : ERR_SYSTEM; /* an odd umask makes it less */
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
