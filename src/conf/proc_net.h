/* Sockets of this machine that listen, as /proc/net lists them (proc(5), unix(7)). */
#pragma once

#include "base/addr.h"

enum proc_net { PROC_NET_TCP, PROC_NET_TCP6, PROC_NET_UNIX };

struct proc_net_socket {
    struct addr at;
    const char *path; /* of a Unix socket, "@name" of an abstract one; else NULL */
    int type;         /* of a Unix socket, SOCK_STREAM or another */
    unsigned long inode;
};

typedef void (*proc_net_fn)(void *ctx, const struct proc_net_socket *s);

/* What FN is given ends with its call. Without such a list there are none. */
void proc_net_each(enum proc_net list, proc_net_fn fn, void *ctx);
