/*
 * What instances report to each other about their clients: this instance's summary into the store, and what the store has of
 * the others out of it, in one step a second or, where there are many, two. The observer makes summaries and reads them; here
 * they are bytes with a name.
 */
#pragma once

#include <stdbool.h>

#include "base/channel.h"
#include "base/log_pause.h"
#include "fleet/redis.h"

#define SUMMARIES_ROOM       (REDIS_REPLY_MAX - 65536) /* bytes of others' summaries in an answer */
#define SUMMARIES_BYTES_A_MS 200000                    /* of all answers of a server together: half a core of it */
#define SUMMARIES_PAUSE_MS   1900                      /* between two questions, at the most, which come at whole seconds */

struct log;

struct summaries {
    struct redis *redis;
    const char *cluster;
    struct channel observer;
    bool under_way;    /* the server has not answered the last one */
    uint64_t asked_ms; /* the last one */
    uint64_t next_ms;  /* no other one before then */
    uint64_t room;     /* bytes of an answer */
    struct log *log;
    struct log_pause pause;
    bool refused; /* the last one, and it is in the log */
};

/* All borrowed; the observer's link has events of KIND. */
void summaries_init(struct summaries *s, struct redis *redis, const char *cluster, struct loop *loop, unsigned kind,
                    struct log *log);
