#include "cli/found.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/escape.h"
#include "base/path.h"
#include "base/text.h"
#include "conf/conf.h"
#include "conf/proc_net.h"
#include "tls/cert_load.h"

/* Whether a TOML string can hold it as it is: other names would need more care than a first file deserves. */
static bool fits_in_quotes(const char *text) {
    char clean[FOUND_TEXT_MAX];
    struct text t = text_of(clean, sizeof(clean));
    escape_clean(&t, span_str(text));
    return !t.cut && strcmp(clean, text) == 0 && !strpbrk(text, "\"\\");
}

static void note_found(struct found_list *l, const char *before, const char *text) {
    if (l->n == FOUND_MAX || !fits_in_quotes(text))
        return;
    struct text t = text_of(l->text[l->n], FOUND_TEXT_MAX);
    text_addf(&t, "%s%s", before, text);
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->text[i], l->text[l->n]) == 0)
            return;
    l->n += !t.cut;
}

/* ---- certificates ---- */

static void keep_first_warning(void *ctx, const char *line) {
    struct text *t = ctx;
    if (t->len == 0)
        text_add(t, line);
}

/* Whether all of its pairs can be read, and there are some. Else WHY not; "" when there is nothing that looks like one. */
static bool holds_pairs(const char *item, struct text *why) {
    char line[FOUND_TEXT_MAX];
    struct text warned = text_of(line, sizeof(line));
    struct cert_load *l = cert_load_new(CERT_LOAD_KEYS);
    int err = l ? cert_load_service(l, "found", NULL) : ERR_NOMEM;
    if (!err)
        err = cert_load_item(l, item, why, keep_first_warning, &warned);
    cert_load_free(l);
    if (err == ERR_NOT_FOUND) {
        *why = text_of(why->p, why->cap);
        text_add(why, line);
    }
    return !err;
}

static void look_in(const char *dir, struct found_list *ret, struct found_list *ret_refused) {
    char line[FOUND_TEXT_MAX];
    struct text why = text_of(line, sizeof(line));
    if (access(dir, F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR))
        return;
    if (holds_pairs(dir, &why)) {
        note_found(ret, "", dir);
    } else if (why.len && ret_refused->n < FOUND_MAX) {
        struct text t = text_of(ret_refused->text[ret_refused->n++], FOUND_TEXT_MAX);
        text_mark_cut(&why);
        escape_clean(&t, span_str(line));
    }
}

void found_certificates(struct found_list *ret, struct found_list *ret_refused) {
    static const char *const usual[] = {
        "/etc/tls-off/certs",    "/etc/letsencrypt/live",     "/etc/ssl/tls-off",       "/etc/haproxy/certs", "/etc/hitch",
        "/etc/dehydrated/certs", "/var/lib/dehydrated/certs", "/etc/lego/certificates", "/etc/tls",           "/tls"};
    static const char *const at_home[] = {".acme.sh", ".lego/certificates", ".getssl"};
    const char *home = getenv("HOME");
    ret->n = ret_refused->n = 0;
    for (size_t i = 0; i < ARRAY_LEN(usual); i++)
        look_in(usual[i], ret, ret_refused);
    for (size_t i = 0; home && i < ARRAY_LEN(at_home); i++) {
        char path[PATH_MAX];
        look_in(path_join(path, home, at_home[i]), ret, ret_refused);
    }
}

/* ---- applications ---- */

static bool is_systems(const char *path) {
    static const char *const parts[] = {
        "/systemd/", "/dbus",  "/docker",  "/containerd", "/podman",       "/snapd",  "/udev",  "/user/",  "/cups/",
        "/avahi",    "/lvm",   "/rpcbind", "/acpid",      "/run/tls-off/", "/X11",    "ssh-",   "/gnupg",  "/multipath",
        "/chrony",   "/pulse", "/mysqld",  "/postgresql", "/fail2ban",     "/vscode", "/admin", "/haproxy"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (strstr(path, parts[i]))
            return true;
    return path[0] != '/'; /* abstract ones are rarely an application's */
}

static void note_application(void *ctx, const struct proc_net_socket *s) {
    struct stat st;
    bool fits = strlen(s->path) <= CONF_SOCKET_PATH_MAX;
    if (s->type == SOCK_STREAM && fits && !is_systems(s->path) && stat(s->path, &st) == 0 && S_ISSOCK(st.st_mode))
        note_found(ctx, "unix:", s->path);
}

struct wanted {
    uint16_t port;
    bool there;
};

static void look_for(void *ctx, const struct proc_net_socket *s) {
    struct wanted *w = ctx;
    w->there = w->there || s->at.port == w->port;
}

bool found_port_taken(uint16_t port) {
    struct wanted w = {port, false};
    proc_net_each(PROC_NET_TCP, look_for, &w);
    proc_net_each(PROC_NET_TCP6, look_for, &w);
    return w.there;
}

/* Ports where applications that speak HTTP usually are, in the order of how sure that is. */
static void find_tcp(struct found_list *ret) {
    static const uint16_t usual[] = {8080, 3000, 8000, 5000, 8081, 4000, 9000, 8888, 80};
    for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
        char text[24];
        struct text t = text_of(text, sizeof(text));
        text_addf(&t, "127.0.0.1:%u", usual[i]);
        if (found_port_taken(usual[i]))
            note_found(ret, "tcp:", text);
    }
}

void found_backends(struct found_list *ret) {
    ret->n = 0;
    proc_net_each(PROC_NET_UNIX, note_application, ret);
    find_tcp(ret);
}
