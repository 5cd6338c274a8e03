/*
 * The hand-off message: a session leaves the handshaker for a relay, with the client's descriptor. Everything the relay will
 * ever know about the session is in it. Read with the care due to any other process.
 */
#pragma once

#include "base/ipc.h"
#include "wire/conn_info.h"

enum handoff_type {
    HANDOFF_SESSION = 1,     /* fds: client */
    HANDOFF_PASSTHROUGH = 2, /* fds: client; no keys, READ_AHEAD goes to the backend as it is */
};

#define HANDOFF_READ_AHEAD_MAX (40 * 1024)
#define HANDOFF_BODY_MAX       (HANDOFF_READ_AHEAD_MAX + CONN_INFO_PACKED_MAX + 1024)

extern const struct ipc_rule handoff_rules[];

/* One direction's keys as the record layer keeps them. */
struct handoff_keys {
    uint64_t seq;
    uint64_t explicit_nonce;
    uint8_t secret[48];
    uint8_t key[32];
    uint8_t iv[12];
};

struct handoff {
    struct conn_info conn_info;
    struct handoff_keys in, out; /* from and to the client */
    uint16_t out_max;            /* plain bytes a record to the client may hold */
    struct span read_ahead;      /* bytes of the client's behind the handshake, not yet opened */
};

/* Packs into W. The keys are in W's memory then: the caller wipes it after sending. */
void handoff_pack(struct wr *w, const struct handoff *h, enum handoff_type type);

/* Spans borrow the message. ERR_FORMAT. */
MUST_CHECK int handoff_unpack(const struct ipc_msg *m, struct handoff *ret);
