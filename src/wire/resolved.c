#include "wire/resolved.h"

#include <string.h>

#include "base/err.h"
#include "wire/addr_pack.h"

#define RESOLVED_HEAD 5
#define RESOLVED_MAX  (RESOLVED_HEAD + RESOLVED_ADDRS_MAX * ADDR_PACKED_MAX)

const struct ipc_rule resolved_rules[] = {
    {RESOLVED_ADDRS, 0, RESOLVED_HEAD, RESOLVED_MAX},
    {0, 0, 0, 0},
};

int resolved_send(int fd, const struct resolved *r) {
    uint8_t body[RESOLVED_MAX];
    struct wr w = wr_of(body, sizeof(body));
    wr_u16(&w, r->service);
    wr_u16(&w, r->backend);
    wr_u8(&w, r->n);
    for (size_t i = 0; i < r->n && i < RESOLVED_ADDRS_MAX; i++)
        addr_pack(&w, &r->addrs[i]);
    if (r->n > RESOLVED_ADDRS_MAX || !wr_end(&w))
        return ERR_LIMIT;
    return ipc_send(fd, RESOLVED_ADDRS, wr_written(&w), NULL, 0);
}

int resolved_read(const struct ipc_msg *m, struct resolved *ret) {
    if (m->type != RESOLVED_ADDRS)
        return ERR_FORMAT;
    memset(ret, 0, sizeof(*ret));

    struct rd r = rd_of(m->body);
    ret->service = rd_u16(&r);
    ret->backend = rd_u16(&r);
    ret->n = rd_u8(&r);
    if (ret->n > RESOLVED_ADDRS_MAX)
        return ERR_FORMAT;
    for (size_t i = 0; i < ret->n; i++) {
        addr_unpack(&r, &ret->addrs[i]);
        if (!addr_is_ip(&ret->addrs[i]))
            r.bad = true;
    }
    return rd_end(&r) ? 0 : ERR_FORMAT;
}
