/*
 * Objects, leases and offers in the store, for the acme role. Each operation is one script that the server runs as a whole:
 * what it compares cannot change before it writes.
 */
#pragma once

#include "base/channel.h"
#include "base/log_pause.h"
#include "conf/conf_store.h"
#include "fleet/redis.h"
#include "wire/event.h"
#include "wire/sharing.h"

struct objects {
    struct redis *redis;
    const char *cluster; /* borrowed */
    struct log *log;
    struct channel acme;
    struct redis hints; /* a connection of its own: one that listens can do nothing else */
    struct alarm_clock poll;
    uint64_t seen; /* version of all objects together, as far as the acme role was notified; 0 = nothing yet */
    uint64_t looked_ms;
    struct log_pause pause;
    bool refused; /* the last look, and it is in the log */
    bool looking; /* the answer is on its way */
    bool hinted;  /* and something may have changed since */
    char channel[128];
    struct objects_call {
        struct objects *objects; /* NULL = free */
        uint32_t number;
    } calls[SHARING_CALL_LIMIT];
};

/* All but O is kept. KIND and the next one are those of loop events. */
void objects_init(struct objects *o, struct loop *loop, unsigned kind, struct redis *redis, const struct conf_store *conf,
                  struct log *log);
void objects_stop(struct objects *o);

/* A link to an acme role, in place of an earlier one. As channel_open(). */
MUST_CHECK int objects_take_acme(struct objects *o, int fd);

/* The connection is there again: what has changed meanwhile is found out. */
void objects_up(struct objects *o);
