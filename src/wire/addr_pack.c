#include "wire/addr_pack.h"

#include <string.h>

enum { PACKED_UNSPEC = 0, PACKED_PROCESS = 1, PACKED_INET = 4, PACKED_INET6 = 6 };

#define PROCESS_LEN 12

void addr_pack(struct wr *w, const struct addr *a) {
    switch (a->family) {
    case AF_INET:
        wr_u8(w, PACKED_INET);
        wr_u16(w, a->port);
        wr_bytes(w, a->ip, 4);
        break;
    case AF_INET6:
        wr_u8(w, PACKED_INET6);
        wr_u16(w, a->port);
        wr_bytes(w, a->ip, 16);
        break;
    case AF_UNIX:
        wr_u8(w, PACKED_PROCESS);
        wr_bytes(w, a->ip, PROCESS_LEN);
        break;
    default:
        wr_u8(w, PACKED_UNSPEC);
    }
}

void addr_unpack(struct rd *r, struct addr *ret) {
    memset(ret, 0, sizeof(*ret));
    switch (rd_u8(r)) {
    case PACKED_UNSPEC:
        ret->family = AF_UNSPEC;
        break;
    case PACKED_PROCESS:
        ret->family = AF_UNIX;
        rd_copy(r, ret->ip, PROCESS_LEN);
        break;
    case PACKED_INET:
        ret->family = AF_INET;
        ret->port = rd_u16(r);
        rd_copy(r, ret->ip, 4);
        break;
    case PACKED_INET6:
        ret->family = AF_INET6;
        ret->port = rd_u16(r);
        rd_copy(r, ret->ip, 16);
        break;
    default:
        r->bad = true;
    }
}
