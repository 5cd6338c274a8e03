/* What the keys name on this machine: certificates, directories, the log's target, congestion control, the engine. */
#include "conf/check_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "base/text.h"
#include "conf/conf_access.h"
#include "conf/conf_creds.h"
#include "conf/report.h"
#include "conf/state_dir.h"
#include "conf/ticket_secret.h"

#define WHY_MAX 512

/* A fault of a file goes to the value that named it. */
static void report_there(void *ctx, size_t service, size_t k, bool is_error, const char *text) {
    struct load *l = ctx;
    const struct service_origin *o = &l->services[service];
    if (k == CONF_CREDS_CA || k == CONF_CREDS_CRL) {
        enum conf_key file = k == CONF_CREDS_CA ? KEY_CLIENT_AUTH_CA : KEY_CLIENT_AUTH_CRL;
        (is_error ? load_error : load_warning)(l, load_at(l, service, file), load_key(l, service, file), "%s", text);
        return;
    }
    bool named = o->cert_at && k < l->conf->services[service].ncerts;
    struct toml_pos at = named ? o->cert_at[k] : load_at(l, service, KEY_CERTIFICATES);
    (is_error ? load_error : load_warning)(l, at, load_key(l, service, KEY_CERTIFICATES), "%s", text);
}

static bool make_selfsigned(struct load *l) {
    char reason[WHY_MAX];
    struct text why = text_of(reason, sizeof(reason));
    int made = 0;
    if (l->flags & LOAD_FOR_CHECK)
        return true;
    if (l->capabilities->ensure_selfsigned(l->conf->state_dir, "", 0, &made, &why) == 0)
        return true;
    load_error(l, load_top_at(l, KEY_STATE_DIR), "state_dir", "%s",
               why.len ? reason : "the self-signed certificate cannot be kept there");
    return false;
}

/* The service gets the self-signed certificate. False when there is none, which has been reported. */
static bool use_selfsigned(struct load *l, size_t i) {
    struct conf *c = l->conf;
    struct conf_service *s = &c->services[i];
    char name[PATH_MAX];
    const char *dir = load_path(l, c->state_dir), *pair[2];
    if (!make_selfsigned(l))
        return false;
    for (size_t k = 0; k < 2; k++) {
        (void)path_join(name, dir ? dir : "", k == 0 ? SELFSIGNED_CERT : SELFSIGNED_KEY); /* has room: the pair is there */
        pair[k] = conf_strdup(c, name);
    }
    s->certs = conf_alloc(c, sizeof(*s->certs));
    s->certs[0] = (struct conf_cert){.cert = pair[0], .key = pair[1]};
    s->ncerts = 1;
    load_warning(l, load_at(l, i, KEY_CERTIFICATES), load_key(l, i, KEY_CERTIFICATES),
                 "no certificate named: using the self-signed one in %s", pair[0]);
    return true;
}

/* A service that terminates and names no certificates gets the self-signed one. */
static void check_certs(struct load *l) {
    struct conf *c = l->conf;
    bool made = true;
    for (size_t i = 0; i < c->nservices; i++) {
        const struct conf_service *s = &c->services[i];
        bool managed = l->services[i].node[KEY_SERVICE_ACME] != NULL, selfsigned = load_is_selfsigned(l, i);
        if (selfsigned)
            made = made && use_selfsigned(l, i);
        /* a check makes none, and neither does a start after an error, so there may be none to look at */
        bool unmade =
            managed && (s->ncerts == 0 || (l->diagnostics->errors && access(s->certs[s->ncerts - 1].cert, F_OK) != 0));
        bool none = selfsigned ? !made || (l->flags & LOAD_FOR_CHECK) : unmade;
        conf_creds_service(c, i, none, l->capabilities, report_there, l);
    }
}

static void report_list(void *ctx, size_t service, bool is_deny, size_t k, bool is_error, const char *text) {
    struct load *l = ctx;
    enum conf_key key = is_deny ? KEY_ACCESS_DENY : KEY_ACCESS_ALLOW;
    const struct toml_node *list = l->services[service].node[key];
    struct toml_pos at = list && k < list->nchildren ? list->children[k].at : load_at(l, service, key);
    (is_error ? load_error : load_warning)(l, at, load_key(l, service, key), "%s", text);
}

static void check_access(struct load *l) {
    for (size_t i = 0; i < l->conf->nservices; i++)
        conf_access_service(l->conf, i, l->capabilities->access, NULL, report_list, l);
}

int check_webroot_access(const char *dir) {
    static const char *const below[] = {"/.well-known/acme-challenge", "/.well-known", ""};
    int error = ENOENT;
    for (size_t i = 0; i < ARRAY_LEN(below) && error == ENOENT; i++) {
        char path[PATH_MAX];
        struct text t = text_of(path, sizeof(path));
        text_addf(&t, "%s%s", dir, below[i]);
        error = access(path, W_OK | X_OK) == 0 ? 0 : errno;
    }
    return error;
}

/*
 * Whether its user may write there is for `tls-off doctor` to try. Here is found what hinders us all, as the units'
 * ProtectSystem does: root, too, may not write to what is read-only.
 */
static void check_webroot(struct load *l) {
    const char *dir = l->conf->acme.webroot;
    struct toml_pos at = load_top_at(l, KEY_ACME_WEBROOT);
    struct stat st;
    if (!dir)
        return;
    if (stat(dir, &st) < 0) {
        load_error(l, at, "acme.webroot", "%s: %s, expected the directory of a web server", dir, strerror(errno));
    } else if (!S_ISDIR(st.st_mode)) {
        load_error(l, at, "acme.webroot", "found the file \"%s\", expected a directory", dir);
    } else if (check_webroot_access(dir) == EROFS) {
        load_error(l, at, "acme.webroot",
                   "found \"%s\", which is read-only for tls-off: a systemd unit needs ReadWritePaths=%s", dir, dir);
    }
}

/* The file itself must be a writable file, or not be there and its directory writable. */
static void check_log_file(struct load *l) {
    const char *file = l->conf->log_file;
    char dir[PATH_MAX];
    struct text t = text_of(dir, sizeof(dir));
    const char *slash = strrchr(file, '/');
    struct stat st;
    text_add_span(&t, span_of(file, MAX((size_t)(slash - file), (size_t)1)));
    struct toml_pos at = load_top_at(l, KEY_LOG_TARGET);
    if (stat(file, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            load_error(l, at, "log.target", "found the directory \"%s\", expected a file name", file);
        else if (access(file, W_OK) != 0)
            load_error(l, at, "log.target", "found \"%s\", which cannot be written: %s", file, strerror(errno));
    } else if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
        load_error(l, at, "log.target", "found \"%s\", expected a file in a directory that exists (\"%s\" does not)", file,
                   dir);
    } else if (access(dir, W_OK | X_OK) != 0) {
        load_error(l, at, "log.target", "found \"%s\", but nothing can be written to \"%s\": %s", file, dir, strerror(errno));
    }
}

static void check_log(struct load *l) {
    static const struct {
        enum log_target target;
        const char *socket;
    } sockets[] = {{LOG_TO_SYSLOG, "/dev/log"}, {LOG_TO_JOURNAL, "/run/systemd/journal/socket"}};
    if (l->conf->log_target == LOG_TO_FILE) {
        check_log_file(l);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(sockets); i++)
        if (l->conf->log_target == sockets[i].target && access(sockets[i].socket, F_OK) != 0)
            load_warning(l, load_top_at(l, KEY_LOG_TARGET), "log.target", "nobody listens on %s at present", sockets[i].socket);
}

static void check_congestion(struct load *l) {
    const char *wanted = l->conf->tcp_congestion;
    char names[512] = "";
    if (!wanted[0])
        return;
    FILE *f = fopen("/proc/sys/net/ipv4/tcp_available_congestion_control", "re");
    if (f) {
        if (!fgets(names, sizeof(names), f))
            names[0] = 0;
        (void)fclose(f); /* was only read */
    }
    names[strcspn(names, "\n")] = 0;
    size_t n = strlen(wanted);
    for (const char *p = names; *p;) {
        size_t len = strcspn(p, " ");
        if (len == n && memcmp(p, wanted, n) == 0)
            return;
        p += len + strspn(p + len, " ");
    }
    load_error(l, load_top_at(l, KEY_TCP_CONGESTION), "tcp_congestion",
               "found \"%s\", expected one that this kernel has loaded: %s", wanted,
               names[0] ? names : "(the kernel does not report which)");
}

static void check_ticket_secret(struct load *l) {
    char reason[PATH_MAX + WHY_MAX];
    struct text why = text_of(reason, sizeof(reason));
    bool one = l->node[KEY_TICKETS_SECRET_FILE] != NULL;
    for (size_t i = 0; i < l->conf->nticket_secrets; i++, why.len = 0)
        if (ticket_secret_check(l->conf->ticket_secrets[i], &why) < 0)
            load_error(l, load_top_at(l, one ? KEY_TICKETS_SECRET_FILE : KEY_TICKETS_SECRET_FILES),
                       one ? "tickets.secret_file" : "tickets.secret_files", "%s", reason);
}

void check_files(struct load *l) {
    check_webroot(l);
    check_ticket_secret(l);
    check_certs(l);
    check_access(l);
    check_log(l);
    check_congestion(l);
    if (!l->capabilities->engine_usable(l->conf->engine))
        load_error(l, load_top_at(l, KEY_ENGINE), "engine", "found \"%s\", which does not work on this machine",
                   l->conf->engine);
}
