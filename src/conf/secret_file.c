#include "conf/secret_file.h"

#include <sys/stat.h>

#include "base/err.h"
#include "base/file.h"
#include "base/owner.h"
#include "base/secret.h"

#define EXPECTED  "32 to 4096 random bytes"
#define FORBIDDEN (S_IWGRP | S_IRWXO) /* a group may read it: mounts of secrets come so */

_Static_assert(SECRET_FILE_MIN == 32 && SECRET_FILE_MAX == 4096, "as in EXPECTED");

int secret_file_rights(const struct file *f, const char *harm, struct text *why) {
    if (!owner_is_trusted(f->st.st_uid))
        text_addf(why, "%s: the file is owned by user %u, expected %s", f->path, (unsigned)f->st.st_uid, owner_expected());
    else if (f->st.st_mode & FORBIDDEN)
        text_addf(why, "%s: found mode %03o, expected 600 (or 640): who reads it can %s", f->path, f->st.st_mode & 0777u, harm);
    else
        return 0;
    return ERR_FORMAT;
}

static int check_size(const struct file *f, struct text *why) {
    if (f->st.st_size >= SECRET_FILE_MIN && f->st.st_size <= SECRET_FILE_MAX)
        return 0;
    text_addf(why, "%s: found %lld bytes, expected %s", f->path, (long long)f->st.st_size, f->expected);
    return ERR_FORMAT;
}

/* A file of one byte over and over is a placeholder, not a secret. */
static bool is_uniform(const uint8_t *p, size_t n) {
    size_t same = 1;
    while (same < n && p[same] == p[0])
        same++;
    return same == n;
}

int secret_file_read(const char *path, const char *harm, uint8_t to[static SECRET_FILE_ROOM], struct text *why) {
    struct file f = {.path = path, .expected = EXPECTED, .max = SIZE_MAX};
    size_t len = 0;
    int err = file_open(&f, why);
    if (err < 0)
        return err;
    err = secret_file_rights(&f, harm, why);
    if (err == 0)
        err = check_size(&f, why);
    if (err == 0)
        err = file_read(&f, to, &len, why);
    file_close(&f);
    if (err < 0 || !is_uniform(to, len))
        return err < 0 ? err : (int)len;
    text_addf(why, "%s: found one byte over and over, expected random bytes", path);
    return ERR_FORMAT;
}

int secret_file_check(const char *file, const char *harm, struct text *why) {
    uint8_t *secret = secret_alloc(SECRET_FILE_ROOM, NULL);
    int n = secret ? secret_file_read(file, harm, secret, why) : ERR_NOMEM;
    if (!secret)
        text_add(why, "out of memory");
    secret_free(secret, SECRET_FILE_ROOM);
    return n < 0 ? n : 0;
}
