#include "conf/proc_net.h"

#include <stdio.h>
#include <string.h>

#define TCP_LISTEN_   0x0a    /* net/tcp_states.h of the kernel */
#define UNIX_LISTENS_ 0x10000 /* __SO_ACCEPTCON of linux/net.h */

/* 32-bit words in host order, printed in hex. */
static bool read_proc_ip(const char *hex, size_t words, uint8_t to[static 16]) {
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

/* "N: ADDRESS:PORT REMOTE STATE ...", in hexadecimal. */
static bool read_tcp_line(const char *line, size_t words, struct proc_net_socket *ret) {
    char ip_hex[40];
    unsigned port = 0, state = 0;
    if (sscanf(line, " %*u: %32[0-9A-Fa-f]:%4x %*[0-9A-Fa-f:] %2x %*s %*s %*s %*u %*u %lu", ip_hex, &port, &state,
               &ret->inode) != 4)
        return false;
    ret->at = (struct addr){.family = words == 4 ? AF_INET6 : AF_INET, .port = (uint16_t)port};
    return state == TCP_LISTEN_ && strlen(ip_hex) == words * 8 && read_proc_ip(ip_hex, words, ret->at.ip);
}

/* "Num: RefCount Protocol Flags Type St Inode Path" */
static bool read_unix_line(char *line, struct proc_net_socket *ret) {
    unsigned flags = 0, type = 0;
    int at = 0;
    line[strcspn(line, "\n")] = 0;
    if (sscanf(line, "%*s %*x %*x %x %x %*x %lu %n", &flags, &type, &ret->inode, &at) != 3 || at == 0)
        return false;
    ret->path = line + at;
    ret->type = (int)type;
    return flags & UNIX_LISTENS_;
}

void proc_net_each(enum proc_net list, proc_net_fn fn, void *ctx) {
    static const char *const files[] = {"/proc/net/tcp", "/proc/net/tcp6", "/proc/net/unix"};
    char line[512];
    FILE *f = fopen(files[list], "re");
    while (f && fgets(line, sizeof(line), f)) {
        struct proc_net_socket s = {.path = NULL};
        if (list == PROC_NET_UNIX ? read_unix_line(line, &s) : read_tcp_line(line, list == PROC_NET_TCP ? 1 : 4, &s))
            fn(ctx, &s);
    }
    if (f)
        (void)fclose(f); /* was only read */
}
