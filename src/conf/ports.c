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

#include "base/text.h"
#include "conf/loader.h"

#define HOLDERS_MAX   16      /* sockets in the way of one address */
#define TCP_LISTEN_   0x0a    /* net/tcp_states.h of the kernel */
#define UNIX_LISTENS_ 0x10000 /* __SO_ACCEPTCON of linux/net.h */

static int set(int fd, int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof(value));
}

static bool set_options(int fd, const struct conf_listener *l, bool v6, bool reuseport) {
    return set(fd, SOL_SOCKET, SO_REUSEADDR, 1) == 0 && (!v6 || set(fd, IPPROTO_IPV6, IPV6_V6ONLY, l->v6only) == 0) &&
           (!reuseport || set(fd, SOL_SOCKET, SO_REUSEPORT, 1) == 0) &&
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
    if (set_options(fd, l, at->family == AF_INET6, reuseport) && bind(fd, (struct sockaddr *)&ss, len) == 0)
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

/* An address of /proc/net/tcp: 32-bit words in host order, printed in hex. */
static bool read_proc_ip(const char *hex, size_t words, uint8_t to[static 16]) {
    memset(to, 0, 16);
    for (size_t w = 0; w < words; w++) {
        unsigned v = 0;
        char part[9] = {0};
        memcpy(part, hex + w * 8, 8);
        if (sscanf(part, "%8x", &v) != 1)
            return false;
        memcpy(to + w * 4, &v, 4);
    }
    return true;
}

static bool all_zero(const uint8_t ip[static 16]) {
    static const uint8_t zero[16];
    return memcmp(ip, zero, sizeof(zero)) == 0;
}

/* One line of /proc/net/tcp or tcp6: the inode of a socket that listens in A's way, or 0. */
static unsigned long line_inode(const char *line, const struct addr *a, bool v6) {
    char ip_hex[40];
    unsigned port = 0, state = 0;
    unsigned long inode = 0;
    uint8_t ip[16];
    size_t words = v6 ? 4 : 1;
    if (sscanf(line, " %*u: %32[0-9A-Fa-f]:%4x %*[0-9A-Fa-f:] %2x %*s %*s %*s %*u %*u %lu", ip_hex, &port, &state, &inode) != 4)
        return 0;
    if (state != TCP_LISTEN_ || port != a->port || strlen(ip_hex) != words * 8 || !read_proc_ip(ip_hex, words, ip))
        return 0;
    bool same_family = v6 == (a->family == AF_INET6);
    if (all_zero(ip) || (same_family && all_zero(a->ip)))
        return inode;
    return same_family && memcmp(ip, a->ip, sizeof(ip)) == 0 ? inode : 0;
}

static size_t find_inodes(const char *file, const struct addr *a, bool v6, unsigned long inodes[static HOLDERS_MAX]) {
    char line[512];
    size_t n = 0;
    FILE *f = fopen(file, "re");
    if (!f)
        return 0;
    while (n < HOLDERS_MAX && fgets(line, sizeof(line), f)) {
        unsigned long inode = line_inode(line, a, v6);
        if (inode)
            inodes[n++] = inode;
    }
    (void)fclose(f); /* was only read */
    return n;
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

static void read_name(int proc, const char *pid, char to[static 32]) {
    char file[64];
    struct text t = text_of(file, sizeof(file));
    text_addf(&t, "%s/comm", pid);
    to[0] = 0;
    int fd = openat(proc, file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = read(fd, to, 31);
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
            read_name(dirfd(proc), e->d_name, h.name);
        }
    }
    if (proc)
        (void)closedir(proc); /* was only read */
    *ret = h;
}

void port_find_holder(const struct addr *a, struct port_holder *ret) {
    unsigned long inodes[HOLDERS_MAX];
    /* An IPv6 socket for all addresses may serve IPv4 too; the other way round never. */
    size_t n = a->family == AF_INET ? find_inodes("/proc/net/tcp", a, false, inodes) : 0;
    if (n == 0)
        n = find_inodes("/proc/net/tcp6", a, true, inodes);
    find_process(inodes, n, ret);
}

/* A process that listens at a Unix socket ("/run/app.sock", "@name"). False: there is none. */
static bool find_socket_holder(const char *path, struct port_holder *ret) {
    unsigned long inodes[HOLDERS_MAX], inode = 0;
    char line[512];
    size_t n = 0;
    FILE *f = fopen("/proc/net/unix", "re");
    while (f && n < HOLDERS_MAX && fgets(line, sizeof(line), f)) {
        unsigned flags = 0, type = 0;
        int at = 0;
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "%*s %*x %*x %x %x %*x %lu %n", &flags, &type, &inode, &at) == 3 && at > 0 && flags & UNIX_LISTENS_ &&
            strcmp(line + at, path) == 0)
            inodes[n++] = inode;
    }
    if (f)
        (void)fclose(f); /* was only read */
    find_process(inodes, n, ret);
    return n > 0;
}

static void say_held(struct load *l, const struct origin *o, const struct conf_listener *at, const struct port_holder *found) {
    const struct port_holder h = *found;
    char who[96];
    struct text t = text_of(who, sizeof(who));
    if (h.pid)
        text_addf(&t, "%s (process %d)", h.name, (int)h.pid);
    else
        text_add(&t, "another process");
    if ((l->flags & LOAD_FOR_CHECK) && strcmp(h.name, "tls-off") == 0)
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
static bool is_held(const struct load *l, const struct addr *a) {
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
    if (is_held(l, a))
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

/* The supervisor replaces a socket that nobody serves, and touches nothing else. */
static void check_file(struct load *l, const struct conf_listener *at, const struct origin *o) {
    char dir[CONF_SOCKET_PATH_MAX + 1];
    struct text t = text_of(dir, sizeof(dir));
    struct stat st;
    size_t len = (size_t)(strrchr(at->path, '/') - at->path);
    text_add_span(&t, span_of(at->path, MAX(len, (size_t)1)));
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

/* Whether somebody serves there is seen when it is bound; only `tls-off check` binds nothing. */
static void check_socket(struct load *l, const struct conf_listener *at, const struct origin *o) {
    struct port_holder h;
    if (at->path[0] == '/')
        check_file(l, at, o);
    if ((l->flags & LOAD_FOR_CHECK) && find_socket_holder(at->path, &h))
        say_held(l, o, at, &h);
}

/* A port of 0 is chosen by the kernel, but the address must be this machine's all the same. */
void check_ports(struct load *l) {
    for (size_t i = 0; i < l->conf->nlisteners; i++) {
        const struct conf_listener *at = &l->conf->listeners[i];
        if (at->path)
            check_socket(l, at, &l->listeners[i].first);
        else
            check_port(l, at, &l->listeners[i].first);
    }
    char name[ADDR_TEXT_MAX];
    const struct origin admin = {load_top_at(l, KEY_ADMIN_LISTEN), load_top_key(KEY_ADMIN_LISTEN)};
    const struct conf_listener at = {
        .name = addr_text(&l->conf->admin.listen, name), .addr = l->conf->admin.listen, .v6only = true};
    if (at.addr.family != AF_UNSPEC)
        check_port(l, &at, &admin);
}
