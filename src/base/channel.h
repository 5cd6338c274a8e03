/*
 * A link between two roles, on which messages come as events of the loop: one descriptor that is replaced when the peer is.
 *
 * One message an event, checked against the rules of the link and given to its owner. A peer that breaks the rules, that has
 * gone, or whose messages cannot be received loses the link; it goes on when the supervisor sends the next one. An owner sends
 * on FD itself, without waiting: what a full queue means is its own matter.
 *
 * Not for links on which sessions travel: those messages stay in the queue until there is room for them
 * (relay/arrivals.c, relay/migrate_in.c).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/ipc.h"
#include "base/loop.h"

struct channel;

struct channel_ops {
    const struct ipc_rule *rules; /* of what the peer sends */
    /* False: it makes no sense. Descriptors that are not taken out of M are closed. It may close the channel. */
    bool (*message)(void *ctx, struct channel *c, struct ipc_msg *m);
    /* The link has been closed, or replaced. BROKEN: the peer broke the rules. NULL: nothing is to be done. */
    void (*closed)(void *ctx, bool broken);
};

struct channel {
    int fd; /* -1 = none */
    struct loop *loop;
    const struct channel_ops *ops;
    void *ctx;
    unsigned kind;
    uint32_t place; /* in the list */
    uint32_t gen;   /* of the link, so that a late event of the one before is none of this one */
};

/* N channels without a link; their events have KIND. LIST, OPS and CTX are kept. */
void channel_init(struct channel *list, size_t n, struct loop *loop, unsigned kind, const struct channel_ops *ops, void *ctx);

/* FD, owned from here, takes the place of an earlier link. ERR_SYSTEM (errno): it cannot be watched, and is closed. */
MUST_CHECK int channel_open(struct channel *c, int fd);

/* Closes the link, when there is one. */
void channel_close(struct channel *c);
