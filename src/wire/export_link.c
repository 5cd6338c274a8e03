#include "wire/export_link.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"

union fd_space {
    struct cmsghdr align;
    uint8_t bytes[CMSG_SPACE(sizeof(int) * EXPORT_FDS_MAX)];
};

static int send_error(int error) {
    switch (error) {
    case EAGAIN:
    case ENOBUFS:
    case ETOOMANYREFS: /* too many descriptors under way: they leave when the other side reads */
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

int export_send(int fd, enum export_type type, struct span body, const int *fds, unsigned nfds) {
    uint8_t head[2] = {0, (uint8_t)type};
    struct iovec iov[2] = {{head, sizeof(head)}, {(void *)(uintptr_t)body.p, body.len}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = body.len ? 2 : 1};
    union fd_space control;
    MUST(nfds <= EXPORT_FDS_MAX);
    if (body.len > IPC_BODY_MAX)
        return ERR_LIMIT;
    if (nfds) {
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
        memset(control.bytes, 0, m.msg_controllen);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int) * nfds), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
    }
    ssize_t n;
    do {
        n = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? send_error(errno) : 0;
}

/* Descriptors of a message; more than there is room for cannot come, since the control space holds no more. */
static void take_fds(struct msghdr *m, struct export_msg *to) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (to->nfds < EXPORT_FDS_MAX)
                to->fds[to->nfds++] = fd;
            else
                close(fd);
        }
    }
}

void export_msg_close(struct export_msg *m) {
    for (unsigned i = 0; i < m->nfds; i++)
        if (m->fds[i] >= 0)
            close(m->fds[i]);
    m->nfds = 0;
}

/* One reset of a peer that died with messages unread stands in front of its own last ones. */
static ssize_t receive(int fd, struct msghdr *m, size_t control_len) {
    ssize_t n;
    unsigned resets = 0;
    do {
        m->msg_controllen = control_len;
        m->msg_flags = 0;
        n = recvmsg(fd, m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && (errno == EINTR || (errno == ECONNRESET && resets++ == 0)));
    return n;
}

enum step export_recv(int fd, uint8_t *scratch, struct export_msg *ret, int *ret_err) {
    uint8_t type[2];
    struct iovec iov[2] = {{type, sizeof(type)}, {scratch, IPC_BODY_MAX}};
    union fd_space control;
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2, .msg_control = control.bytes};
    ret->nfds = 0;
    ssize_t n = receive(fd, &m, sizeof(control.bytes));
    if (n < 0 && errno == EAGAIN)
        return STEP_WANT_READ;
    if (n < 0) {
        *ret_err = ERR_SYSTEM;
        return errno == ECONNRESET ? STEP_EOF : STEP_FAILED;
    }
    take_fds(&m, ret);
    if (n == 0 && ret->nfds == 0)
        return STEP_EOF;
    if (n < (ssize_t)sizeof(type) || (m.msg_flags & MSG_TRUNC)) {
        export_msg_close(ret);
        *ret_err = ERR_FORMAT;
        return STEP_FAILED;
    }
    /* The space holds all that a message can carry, so the kernel cuts descriptors only for want of free ones. */
    ret->fds_lost = (m.msg_flags & MSG_CTRUNC) != 0;
    if (ret->fds_lost)
        export_msg_close(ret);
    ret->type = (uint16_t)(type[0] << 8 | type[1]);
    ret->body = span_of(scratch, (size_t)n - sizeof(type));
    return STEP_DONE;
}

void export_batch_pack(struct wr *w, const struct export_batch *b) {
    wr_u8(w, b->major);
    wr_u8(w, b->minor);
    wr_u32(w, b->number);
    wr_u16(w, b->n);
}

void export_batch_unpack(struct rd *r, struct export_batch *ret) {
    ret->major = rd_u8(r);
    ret->minor = rd_u8(r);
    ret->number = rd_u32(r);
    ret->n = rd_u16(r);
    if (ret->n == 0 || ret->n > EXPORT_BATCH_MAX)
        r->bad = true;
}

struct span export_next(struct rd *r, unsigned *ret_fds) {
    uint8_t fds = rd_u8(r);
    if (fds < 1 || fds > 2)
        r->bad = true;
    *ret_fds = fds;
    return rd_vec24(r);
}

void export_taken_pack(struct wr *w, const struct export_taken *t) {
    wr_u32(w, t->number);
    wr_vec16(w, t->results);
}

int export_taken_unpack(const struct export_msg *m, struct export_taken *ret) {
    struct rd r = rd_of(m->body);
    struct export_taken t = {.number = rd_u32(&r)};
    t.results = rd_vec16(&r);
    if (m->type != EXPORT_TAKEN || m->nfds || !rd_end(&r) || t.results.len == 0 || t.results.len > EXPORT_BATCH_MAX)
        return ERR_FORMAT;
    for (size_t i = 0; i < t.results.len; i++)
        if (t.results.p[i] >= EXPORT_RESULTS)
            return ERR_FORMAT;
    *ret = t;
    return 0;
}

int export_bytes_unpack(const struct export_msg *m, enum export_part *ret_part, struct span *ret_bytes) {
    struct rd r = rd_of(m->body);
    uint8_t part = rd_u8(&r);
    struct span bytes = rd_bytes(&r, rd_left(&r));
    if (m->type != EXPORT_BYTES || m->nfds || r.bad || part >= EXPORT_PARTS || bytes.len == 0)
        return ERR_FORMAT;
    *ret_part = (enum export_part)part;
    *ret_bytes = bytes;
    return 0;
}
