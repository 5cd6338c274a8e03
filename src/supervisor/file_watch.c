/*
 * Whether files have changed. inotify says when to check: it watches the directories of the named files and those that links
 * lead to, so a write, a rename over a file, and the exchange of a link above it (as Kubernetes does) are all noticed. Events
 * are only hints; a check computes one number from every file's identity and times. A check now and then without an event
 * serves file systems where inotify reports nothing.
 */
#include "supervisor/file_watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "creds/cert_item.h"
#include "supervisor/super.h"

#define EVENTS                                                                                                                 \
    (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF |        \
     IN_ONLYDIR)

typedef void (*path_fn)(void *ctx, const char *path, bool is_dir);

/* ---- the named files ---- */

/* The two names that a response beside a certificate may have: see tls/ocsp_file.h. */
static void each_ocsp(const char *cert, path_fn fn, void *ctx) {
    char path[PATH_MAX];
    size_t len = strlen(cert);
    struct text t = text_of(path, sizeof(path));
    text_addf(&t, "%s.ocsp", cert);
    fn(ctx, path, false);
    if (len <= 4 || (strcmp(cert + len - 4, ".pem") != 0 && strcmp(cert + len - 4, ".crt") != 0))
        return;
    t = text_of(path, sizeof(path));
    text_addf(&t, "%.*s.ocsp", (int)len - 4, cert);
    fn(ctx, path, false);
}

struct each_place {
    path_fn fn;
    void *ctx;
};

static void pass_directory(void *ctx, const char *dir) {
    const struct each_place *p = ctx;
    p->fn(p->ctx, dir, true);
}

/* What lies beside a directory that is named does not matter; what lies beside a match of a pattern may match it soon. */
static void each_item(const char *item, path_fn fn, void *ctx) {
    struct each_place p = {fn, ctx};
    if (cert_item_is_pattern(item)) {
        cert_item_places(item, pass_directory, &p);
        return;
    }
    fn(ctx, item, true);
    (void)cert_item_subdirs(item, pass_directory, &p); /* one that cannot be read has none */
}

static void each_cert(const struct conf_cert *cert, path_fn fn, void *ctx) {
    if (!cert->key) {
        each_item(cert->cert, fn, ctx);
        return;
    }
    fn(ctx, cert->cert, false);
    fn(ctx, cert->key, false);
    if (cert->passphrase)
        fn(ctx, cert->passphrase, false);
    each_ocsp(cert->cert, fn, ctx);
}

/* What the acme role has fetched. */
static void each_fetched(const struct conf *c, path_fn fn, void *ctx) {
    char path[PATH_MAX];
    struct text t = text_of(path, sizeof(path));
    text_addf(&t, "%s/" ACME_OCSP_DIR, c->acme.dir);
    fn(ctx, path, true);
}

static void each_of_creds(const struct conf *c, path_fn fn, void *ctx) {
    bool fetches = false;
    for (size_t i = 0; i < c->nservices; i++) {
        const struct conf_service *s = &c->services[i];
        for (size_t k = 0; k < s->ncerts; k++)
            each_cert(&s->certs[k], fn, ctx);
        fetches = fetches || s->fetch_ocsp;
        if (s->client_auth == CLIENT_AUTH_NONE)
            continue;
        fn(ctx, s->client_ca, false);
        if (s->client_crl)
            fn(ctx, s->client_crl, false);
    }
    if (fetches) /* one directory for all services */
        each_fetched(c, fn, ctx);
}

static void each_of_lists(const struct conf *c, path_fn fn, void *ctx) {
    for (size_t i = 0; i < c->nservices; i++) {
        const struct conf_service *s = &c->services[i];
        for (size_t k = 0; k < s->naccess_allow; k++)
            if (s->access_allow[k][0] == '/')
                fn(ctx, s->access_allow[k], false);
        for (size_t k = 0; k < s->naccess_deny; k++)
            if (s->access_deny[k][0] == '/')
                fn(ctx, s->access_deny[k], false);
    }
}

static void each_secret(const struct conf *c, path_fn fn, void *ctx) {
    for (size_t i = 0; i < c->nticket_secrets; i++)
        fn(ctx, c->ticket_secrets[i], false);
}

static void (*const each_of[WATCHED_KINDS])(const struct conf *c, path_fn fn, void *ctx) = {
    [WATCHED_CREDS] = each_of_creds, [WATCHED_ACCESS] = each_of_lists, [WATCHED_SECRETS] = each_secret};

/* ---- checking ---- */

struct look {
    uint64_t sum;
    uint64_t newest;
};

static uint64_t mix(uint64_t h, uint64_t v) {
    h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 32;
}

/* Names are distinguished by all their bytes. The sum does not depend on the order in which a directory is read. */
static void look_at(struct look *l, int dir, const char *name) {
    struct stat st;
    uint64_t h = 1;
    for (const char *p = name; *p; p++)
        h = mix(h, (uint8_t)*p);
    if (fstatat(dir, name, &st, 0) != 0) {
        l->sum += mix(h, (uint64_t)errno);
        return;
    }
    const uint64_t parts[] = {(uint64_t)st.st_dev,          (uint64_t)st.st_ino,          (uint64_t)st.st_size,
                              (uint64_t)st.st_mtim.tv_sec,  (uint64_t)st.st_mtim.tv_nsec, (uint64_t)st.st_ctim.tv_sec,
                              (uint64_t)st.st_ctim.tv_nsec, (uint64_t)st.st_mode};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        h = mix(h, parts[i]);
    l->sum += h;
    l->newest = MAX(l->newest, (uint64_t)MAX(st.st_mtim.tv_sec, st.st_ctim.tv_sec));
}

static void look_into(void *ctx, const char *path, bool is_dir) {
    struct look *l = ctx;
    DIR *d = is_dir ? opendir(path) : NULL;
    if (!d) {
        look_at(l, AT_FDCWD, path);
        return;
    }
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            look_at(l, dirfd(d), e->d_name);
    closedir(d);
}

uint64_t file_look(const struct conf *c, enum watched which, uint64_t *ret_newest) {
    struct look l = {0, 0};
    each_of[which](c, look_into, &l);
    *ret_newest = l.newest;
    return l.sum;
}

/* ---- watching ---- */

/* What cannot be watched is checked by the clock. */
static void watch_dir_of(int fd, const char *path) {
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    struct text t = text_of(dir, sizeof(dir));
    if (!slash)
        return;
    text_add_span(&t, span_of(path, MAX((size_t)(slash - path), (size_t)1)));
    (void)inotify_add_watch(fd, dir, EVENTS);
}

static void watch_path(void *ctx, const char *path, bool is_dir) {
    const int *fd = ctx;
    char *real = realpath(path, NULL);
    watch_dir_of(*fd, path);
    if (is_dir)
        (void)inotify_add_watch(*fd, path, EVENTS);
    else if (real && strcmp(real, path) != 0)
        watch_dir_of(*fd, real);
    free(real);
}

void file_watch(struct super *s) {
    struct creds_reload *c = &s->creds;
    if (c->inotify >= 0) {
        loop_unwatch(&s->loop, c->inotify);
        close(c->inotify);
    }
    c->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (c->inotify < 0 || loop_watch(&s->loop, c->inotify, EPOLLIN, SUPER_CREDS, 0, 0) < 0) {
        log_msg(&s->log, LOG_LEVEL_WARNING, "files are only checked by the clock: inotify: %m");
        if (c->inotify >= 0)
            close(c->inotify);
        c->inotify = -1;
        return;
    }
    for (unsigned k = 0; k < WATCHED_KINDS; k++)
        each_of[k](s->now->conf, watch_path, &c->inotify);
}
