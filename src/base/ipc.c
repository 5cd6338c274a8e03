/*
 * Messages between roles. Everything that comes from the other side is checked before it is passed on, and a descriptor is
 * either in the message passed on or closed here.
 */
#include "base/ipc.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"

/* Space for the descriptors of a message, aligned as the kernel wants it. */
union many_fds {
    struct cmsghdr align;
    uint8_t bytes[CMSG_SPACE(sizeof(int) * IPC_FDS_SENT_MAX)];
};

/* One outgoing message in the kernel's terms; points into itself, so it stays where it was made. */
struct packet {
    uint8_t type[2];
    struct iovec iov[2];
};

int ipc_pair(int sndbuf, int ret_fds[static 2]) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
        return ERR_SYSTEM;
    for (unsigned i = 0; i < 2 && sndbuf > 0; i++) {
        if (setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf)) != 0) {
            int saved = errno;
            close(fds[0]);
            close(fds[1]);
            errno = saved;
            return ERR_SYSTEM;
        }
    }
    memcpy(ret_fds, fds, sizeof(fds));
    return 0;
}

bool ipc_no_memory(int error) {
    return error == ENOBUFS || error == ENOMEM;
}

static int send_error(int error) {
    if (ipc_no_memory(error))
        return ERR_AGAIN;
    switch (error) {
    case EAGAIN:
    case ETOOMANYREFS: /* too many descriptors in flight: they leave when the peer reads */
        return ERR_AGAIN;
    case EPIPE:
    case ECONNRESET:
    case ECONNREFUSED:
    case ENOTCONN:
        return ERR_CLOSED;
    case EMSGSIZE:
        return ERR_LIMIT;
    default:
        return ERR_SYSTEM;
    }
}

/* iovec has no const form; sendmsg only reads. */
static void *unconst(const void *p) {
    union {
        const void *in;
        void *out;
    } u = {p};
    return u.out;
}

/* CONTROL has space for NFDS. */
static void fill_packet(struct packet *k, struct msghdr *m, uint16_t type, struct span body, const int *fds, unsigned nfds,
                        uint8_t *control) {
    k->type[0] = (uint8_t)(type >> 8);
    k->type[1] = (uint8_t)type;
    k->iov[0] = (struct iovec){k->type, sizeof(k->type)};
    k->iov[1] = (struct iovec){unconst(body.p), body.len};
    *m = (struct msghdr){.msg_iov = k->iov, .msg_iovlen = body.len ? 2 : 1};
    if (nfds == 0)
        return;
    m->msg_control = control;
    m->msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
    memset(control, 0, m->msg_controllen);
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
    memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
}

int ipc_send(int fd, uint16_t type, struct span body, const int *fds, unsigned nfds) {
    MUST(nfds <= IPC_FDS_SENT_MAX);
    if (body.len > IPC_BODY_MAX)
        return ERR_LIMIT;
    struct packet k;
    struct msghdr m;
    union many_fds control;
    fill_packet(&k, &m, type, body, fds, nfds, control.bytes);
    ssize_t n;
    do {
        n = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? send_error(errno) : 0;
}

/* Collects the descriptors that came, and closes those that there is no room for. */
static void take_fds(struct msghdr *m, int *fds, unsigned cap, struct ipc_raw *to) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (to->nfds < cap) {
                fds[to->nfds++] = fd;
            } else {
                close(fd);
                to->fds_lost = true;
            }
        }
    }
}

static void close_all(const int *fds, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static bool allowed(const struct ipc_rule *rules, const struct ipc_msg *m) {
    for (const struct ipc_rule *r = rules; r->type; r++)
        if (r->type == m->type)
            return m->nfds == r->fds && m->body.len >= r->min_len && m->body.len <= r->max_len;
    return false;
}

/* Where none may have any, what comes along is not even taken. */
static bool may_have_fds(const struct ipc_rule *rules) {
    while (rules->type && !rules->fds)
        rules++;
    return rules->type != 0;
}

/*
 * A peer that died with unread messages of ours leaves one ECONNRESET in front of its own last messages: the read after it
 * gives those, or the end.
 */
static ssize_t receive_past_reset(int fd, struct msghdr *m, size_t control_len, int flags) {
    ssize_t n;
    unsigned resets = 0;
    do {
        m->msg_controllen = control_len;
        m->msg_flags = 0;
        n = recvmsg(fd, m, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && (errno == EINTR || (errno == ECONNRESET && resets++ == 0)));
    return n;
}

static enum step receive_raw(int fd, void *scratch, int *fds, unsigned cap, int flags, struct ipc_raw *ret, int *ret_err) {
    uint8_t type[2];
    struct iovec iov[2] = {{type, sizeof(type)}, {scratch, IPC_BODY_MAX}};
    union many_fds control;
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2, .msg_control = control.bytes};
    MUST(cap <= IPC_FDS_SENT_MAX);
    ssize_t n = receive_past_reset(fd, &m, CMSG_SPACE(sizeof(int) * cap), flags);
    if (n < 0 && errno == EAGAIN)
        return STEP_WANT_READ;
    if (n < 0 && errno == ECONNRESET)
        return STEP_EOF;
    if (n < 0) {
        *ret_err = ERR_SYSTEM;
        return STEP_FAILED;
    }
    *ret = (struct ipc_raw){.fds_lost = (m.msg_flags & MSG_CTRUNC) != 0};
    take_fds(&m, fds, cap, ret);
    if (n == 0 && ret->nfds == 0) {
        if (flags & MSG_PEEK)
            ipc_skip(fd); /* an empty packet is an end, too */
        return STEP_EOF;
    }
    if (n < (ssize_t)sizeof(type) || m.msg_flags & MSG_TRUNC) {
        close_all(fds, ret->nfds);
        *ret_err = ERR_FORMAT;
        return STEP_FAILED;
    }
    ret->type = (uint16_t)(type[0] << 8 | type[1]);
    ret->body = span_of(scratch, (size_t)n - sizeof(type));
    return STEP_DONE;
}

enum step ipc_recv_raw(int fd, void *scratch, int *fds, unsigned cap, struct ipc_raw *ret, int *ret_err) {
    return receive_raw(fd, scratch, fds, cap, 0, ret, ret_err);
}

enum step ipc_recv_whole(int fd, void *scratch, int *fds, unsigned cap, struct ipc_raw *ret, int *ret_err) {
    enum step step = receive_raw(fd, scratch, fds, cap, MSG_PEEK, ret, ret_err);
    if (step == STEP_DONE && ret->fds_lost) {
        close_all(fds, ret->nfds);
        *ret_err = ret->nfds < cap ? ERR_OUT_OF_FDS : ERR_FORMAT;
        step = STEP_FAILED;
    }
    if (step == STEP_DONE || (step == STEP_FAILED && *ret_err == ERR_FORMAT))
        ipc_skip(fd); /* the queue's own copy of it */
    return step;
}

enum step ipc_recv(int fd, void *scratch, size_t cap, const struct ipc_rule *rules, struct ipc_msg *ret, int *ret_err) {
    MUST(cap >= IPC_BODY_MAX + 2);
    struct ipc_raw raw = {.type = 0};
    enum step step = may_have_fds(rules) ? ipc_recv_whole(fd, scratch, ret->fds, IPC_FDS_MAX, &raw, ret_err)
                                         : ipc_recv_raw(fd, scratch, ret->fds, 0, &raw, ret_err);
    ret->type = raw.type;
    ret->nfds = step == STEP_DONE ? raw.nfds : 0;
    ret->body = raw.body;
    if (step != STEP_DONE || (!raw.fds_lost && allowed(rules, ret)))
        return step;
    *ret_err = ERR_FORMAT;
    ipc_msg_close(ret);
    return STEP_FAILED;
}

void ipc_skip(int fd) {
    (void)recv(fd, NULL, 0, MSG_DONTWAIT);
}

int ipc_take(struct ipc_msg *m, unsigned i) {
    MUST(i < m->nfds);
    int fd = m->fds[i];
    m->fds[i] = -1;
    return fd;
}

void ipc_msg_close(struct ipc_msg *m) {
    close_all(m->fds, m->nfds);
    m->nfds = 0;
}
