/*
 * How a server that is not ours stands, as the role that speaks to it reports: whether it can be used, since when, and why not.
 * Sent when that changes, and to a new listener.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/ipc.h"
#include "base/span.h"

#define SERVER_WHY_MAX   256
#define SERVER_STATE_MIN 19 /* bytes of the message */
#define SERVER_STATE_MAX (SERVER_STATE_MIN + SERVER_WHY_MAX)

struct server_state {
    bool up;
    int64_t since_s;   /* 1970, for people */
    uint64_t since_ms; /* monotonic, as all processes of a machine have it */
    struct span why;   /* it is away; empty when it is up */
};

/* As a message of that type. As ipc_send(). */
MUST_CHECK int server_state_send(int fd, uint16_t type, const struct server_state *s);

/* ERR_FORMAT. WHY borrows the message. */
MUST_CHECK int server_state_read(const struct ipc_msg *m, struct server_state *ret);
