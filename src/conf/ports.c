#include "conf/ports.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "conf/proc_net.h"
#include "conf/report.h"

#define HOLDERS_MAX 16 /* sockets in the way of one address */

static int set_bind_option(int fd, int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof(value));
}

static bool set_bind_options(int fd, const struct conf_listener *l, bool v6, bool reuseport) {
    return set_bind_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) == 0 &&
           (!v6 || set_bind_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, l->v6only) == 0) &&
           (!reuseport || set_bind_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) == 0) &&
           (!l->device || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, l->device, (socklen_t)strlen(l->device)) == 0);
}

int port_bind(const struct conf_listener *l, const struct addr *at, bool reuseport) {
    const struct addr v4 = {.family = AF_INET, .port = at->port};
    struct sockaddr_storage ss;
    int fd = -1;
    if (l->mptcp)
        fd = socket(at->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_MPTCP);
    if (fd < 0)
        fd = socket(at->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 && errno == EAFNOSUPPORT && !l->v6only && addr_is_any(at) && at->family == AF_INET6)
        return port_bind(l, &v4, reuseport); /* this kernel has one of both */
    if (fd < 0)
        return -1;
    socklen_t len = addr_to_sockaddr(at, &ss);
    if (set_bind_options(fd, l, at->family == AF_INET6, reuseport) && bind(fd, (struct sockaddr *)&ss, len) == 0)
        return fd;
    int saved = errno;
    (void)close(fd); /* nothing was sent */
    errno = saved;
    return -1;
}

enum port_state port_probe(const struct conf_listener *l) {
    struct conf_listener plain = *l;
    plain.mptcp = false; /* its ports are those of TCP */
    int fd = port_bind(&plain, &l->addr, false);
    if (fd >= 0) {
        (void)close(fd); /* nothing was sent */
        return PORT_FREE;
    }
    return errno == EADDRINUSE                               ? PORT_IN_USE
           : errno == EACCES                                 ? PORT_NO_PERMISSION
           : errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT ? PORT_NO_ADDRESS
           : errno == ENODEV                                 ? PORT_NO_DEVICE
                                                             : PORT_FAILED;
}

struct port_holders {
    const struct addr *a; /* or PATH: what is looked for */
    const char *path;
    unsigned long inodes[HOLDERS_MAX];
    size_t n;
};

static bool is_in_the_way(const struct addr *of, const struct addr *a) {
    bool same_family = of->family == a->family;
    if (of->port != a->port)
        return false;
    return addr_is_any(of) || (same_family && (addr_is_any(a) || memcmp(of->ip, a->ip, sizeof(of->ip)) == 0));
}

static void note_holder(void *ctx, const struct proc_net_socket *s) {
    struct port_holders *h = ctx;
    if (h->n < HOLDERS_MAX && (h->path ? strcmp(s->path, h->path) == 0 : is_in_the_way(&s->at, h->a)))
        h->inodes[h->n++] = s->inode;
}

static bool process_has(int fd_dir, const unsigned long *inodes, size_t n) {
    DIR *d = fdopendir(fd_dir);
    bool has = false;
    if (!d) {
        (void)close(fd_dir); /* was only read */
        return false;
    }
    for (struct dirent *e; !has && (e = readdir(d));) {
        char target[64];
        unsigned long inode = 0;
        ssize_t len = readlinkat(dirfd(d), e->d_name, target, sizeof(target) - 1);
        if (len <= 0)
            continue;
        target[len] = 0;
        if (sscanf(target, "socket:[%lu]", &inode) != 1)
            continue;
        for (size_t i = 0; i < n; i++)
            has = has || inode == inodes[i];
    }
    (void)closedir(d); /* was only read */
    return has;
}

static void read_process_name(int proc, const char *pid, char to[static 32]) {
    char file[64];
    struct text t = text_of(file, sizeof(file));
    text_addf(&t, "%s/comm", pid);
    to[0] = 0;
    int fd = openat(proc, file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = fd_read_all(fd, to, 31);
    to[n > 0 ? n : 0] = 0;
    to[strcspn(to, "\n")] = 0;
    (void)close(fd); /* was only read */
}

static void find_process(const unsigned long *inodes, size_t n, struct port_holder *ret) {
    struct port_holder h = {0};
    DIR *proc = n > 0 ? opendir("/proc") : NULL;
    for (struct dirent *e; proc && (e = readdir(proc));) {
        uint64_t pid = 0;
        char fds[64];
        struct text t = text_of(fds, sizeof(fds));
        text_addf(&t, "%s/fd", e->d_name);
        if (text_parse_u64(e->d_name, INT32_MAX, &pid) != 0)
            continue;
        int dir = openat(dirfd(proc), fds, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0 || !process_has(dir, inodes, n))
            continue;
        if (h.pid == 0) {
            h.pid = (pid_t)pid;
            read_process_name(dirfd(proc), e->d_name, h.name);
        }
    }
    if (proc)
        (void)closedir(proc); /* was only read */
    *ret = h;
}

void port_find_holder(const struct addr *a, struct port_holder *ret) {
    struct port_holders h = {.a = a};
    /* An IPv6 socket for all addresses may serve IPv4 too; the other way round never. */
    if (a->family == AF_INET)
        proc_net_each(PROC_NET_TCP, note_holder, &h);
    if (h.n == 0)
        proc_net_each(PROC_NET_TCP6, note_holder, &h);
    find_process(h.inodes, h.n, ret);
}

/* A process that listens at a Unix socket ("/run/app.sock", "@name"). False: there is none. */
static bool find_socket_holder(const char *path, struct port_holder *ret) {
    struct port_holders h = {.path = path};
    proc_net_each(PROC_NET_UNIX, note_holder, &h);
    find_process(h.inodes, h.n, ret);
    return h.n > 0;
}

/*
 * A check of the file of the running proxy finds that proxy at its addresses. Only root may look at its processes, so for
 * others a holder that is not known may be it.
 */
static void say_held(struct load *l, const struct origin *o, const struct conf_listener *at, const struct port_holder *found) {
    const struct port_holder h = *found;
    char who[96];
    struct text t = text_of(who, sizeof(who));
    if (h.pid)
        text_addf(&t, "%s (process %d)", h.name, (int)h.pid);
    else
        text_add(&t, "another process");
    if ((l->flags & LOAD_FOR_CHECK) && h.pid == 0)
        load_warning(l, o->at, o->key, "\"%s\" is in use by a process that this user may not look at", at->name);
    else if ((l->flags & LOAD_FOR_CHECK) && strcmp(h.name, "tls-off") == 0)
        load_warning(l, o->at, o->key, "\"%s\" is in use by %s", at->name, who);
    else
        load_error(l, o->at, o->key, "found \"%s\" in use by %s, expected a free address", at->name, who);
}

static void say_in_use(struct load *l, const struct origin *o, const struct conf_listener *at) {
    const struct addr v4 = {.family = AF_INET, .port = at->addr.port};
    struct port_holder h;
    port_find_holder(&at->addr, &h);
    if (!h.pid && !at->v6only)
        port_find_holder(&v4, &h);
    say_held(l, o, at, &h);
}

/*
 * Given by the service manager, or ours before a reload. What overlaps with it is ours, too: while both are bound our sockets
 * share the port.
 */
static bool is_held_address(const struct load *l, const struct addr *a) {
    struct addr bare = *a;
    bare.scope = 0; /* those that are held are named without */
    for (size_t i = 0; i < l->capabilities->nheld; i++) {
        const struct addr *b = &l->capabilities->held[i];
        if (addr_equal(&bare, b) || (a->port == b->port && a->port != 0 && (addr_is_any(a) || addr_is_any(b))))
            return true;
    }
    return false;
}

static void check_port(struct load *l, const struct conf_listener *at, const struct origin *o) {
    const struct addr *a = &at->addr;
    const char *shown = at->name;
    if (is_held_address(l, a))
        return;
    switch (port_probe(at)) {
    case PORT_FREE:
        break;
    case PORT_IN_USE:
        say_in_use(l, o, at);
        break;
    case PORT_NO_PERMISSION:
        load_error(l, o->at, o->key,
                   "found \"%s\", which this user may not listen on: it takes root, CAP_NET_BIND_SERVICE, or a lower "
                   "net.ipv4.ip_unprivileged_port_start",
                   shown);
        break;
    case PORT_NO_ADDRESS:
        load_error(l, o->at, o->key, "found \"%s\", expected an address that this machine has", shown);
        break;
    case PORT_NO_DEVICE:
        load_error(l, o->at, o->key, "found \"%s\" at interface \"%s\", expected an interface that this machine has", shown,
                   at->device);
        break;
    case PORT_FAILED:
        load_error(l, o->at, o->key, "found \"%s\", which cannot be listened on: %s", shown, strerror(errno));
        break;
    }
}

/* ---- paths ---- */

/* The directory of PATH, or with MAKES_DIR that one's when only that one is missing. */
static void socket_dir(const char *path, bool makes_dir, char dir[static CONF_SOCKET_PATH_MAX + 1]) {
    struct text t = text_of(dir, CONF_SOCKET_PATH_MAX + 1);
    struct stat st;
    size_t len = (size_t)(strrchr(path, '/') - path);
    text_add_span(&t, span_of(path, MAX(len, (size_t)1)));
    char *slash = strrchr(dir, '/');
    if (makes_dir && stat(dir, &st) < 0 && errno == ENOENT)
        slash[slash == dir] = 0;
}

/*
 * The supervisor replaces a socket that nobody serves, and touches nothing else. MAKES_DIR: it makes the directory, too, in one
 * that is there.
 */
static void check_file(struct load *l, const struct conf_listener *at, bool makes_dir, const struct origin *o) {
    char dir[CONF_SOCKET_PATH_MAX + 1];
    struct stat st;
    socket_dir(at->path, makes_dir, dir);
    bool as_root = geteuid() == 0, there = lstat(at->path, &st) == 0;
    if (there && !S_ISSOCK(st.st_mode)) {
        load_error(l, o->at, o->key, "found \"%s\", where another file is, expected a free path", at->name);
        return;
    }
    if (there && !as_root && st.st_uid != geteuid()) {
        load_error(l, o->at, o->key, "found \"%s\", a socket of another user, expected a free path or a socket of ours",
                   at->name);
        return;
    }
    if (stat(dir, &st) < 0)
        load_error(l, o->at, o->key, "found \"%s\", expected a directory that is there (%s: %s)", at->name, dir,
                   strerror(errno));
    else if (!S_ISDIR(st.st_mode))
        load_error(l, o->at, o->key, "found \"%s\", expected a directory (%s is none)", at->name, dir);
    else if (!as_root && faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) < 0)
        load_error(l, o->at, o->key, "found \"%s\", expected a directory in which this user may make files (%s: %s)", at->name,
                   dir, strerror(errno));
}

/* Only root gives a socket to another user, or to a group that it is not in (chown(2)). FATAL: a start stops. */
static void check_rights(struct load *l, const struct socket_rights *r, bool fatal, const struct origin *owner,
                         const struct origin *group) {
    void (*say)(struct load *, struct toml_pos, const char *, const char *, ...) = fatal ? load_error : load_warning;
    if (geteuid() == 0)
        return;
    if (owner->at.line && r->uid != UINT32_MAX && r->uid != geteuid())
        say(l, owner->at, owner->key, "found another user, expected the one who starts tls-off: only root gives a socket away");
    if (group->at.line && r->gid != UINT32_MAX && r->gid != getegid() && !group_member(r->gid))
        say(l, group->at, group->key, "found a group of others, expected one that the user who starts tls-off is in");
}

static struct origin listener_origin(struct load *l, size_t i, enum conf_key key) {
    const struct toml_node *node = l->listeners[i].node[key];
    return (struct origin){node ? node->at : (struct toml_pos){0, 0}, load_listener_key(l, i, key)};
}

/* Whether somebody serves there is seen when it is bound; only `tls-off check` binds nothing. */
static void check_socket(struct load *l, const struct conf_listener *at, bool makes_dir, const struct origin *o) {
    struct port_holder h;
    if (at->path[0] == '/')
        check_file(l, at, makes_dir, o);
    if ((l->flags & LOAD_FOR_CHECK) && find_socket_holder(at->path, &h))
        say_held(l, o, at, &h);
}

static void check_listener_socket(struct load *l, size_t i) {
    const struct conf_listener *at = &l->conf->listeners[i];
    const struct origin owner = listener_origin(l, i, KEY_LISTENER_OWNER), group = listener_origin(l, i, KEY_LISTENER_GROUP);
    check_socket(l, at, false, &l->listeners[i].first);
    check_rights(l, &at->rights, true, &owner, &group);
}

/* A start stops without a socket that was asked for, and goes on without one in a place of its own choice. */
static void check_admin_ports(struct load *l) {
    const struct conf_admin *a = &l->conf->admin;
    char name[ADDR_TEXT_MAX];
    const struct origin socket = {load_top_at(l, KEY_ADMIN_SOCKET), load_top_key(KEY_ADMIN_SOCKET)};
    const struct origin listen = {load_top_at(l, KEY_ADMIN_LISTEN), load_top_key(KEY_ADMIN_LISTEN)};
    const struct origin owner = {load_top_at(l, KEY_ADMIN_SOCKET_OWNER), load_top_key(KEY_ADMIN_SOCKET_OWNER)};
    const struct origin group = {load_top_at(l, KEY_ADMIN_SOCKET_GROUP), load_top_key(KEY_ADMIN_SOCKET_GROUP)};
    if (a->socket)
        check_rights(l, &a->rights, a->socket_given, &owner, &group);
    if (a->socket && a->socket_given)
        check_socket(l, &(const struct conf_listener){.name = a->socket, .path = a->socket}, true, &socket);
    if (a->listen.family != AF_UNSPEC)
        check_port(l, &(const struct conf_listener){.name = addr_text(&a->listen, name), .addr = a->listen, .v6only = true},
                   &listen);
}

/* A port of 0 is chosen by the kernel, but the address must be this machine's all the same. */
void check_ports(struct load *l) {
    for (size_t i = 0; i < l->conf->nlisteners; i++) {
        const struct conf_listener *at = &l->conf->listeners[i];
        if (at->path)
            check_listener_socket(l, i);
        else
            check_port(l, at, &l->listeners[i].first);
    }
    check_admin_ports(l);
}
