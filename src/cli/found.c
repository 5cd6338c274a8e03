#include "cli/found.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "tls/cert_load.h"

static void add(struct found_list *l, const char *before, const char *text) {
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
    bool ok = l && cert_load_service(l, "found") == 0 && cert_load_item(l, item, &why, NULL, NULL) == 0 && cert_load_count(l);
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
            add(ret, "", usual[i]);
    for (size_t i = 0; home && i < ARRAY_LEN(at_home); i++) {
        char path[FOUND_TEXT_MAX];
        struct text t = text_of(path, sizeof(path));
        text_addf(&t, "%s/%s", home, at_home[i]);
        if (!t.cut && access(path, R_OK) == 0 && holds_pairs(path))
            add(ret, "", path);
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

/* /proc/net/unix: "... Flags Type St Inode Path"; a stream socket that listens has the flag 00010000 (unix(7), proc(5)). */
static void find_unix(struct found_list *ret) {
    char line[512];
    FILE *f = fopen("/proc/net/unix", "re");
    while (f && fgets(line, sizeof(line), f)) {
        unsigned flags, type;
        char *path = strchr(line, '/');
        struct stat st;
        if (!path || sscanf(line, "%*s %*s %*s %x %x", &flags, &type) != 2 || !(flags & 0x10000) || type != SOCK_STREAM)
            continue;
        path[strcspn(path, "\n")] = '\0';
        if (!is_systems(path) && stat(path, &st) == 0 && S_ISSOCK(st.st_mode))
            add(ret, "unix:", path);
    }
    if (f)
        (void)fclose(f); /* was only read */
}

/* Ports that listen: /proc/net/tcp and tcp6, "N: ADDRESS:PORT REMOTE STATE ..." in hexadecimal, 0A = LISTEN. */
static void each_port(void (*fn)(void *ctx, uint16_t port), void *ctx) {
    static const char *const files[] = {"/proc/net/tcp", "/proc/net/tcp6"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char line[512];
        FILE *f = fopen(files[i], "re");
        while (f && fgets(line, sizeof(line), f)) {
            unsigned port, state;
            if (sscanf(line, " %*[^:]: %*[^:]:%x %*s %x", &port, &state) == 2 && state == 0x0a && port <= UINT16_MAX)
                fn(ctx, (uint16_t)port);
        }
        if (f)
            (void)fclose(f); /* was only read */
    }
}

struct wanted {
    uint16_t port;
    bool there;
};

static void look_for(void *ctx, uint16_t port) {
    struct wanted *w = ctx;
    w->there = w->there || port == w->port;
}

bool found_port_taken(uint16_t port) {
    struct wanted w = {port, false};
    each_port(look_for, &w);
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
            add(ret, "tcp:", text);
    }
}

void found_backends(struct found_list *ret) {
    ret->n = 0;
    find_unix(ret);
    find_tcp(ret);
}
