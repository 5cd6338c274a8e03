#include "tls/pem_file.h"

#include <sys/stat.h>

#include "base/err.h"
#include "base/file.h"
#include "base/secret.h"

void pem_file_fini(struct pem_file *f) {
    secret_free(f->p, f->cap);
    f->p = NULL;
    f->len = f->cap = 0;
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

static int pem_file_open(struct file *f, struct pem_file *ret, struct text *why) {
    *ret = (struct pem_file){.p = NULL};
    int err = file_open(f, why);
    if (err < 0)
        return err;
    ret->mode = f->st.st_mode & 07777;
    ret->owner = f->st.st_uid;
    ret->stamp = stamp_of(&f->st);
    return 0;
}

int pem_file_read(const char *file, const char *wanted, struct pem_file *ret, struct text *why) {
    struct file f = {.path = file, .expected = wanted, .max = PEM_FILE_MAX};
    int err = pem_file_open(&f, ret, why);
    if (err < 0)
        return err;
    ret->cap = file_room(&f);
    ret->p = secret_alloc(ret->cap, NULL);
    err = file_read(&f, ret->p, &ret->len, why);
    if (err < 0)
        pem_file_fini(ret);
    file_close(&f);
    return err;
}

int pem_file_look(const char *file, const char *wanted, struct pem_file *ret, struct text *why) {
    struct file f = {.path = file, .expected = wanted, .max = PEM_FILE_MAX};
    int err = pem_file_open(&f, ret, why);
    if (err < 0)
        return err;
    file_close(&f);
    if (f.st.st_size)
        return 0;
    text_addf(why, "%s: the file is empty, expected %s", file, wanted);
    return ERR_FORMAT;
}
