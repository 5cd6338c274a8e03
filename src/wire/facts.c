#include "wire/facts.h"

#include <string.h>

#include "wire/addr_pack.h"

enum { PACKED_UNSPEC = 0, PACKED_INET = 4, PACKED_INET6 = 6 };

#define VERSION_1_2 0x0303
#define VERSION_1_3 0x0304

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

void facts_pack(struct wr *w, const struct facts *f) {
    wr_bytes(w, f->unique_id, FACTS_UNIQUE_ID_LEN);
    wr_u16(w, f->service);
    addr_pack(w, &f->client);
    addr_pack(w, &f->peer);
    addr_pack(w, &f->local);
    wr_u16(w, f->tls_version);
    wr_u16(w, f->suite);
    wr_u16(w, f->group);
    wr_u8(w, f->resumed);
    wr_u64(w, f->start_wall_us);
    wr_u64(w, f->start_mono_us);
    wr_u32(w, f->handshake_us);
    wr_vec8(w, f->sni);
    wr_vec8(w, f->alpn);
    w->bad = w->bad || f->ja4.len > FACTS_JA4_MAX;
    wr_vec8(w, f->ja4);
}

void facts_unpack(struct rd *r, struct facts *ret) {
    rd_copy(r, ret->unique_id, FACTS_UNIQUE_ID_LEN);
    ret->service = rd_u16(r);
    addr_unpack(r, &ret->client);
    addr_unpack(r, &ret->peer);
    addr_unpack(r, &ret->local);
    ret->tls_version = rd_u16(r);
    ret->suite = rd_u16(r);
    ret->group = rd_u16(r);
    uint8_t resumed = rd_u8(r);
    ret->resumed = resumed == 1;
    ret->start_wall_us = rd_u64(r);
    ret->start_mono_us = rd_u64(r);
    ret->handshake_us = rd_u32(r);
    ret->sni = rd_vec8(r);
    ret->alpn = rd_vec8(r);
    ret->ja4 = rd_vec8(r);
    if (resumed > 1 || ret->ja4.len > FACTS_JA4_MAX)
        r->bad = true;
    if (ret->tls_version != 0 && ret->tls_version != VERSION_1_2 && ret->tls_version != VERSION_1_3)
        r->bad = true;
}
