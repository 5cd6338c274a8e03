/* What managed certificates need on the disk before any of them is there. A check makes nothing. */
#include "conf/acme_files.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "base/secret.h"
#include "base/text.h"
#include "conf/acme_keys.h"
#include "conf/eab_key.h"
#include "conf/report.h"

#define WHY_MAX 512

static bool report_errno(struct load *l, const char *path) {
    load_error(l, load_top_at(l, KEY_STATE_DIR), "state_dir", "%s: %s", path, strerror(errno));
    return false;
}

static bool make_directory(struct load *l, const char *path, mode_t mode) {
    if (mkdir(path, mode) == 0)
        return chmod(path, mode) == 0 || report_errno(l, path);
    return errno == EEXIST || report_errno(l, path);
}

const char *acme_file_below(struct load *l, const char *dir, const char *name) {
    char path[PATH_MAX];
    return conf_strdup(l->conf, path_join(path, dir, name));
}

/* Relays and the acme role, as their user, reach sockets and files in it: every directory above must let them through. */
static bool let_through(struct load *l, const char *dir) {
    struct stat st;
    if (!l->conf->user || stat(dir, &st) < 0 || st.st_mode & 1)
        return true;
    return chmod(dir, (st.st_mode & 07777) | 0111) == 0 || report_errno(l, dir);
}

static bool give_to_user(struct load *l, const char *dir) {
    const struct passwd *p = l->conf->user ? getpwnam(l->conf->user) : NULL;
    int fd = p ? open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    bool ok = !p || (fd >= 0 && fchown(fd, p->pw_uid, p->pw_gid) == 0) || report_errno(l, dir);
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool make_directories(struct load *l) {
    const char *dir = l->conf->acme.dir, *run = acme_file_below(l, dir, "run"), *ocsp = acme_file_below(l, dir, ACME_OCSP_DIR);
    return make_directory(l, l->conf->state_dir, 0711) && let_through(l, l->conf->state_dir) && make_directory(l, dir, 0711) &&
           make_directory(l, acme_file_below(l, dir, "accounts"), 0700) &&
           make_directory(l, acme_file_below(l, dir, "certificates"), 0700) && make_directory(l, run, 0711) &&
           give_to_user(l, run) && make_directory(l, ocsp, 0755) && give_to_user(l, ocsp);
}

static bool make_link(struct load *l, const char *target, const char *dir, const char *name) {
    const char *path = acme_file_below(l, dir, name);
    return symlinkat(target, AT_FDCWD, path) == 0 || errno == EEXIST || report_errno(l, path);
}

/* The names as selfsigned.h takes them. */
static const char *names_text(struct load *l, const struct conf_managed *m) {
    size_t len = 1;
    for (size_t i = 0; i < m->nnames; i++)
        len += strlen(m->names[i]) + 1;
    struct text t = text_of(conf_alloc(l->conf, len), len);
    for (size_t i = 0; i < m->nnames; i++)
        text_addf(&t, "%s%s", i ? "," : "", m->names[i]);
    return t.p;
}

/* Until there is a real one; with the names of the configuration, whatever they are by now. */
static bool make_placeholder(struct load *l, const struct conf_managed *m) {
    char reason[WHY_MAX], link[8] = "";
    struct text why = text_of(reason, sizeof(reason));
    const char *zero = acme_file_below(l, m->dir, "0");
    int made = 0;
    ssize_t n = readlink(acme_file_below(l, m->dir, "current"), link, sizeof(link) - 1);
    if (n > 0 && strcmp(link, "0") != 0)
        return true;
    if (!make_directory(l, zero, 0700))
        return false;
    if (l->capabilities->ensure_selfsigned(zero, names_text(l, m), m->key >= MANAGED_RSA_2048 ? 2048 : 0, &made, &why) < 0) {
        load_error(l, load_at(l, m->service, KEY_SERVICE_ACME), load_key(l, m->service, KEY_SERVICE_ACME), "%s", reason);
        return false;
    }
    if (made)
        load_warning(l, load_at(l, m->service, KEY_SERVICE_ACME), load_key(l, m->service, KEY_SERVICE_ACME),
                     "%s: no certificate from an issuer yet, using a self-signed one until it is there", m->id);
    return make_link(l, "self-signed.crt", zero, "fullchain.pem") && make_link(l, "self-signed.key", zero, "key.pem") &&
           make_link(l, "0", m->dir, "current") && make_link(l, "current/key.pem", m->dir, "key.pem") &&
           make_link(l, "current/fullchain.pem", m->dir, "fullchain.pem");
}

/* The acme role reads them at its start, and cannot start without. */
static void check_issuer_ca(struct load *l, const struct conf_issuer *issuer) {
    struct stat st;
    const struct origin o = acme_origin(l, issuer, "ca_file");
    int err = stat(issuer->ca_file, &st) < 0 ? errno : S_ISREG(st.st_mode) ? 0 : EINVAL;
    if (err)
        load_error(l, o.at, l->file ? o.key : "--acme-ca-file", "%s: %s, expected a file of certificates in PEM",
                   issuer->ca_file, strerror(err));
}

/* Nor the keymaker without these. */
static void check_eab_key(struct load *l, const struct conf_issuer *issuer) {
    char reason[PATH_MAX + WHY_MAX];
    struct text why = text_of(reason, sizeof(reason));
    const struct origin o = acme_origin(l, issuer, "eab");
    uint8_t key[EAB_KEY_MAX];
    size_t len;
    if (eab_key_read(issuer->eab_key_file, key, &len, &why) < 0)
        load_error(l, o.at, o.key, "%s", reason);
    secret_wipe(key, sizeof(key));
}

void acme_files(struct load *l) {
    const struct conf_acme *a = &l->conf->acme;
    for (size_t i = 0; i < a->nissuers; i++) {
        if (a->issuers[i].ca_file)
            check_issuer_ca(l, &a->issuers[i]);
        if (a->issuers[i].eab_key_file)
            check_eab_key(l, &a->issuers[i]);
    }
    if (!a->dir || l->diagnostics->errors || l->flags & LOAD_FOR_CHECK || !make_directories(l))
        return;
    for (size_t i = 0; i < a->ncerts; i++)
        if (!make_directory(l, a->certs[i].dir, 0700) || !make_placeholder(l, &a->certs[i]))
            return;
}
