/* Files and directories of certificates: which files belong together. */
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/path.h"
#include "creds/cert_item.h"
#include "tls/cert_load.h"
#include "tls/pem_file.h"
#include "tls/pem_scan.h"

static bool is_regular(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* NULL: it is a regular file. "": there is nothing of that name, or a directory. Else what is wrong with it. */
static const char *why_no_file(const char *path) {
    struct stat st;
    if (stat(path, &st) == 0)
        return S_ISREG(st.st_mode) ? NULL : S_ISDIR(st.st_mode) ? "" : "found no regular file";
    if (errno != ENOENT && errno != ENOTDIR)
        return strerror(errno);
    return lstat(path, &st) == 0 ? "the link leads to nothing" : "";
}

static bool has_suffix(const char *name, const char *suffix) {
    size_t n = strlen(name), s = strlen(suffix);
    return n > s && strcmp(name + n - s, suffix) == 0;
}

static bool is_cert_name(const char *name) {
    return has_suffix(name, ".pem") || has_suffix(name, ".crt");
}

static int is_visible_cert(const struct dirent *d) {
    return d->d_name[0] != '.' && is_cert_name(d->d_name);
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

/* What is added to a store, and what of it was wrong. */
struct dir_load {
    struct cert_load *l;
    struct text *why;
    cert_warn_fn warn;
    void *ctx;
    const char *item;
    bool is_pattern; /* files that are no pair are passed over, as in a directory */
    size_t pairs;
    int err; /* the first */
};

static void dir_fail(struct dir_load *d, int err, const char *name, const char *what) {
    text_addf(d->why, "%s%s: %s", d->err ? "; " : "", name, what);
    d->err = d->err ? d->err : err;
}

/* What looks like half of a pair, and is none: others that are complete are no reason to be silent about it. */
static void warn_of_half(const struct dir_load *d, const char *path, const char *why) {
    char line[PATH_MAX + 160];
    struct text t = text_of(line, sizeof(line));
    text_addf(&t, "%s: %s: what it belongs to is not served", path, why);
    if (d->warn)
        d->warn(d->ctx, line);
}

static void load_dir_pair(struct dir_load *d, const char *cert, const char *key) {
    const struct cert_load_pair pair = {.cert = cert, .key = key};
    size_t before = d->why->len;
    bool was_cut = d->why->cut;
    if (d->err)
        text_add(d->why, "; ");
    int err = cert_load_files(d->l, &pair, d->why, d->warn, d->ctx);
    if (!err && !was_cut) { /* nothing came behind the separator */
        d->why->len = before;
        d->why->cut = false;
        d->why->p[before] = '\0';
    }
    d->err = d->err ? d->err : err;
    d->pairs++;
}

static bool path_in(char to[static PATH_MAX], const char *dir, const char *name) {
    return is_regular(path_join(to, dir, name));
}

/* The only file of DIR with that suffix. */
static bool only_one(char to[static PATH_MAX], const char *dir, const char *suffix) {
    DIR *d = opendir(dir);
    unsigned found = 0;
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.' && has_suffix(e->d_name, suffix) && path_in(to, dir, e->d_name))
            found++;
    if (d)
        closedir(d);
    return found == 1;
}

/* A directory with one certificate, as ACME clients keep it: fullchain.pem and privkey.pem (certbot, dehydrated), fullchain.cer
 * and NAME.key (acme.sh). What lies beside them is the same in other forms. */
static bool add_chain_of(struct dir_load *d, const char *dir) {
    char cert[PATH_MAX], key[PATH_MAX];
    bool found = (path_in(cert, dir, "fullchain.pem") && path_in(key, dir, "privkey.pem")) ||
                 (path_in(cert, dir, "fullchain.cer") && only_one(key, dir, ".key"));
    if (found)
        load_dir_pair(d, cert, key);
    return found;
}

/* Of a directory without such a pair: a name behind which there is no file. */
static void look_for_half(const struct dir_load *d, const char *dir) {
    static const char *const names[] = {"fullchain.pem", "privkey.pem", "fullchain.cer"};
    char path[PATH_MAX];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *why = why_no_file(path_join(path, dir, names[i]));
        if (why && why[0]) {
            warn_of_half(d, path, why);
            return;
        }
    }
}

/* Whether TWIN, a .crt beside a .pem of that name, is loaded anyway: the directory is, or the pattern fits both. */
static bool twin_is_taken(const struct dir_load *d, const char *twin, bool in_dir) {
    return is_regular(twin) && (in_dir || (d->is_pattern && fnmatch(d->item, twin, FNM_PATHNAME | FNM_PERIOD) == 0));
}

/* CERT with the key of the same name, or with the one inside; IN_DIR: found in a directory, not named. False: it is not half of
 * a pair. */
static bool add_named(struct dir_load *d, const char *cert, bool in_dir) {
    char key[PATH_MAX], twin[PATH_MAX];
    int stem = (int)strlen(cert) - 4;
    struct text k = text_of(key, sizeof(key)), t = text_of(twin, sizeof(twin));
    text_addf(&k, "%.*s.key", stem, cert);
    text_addf(&t, "%.*s.crt", stem, cert);
    const char *no_key = k.cut ? "" : why_no_file(key);
    bool apart = !no_key, pem = has_suffix(cert, ".pem");
    if (apart && pem && twin_is_taken(d, twin, in_dir)) /* the same once more, with its key (lego) */
        return true;
    if (!apart && no_key[0])
        warn_of_half(d, key, no_key);
    if (!apart && !(pem && has_key(cert)))
        return false;
    load_dir_pair(d, cert, apart ? key : cert);
    return true;
}

static void add_chain_in(void *ctx, const char *dir) {
    if (!add_chain_of(ctx, dir)) /* other directories are passed over */
        look_for_half(ctx, dir);
}

static void add_dir(struct dir_load *d, const char *dir) {
    struct dirent **list = NULL;
    int n = scandir(dir, &list, is_visible_cert, by_name);
    size_t before = d->pairs;
    if (n < 0) {
        char reason[160];
        struct text t = text_of(reason, sizeof(reason));
        text_addf(&t, "the directory cannot be read: %s", strerror(errno));
        dir_fail(d, ERR_SYSTEM, dir, reason);
        return;
    }
    bool one = add_chain_of(d, dir);
    for (int i = 0; i < n; i++) {
        char cert[PATH_MAX];
        const char *why = one ? "" : why_no_file(path_join(cert, dir, list[i]->d_name));
        if (!why)
            (void)add_named(d, cert, true);
        else if (why[0])
            warn_of_half(d, cert, why);
        free(list[i]);
    }
    free(list);
    if (!one)
        (void)cert_item_subdirs(dir, add_chain_in, d); /* was just read */
    if (d->pairs == before && !d->err)
        dir_fail(d, ERR_NOT_FOUND, dir,
                 "found no certificate with its key, expected x.pem or x.crt with x.key, both in x.pem, or fullchain.pem with "
                 "privkey.pem, here or in a directory of its own");
}

static void add_path(void *ctx, const char *path) {
    struct dir_load *d = ctx;
    struct stat st;
    bool there = stat(path, &st) == 0;
    if (!there && d->is_pattern)
        warn_of_half(d, path, why_no_file(path));
    else if (!there || S_ISDIR(st.st_mode))
        add_dir(d, path);
    else if (!is_cert_name(path) && !d->is_pattern)
        dir_fail(d, ERR_FORMAT, path,
                 "found a file of this name, expected x.pem, x.crt, a directory, or { cert = \"FILE\", key = \"FILE\" }");
    else if (!(is_cert_name(path) && add_named(d, path, false)) && !d->is_pattern)
        dir_fail(d, ERR_FORMAT, path, "found no key for this certificate, expected one in it (x.pem) or in x.key beside it");
}

int cert_load_item(struct cert_load *l, const char *item, struct text *why, cert_warn_fn warn, void *ctx) {
    struct dir_load d = {.l = l, .why = why, .warn = warn, .ctx = ctx, .item = item, .is_pattern = cert_item_is_pattern(item)};
    if (!cert_item_each(item, add_path, &d))
        dir_fail(&d, ERR_NOMEM, item, "out of memory");
    else if (!d.pairs && !d.err)
        dir_fail(&d, ERR_NOT_FOUND, item, "nothing matches this pattern, expected certificates with their keys");
    return d.err;
}
