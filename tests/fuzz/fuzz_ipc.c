/*
 * Arbitrary packets through a socket pair into ipc_recv(). The input is a row of packets: length (u16), descriptors (u8),
 * bytes. What is handed on keeps to the rules, and no descriptor is left behind.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/defs.h"
#include "base/err.h"
#include "base/ipc.h"
#include "base/rd.h"

#define PACKETS_MAX 8
#define FDS_MAX     7

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct ipc_rule rules[] = {
    {1, 0, 0, 0}, {2, 0, 4, 4}, {3, 1, 0, 100}, {4, 4, 2, 20}, {0x0105, 0, 0, IPC_BODY_MAX}, {0, 0, 0, 0},
};

static uint8_t scratch[IPC_BODY_MAX + 2];

static void send_packet(int fd, struct span bytes, unsigned nfds) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
    } control = {.bytes = {0}};
    union {
        const void *in;
        void *out;
    } p = {bytes.p};
    struct iovec iov = {p.out, bytes.len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (nfds) {
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        *c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int) * nfds)};
        for (unsigned i = 0; i < nfds; i++)
            memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(int));
    }
    MUST(sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)bytes.len);
}

static void check(const struct ipc_msg *m) {
    const struct ipc_rule *r = rules;
    while (r->type && r->type != m->type)
        r++;
    MUST(r->type);
    MUST(m->nfds == r->fds && m->body.len >= r->min_len && m->body.len <= r->max_len);
    uint8_t sum = 0;
    for (size_t i = 0; i < m->body.len; i++)
        sum = (uint8_t)(sum + m->body.p[i]);
    scratch[0] = sum;
}

static int lowest_free_fd(void) {
    int fd = dup(STDIN_FILENO);
    if (fd >= 0)
        close(fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int ends[2];
    int before = lowest_free_fd();
    struct rd r = rd_of(span_of(data, size));
    MUST(ipc_pair(0, ends) == 0);
    for (unsigned n = 0; n < PACKETS_MAX && rd_left(&r) >= 3; n++) {
        size_t len = rd_u16(&r);
        unsigned nfds = rd_u8(&r) % (FDS_MAX + 1);
        struct span bytes = rd_bytes(&r, MIN(len, rd_left(&r)));
        struct ipc_msg m;
        int err = 0;
        send_packet(ends[0], bytes, nfds);
        enum step s = ipc_recv(ends[1], scratch, sizeof(scratch), rules, &m, &err);
        MUST(s == STEP_DONE || (s == STEP_FAILED && err == ERR_FORMAT) || (s == STEP_EOF && bytes.len == 0));
        if (s == STEP_DONE) {
            check(&m);
            ipc_msg_close(&m);
        }
    }
    close(ends[0]);
    close(ends[1]);
    MUST(lowest_free_fd() == before);
    return 0;
}
