/*
 * How the store of the fleet stands, as the fleet role reports it: kept here for the status and the metrics. The same link has
 * the summaries of clients.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/channel.h"
#include "base/defs.h"
#include "conf/conf.h"
#include "observer/server_view.h"
#include "wire/sharing.h"

struct exposition;

struct shared_store {
    const struct conf *conf;
    struct channel fleet; /* without a link what it said is old */
    struct server_view server;
    void (*summaries)(void *ctx, struct span answer); /* what the store has; NULL = nobody wants it */
    void *ctx;
};

void shared_store_start(struct shared_store *s, const struct conf *conf, struct loop *loop, unsigned kind);
void shared_store_fini(struct shared_store *s);

/* Takes over the link to the fleet role, in place of an earlier one. As channel_open(). */
MUST_CHECK int shared_store_take_link(struct shared_store *s, int fd);

/* This instance's summary for the store; without a link, or when that is full, it is not sent. */
void shared_store_send(struct shared_store *s, struct span summary);

/* Whether it is known to be away. */
bool shared_store_away(const struct shared_store *s);

void shared_store_metrics(const struct shared_store *s, struct exposition *x);
