#include "supervisor/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"

#define FIRST_FD            3
#define SOCKET_NAME_MAX_LEN 64

/* The name of socket number N: LISTEN_FDNAMES has them with colons between. */
static const char *socket_name(const char *names, uint64_t n, char to[static SOCKET_NAME_MAX_LEN]) {
    struct text t = text_of(to, SOCKET_NAME_MAX_LEN);
    for (; names && n > 0; n--) {
        names = strchr(names, ':');
        names = names ? names + 1 : NULL;
    }
    if (names)
        text_add_span(&t, span_of(names, strcspn(names, ":")));
    return t.len ? to : "without a name";
}

static bool read_socket_option(int fd, int level, int name, int *ret) {
    socklen_t len = sizeof(*ret);
    return getsockopt(fd, level, name, ret, &len) == 0;
}

/* "/run/app.sock", "@name"; "" when it has no name. */
static void put_path(const struct sockaddr_storage *ss, socklen_t len, struct text *to) {
    struct sockaddr_un sun;
    memcpy(&sun, ss, sizeof(sun));
    size_t n = len > offsetof(struct sockaddr_un, sun_path) ? len - offsetof(struct sockaddr_un, sun_path) : 0;
    bool abstract = n > 1 && sun.sun_path[0] == 0;
    text_add(to, abstract ? "@" : "");
    text_add_span(to, abstract ? span_of(sun.sun_path + 1, n - 1) : span_of(sun.sun_path, strnlen(sun.sun_path, n)));
}

/* A listening stream socket of TCP or with a Unix name, as what a service would ask for. */
static bool is_listener(int fd, struct conf_listener *ret, struct text *path) {
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof(ss);
    int type, protocol, listens;
    if (!read_socket_option(fd, SOL_SOCKET, SO_TYPE, &type) || !read_socket_option(fd, SOL_SOCKET, SO_PROTOCOL, &protocol) ||
        !read_socket_option(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens) || getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
        return false;
    *ret = (struct conf_listener){.addr = {0}};
    addr_from_sockaddr(&ss, &ret->addr);
    if (ss.ss_family == AF_UNIX)
        put_path(&ss, len, path);
    ret->path = path->len ? path->p : NULL;
    return type == SOCK_STREAM && listens && (ret->path || (protocol == IPPROTO_TCP && addr_is_ip(&ret->addr)));
}

/* Several of one address are a group (ReusePort=). */
static struct listener *place_of_group(struct listeners *l, const struct conf_listener *asked) {
    for (size_t i = 0; i < l->n; i++)
        if (addr_equal(&asked->addr, &l->list[i].asked) && strcmp(asked->path ? asked->path : "", l->list[i].local.path) == 0)
            return &l->list[i];
    return listeners_add(l, asked, 0);
}

static bool take_socket(struct listeners *l, int fd, const char *name, struct text *why) {
    struct conf_listener asked;
    char path[CONF_SOCKET_PATH_MAX + 2] = "";
    struct text p = text_of(path, sizeof(path));
    const int one = 1;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || !is_listener(fd, &asked, &p)) {
        text_addf(
            why,
            "descriptor %d (%s), passed by the service manager: expected a listening TCP socket, or a Unix stream socket with a name",
            fd, name);
        return false;
    }
    struct listener *one_of = place_of_group(l, &asked);
    MUST(one_of); /* memory, at the start of the process */
    if (one_of->nfds == WORKERS_MAX) {
        text_addf(why, "descriptor %d (%s), passed by the service manager: more than %d sockets of one address", fd, name,
                  WORKERS_MAX);
        return false;
    }
    /* like our own sockets; accepted ones inherit it */
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        (!asked.path && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)) {
        text_addf(why, "descriptor %d (%s), passed by the service manager: %s", fd, name, strerror(errno));
        return false;
    }
    one_of->given = true;
    one_of->fds[one_of->nfds++] = fd;
    one_of->nlistening = one_of->nserved = one_of->nfds;
    return true;
}

static bool take_sockets_passed(struct listeners *l, uint64_t n, const char *names, struct text *why) {
    char name[SOCKET_NAME_MAX_LEN];
    for (uint64_t i = 0; i < n; i++)
        if (!take_socket(l, FIRST_FD + (int)i, socket_name(names, i, name), why))
            return false;
    return true;
}

/* How many were passed. A variable that is meant for another process is ignored. */
static uint64_t passed(void) {
    const char *pid_text = getenv("LISTEN_PID"), *n_text = getenv("LISTEN_FDS");
    uint64_t pid, n;
    bool ours = pid_text && n_text && text_parse_u64(pid_text, INT32_MAX, &pid) == 0 && pid == (uint64_t)getpid();
    return ours && text_parse_u64(n_text, CONF_LISTENERS_MAX * WORKERS_MAX, &n) == 0 ? n : 0;
}

int activation_end(void) {
    return FIRST_FD + (int)passed();
}

bool activation_take(struct listeners *l, struct text *why) {
    bool ok = take_sockets_passed(l, passed(), getenv("LISTEN_FDNAMES"), why);
    unsetenv("LISTEN_PID"); /* not for our children */
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return ok;
}

static bool is_configured(const struct listeners *l, const struct conf *c, const struct listener *one) {
    for (size_t i = 0; i < c->nlisteners; i++)
        if (listeners_find(l, c, i) == one)
            return true;
    return false;
}

bool activation_check(const struct listeners *l, const struct conf *c, struct text *why) {
    bool ok = true;
    for (size_t k = 0; k < l->n; k++) {
        char address[LISTENER_TEXT_MAX];
        if (!l->list[k].given || is_configured(l, c, &l->list[k]))
            continue;
        (void)listener_text(&l->list[k], address); /* returns ADDRESS */
        text_addf(why, "%sthe service manager passed a socket of %s, but no service has \"%s\" in its listen", ok ? "" : "; ",
                  address, address);
        ok = false;
    }
    return ok;
}
