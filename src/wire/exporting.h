/*
 * Between the observer and the exporter, over a SOCK_SEQPACKET link: events that become spans, and how the collector stands.
 * The observer sends what the link has room for and drops the rest; it never waits.
 */
#pragma once

#include "base/defs.h"
#include "base/ipc.h"
#include "base/span.h"
#include "base/wr.h"
#include "wire/event.h"
#include "wire/server_state.h"

enum exporting_type {
    EXPORTING_EVENTS = 1, /* from the observer: events as in rings, each behind its length of 16 bits */
    EXPORTING_STATE,      /* from the exporter: struct server_state */
};

extern const struct ipc_rule exporting_to_exporter[];
extern const struct ipc_rule exporting_to_observer[];

/* Events that share a message. Begins zeroed. */
struct exporting_batch {
    uint8_t bytes[IPC_BODY_MAX];
    size_t len;
    uint32_t n;
};

/* False when there is no room for it. */
MUST_CHECK bool exporting_add(struct exporting_batch *b, const struct event *e);

/* Sends what B has; it is empty then, unless that failed. As ipc_send(). */
MUST_CHECK int exporting_send(int fd, struct exporting_batch *b);

/* Takes the next one off LEFT, which begins as the body of a message. False: there is none. ERR_FORMAT in *RET_ERR: the rest
 * makes no sense. RET borrows LEFT. */
MUST_CHECK bool exporting_next(struct span *left, struct event *ret, int *ret_err);
