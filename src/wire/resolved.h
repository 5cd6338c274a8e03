/* What the resolver sends to relays: the addresses a backend's host name resolves to at present. */
#pragma once

#include "base/addr.h"
#include "base/ipc.h"

#define RESOLVED_ADDRS_MAX 16

enum resolved_type { RESOLVED_ADDRS = 1 };

extern const struct ipc_rule resolved_rules[];

struct resolved {
    uint16_t service; /* indices into the snapshot */
    uint16_t backend;
    uint8_t n;
    struct addr addrs[RESOLVED_ADDRS_MAX];
};

MUST_CHECK int resolved_send(int fd, const struct resolved *r);
MUST_CHECK int resolved_read(const struct ipc_msg *m, struct resolved *ret);
