#include "cli/found.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "base/text.h"
#include "conf/proc_net.h"
#include "tls/cert_load.h"

static void note_found(struct found_list *l, const char *before, const char *text) {
    if (l->n == FOUND_MAX)
        return;
    struct text t = text_of(l->text[l->n], FOUND_TEXT_MAX);
    text_addf(&t, "%s%s", before, text);
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->text[i], l->text[l->n]) == 0)
            return;
    l->n += !t.cut && !strpbrk(text, "\"\\\n"); /* a name that would need more care than a first file deserves */
}

/* ---- certificates ---- */

static bool holds_pairs(const char *item) {
    char line[256];
    struct text why = text_of(line, sizeof(line));
    struct cert_load *l = cert_load_new(CERT_LOAD_KEYS);
    bool ok =
        l && cert_load_service(l, "found", NULL) == 0 && cert_load_item(l, item, &why, NULL, NULL) == 0 && cert_load_count(l);
    cert_load_free(l);
    return ok;
}

void found_certificates(struct found_list *ret) {
    static const char *const usual[] = {
        "/etc/tls-off/certs",    "/etc/letsencrypt/live",     "/etc/ssl/tls-off",       "/etc/haproxy/certs", "/etc/hitch",
        "/etc/dehydrated/certs", "/var/lib/dehydrated/certs", "/etc/lego/certificates", "/etc/tls",           "/tls"};
    static const char *const at_home[] = {".acme.sh", ".lego/certificates", ".getssl"};
    const char *home = getenv("HOME");
    ret->n = 0;
    for (size_t i = 0; i < ARRAY_LEN(usual); i++)
        if (access(usual[i], R_OK) == 0 && holds_pairs(usual[i]))
            note_found(ret, "", usual[i]);
    for (size_t i = 0; home && i < ARRAY_LEN(at_home); i++) {
        char path[PATH_MAX];
        if (access(path_join(path, home, at_home[i]), R_OK) == 0 && holds_pairs(path))
            note_found(ret, "", path);
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
    if (s->type == SOCK_STREAM && !is_systems(s->path) && stat(s->path, &st) == 0 && S_ISSOCK(st.st_mode))
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
