/* A directory of certificates: which of its files belong together. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "tls/cert_load.h"
#include "tls/pem_file.h"
#include "tls/pem_scan.h"

static bool is_regular(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool has_suffix(const char *name, const char *suffix) {
    size_t n = strlen(name), s = strlen(suffix);
    return n > s && strcmp(name + n - s, suffix) == 0;
}

static int is_candidate(const struct dirent *d) {
    return d->d_name[0] != '.' && (has_suffix(d->d_name, ".pem") || has_suffix(d->d_name, ".crt"));
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Whether a readable file of the right size holds a private key, of whatever kind. */
static bool has_key(const char *file) {
    char message[1];
    struct text unused = text_of(message, sizeof(message));
    struct pem_file f;
    bool has = pem_file_read(file, "a PEM file", &f, &unused) == 0 && pem_scan_has(pem_file_span(&f), PEM_KEY);
    pem_file_fini(&f);
    return has;
}

/* Adds one file of a directory when it is half of a pair (*RET_PAIR). */
static int add_one(struct cert_load *l, const char *dir, const char *name, bool *ret_pair, struct text *why, cert_warn_fn warn,
                   void *ctx) {
    char *cert = NULL, *key = NULL;
    int err = ERR_NOMEM;
    *ret_pair = false;
    if (asprintf(&cert, "%s/%s", dir, name) < 0) {
        cert = NULL;
        goto out;
    }
    if (asprintf(&key, "%.*s.key", (int)(strlen(cert) - 4), cert) < 0) {
        key = NULL;
        goto out;
    }
    err = 0;
    if (!is_regular(cert))
        goto out;
    bool apart = is_regular(key);
    *ret_pair = apart || (has_suffix(name, ".pem") && has_key(cert));
    const struct cert_load_pair pair = {.cert = cert, .key = apart ? key : cert};
    if (*ret_pair)
        err = cert_load_files(l, &pair, why, warn, ctx);
out:
    if (!cert || !key)
        text_addf(why, "%s: out of memory", dir);
    free(cert);
    free(key);
    return err;
}

int cert_load_dir(struct cert_load *l, const char *dir, struct text *why, cert_warn_fn warn, void *ctx) {
    struct dirent **list = NULL;
    int n = scandir(dir, &list, is_candidate, by_name);
    if (n < 0) {
        text_addf(why, "%s: the directory cannot be read: %s", dir, strerror(errno));
        return ERR_SYSTEM;
    }
    int err = 0;
    size_t pairs = 0;
    for (int i = 0; i < n; i++) {
        size_t len_before = why->len;
        bool pair;
        if (err)
            text_add(why, "; ");
        int this_err = add_one(l, dir, list[i]->d_name, &pair, why, warn, ctx);
        if (err && !this_err && !why->cut) {
            why->len = len_before; /* nothing came behind the separator */
            why->p[len_before] = '\0';
        }
        err = err ? err : this_err;
        pairs += pair;
        free(list[i]);
    }
    free(list);
    if (!err && !pairs) {
        text_addf(why, "%s: found no certificate with its key, expected x.pem or x.crt with x.key, or both in x.pem", dir);
        err = ERR_FORMAT;
    }
    return err;
}
