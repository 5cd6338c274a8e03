/*
 * A connection to a Redis server over its Unix socket. It is made again for ever, after a growing pause. Nothing waits: a
 * command is answered later, by its function, or is not sent at all. All has a limit: commands under way, bytes that wait to be
 * sent, the size of an answer, the time that the server takes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/alarm_clock.h"
#include "base/buf.h"
#include "base/defs.h"
#include "base/loop.h"
#include "base/span.h"
#include "fleet/redis_lib.h"

#define REDIS_PENDING   256               /* commands under way */
#define REDIS_OUT_MAX   (4 * 1024 * 1024) /* bytes that wait to be sent */
#define REDIS_REPLY_MAX (4 * 1024 * 1024) /* bytes of an answer */
#define REDIS_ITEMS_MAX 65536             /* elements of a list in an answer */
#define REDIS_WORDS_MAX 16                /* of a command */
#define REDIS_WHY_MAX   256

/* REPLY is borrowed; NULL: there is no answer, since the connection is lost. What an error says: redis_error_of(). */
typedef void (*redis_fn)(void *ctx, const redisReply *reply);

struct redis;

/* What the owner of a connection wants to know; each may be NULL. */
struct redis_events {
    void (*up)(void *ctx, struct redis *r);                        /* it answers: commands can be sent */
    void (*away)(void *ctx, struct redis *r, const char *why);     /* logged by the owner; also when it was never up */
    void (*push)(void *ctx, struct redis *r, const redisReply *m); /* a message that was subscribed to */
};

struct redis {
    struct loop *loop;
    unsigned kind;    /* of its events in the loop */
    const char *path; /* borrowed */
    const struct redis_events *events;
    void *ctx;
    int fd; /* -1 = none */
    bool up;
    bool subscribed; /* all that comes is a message */
    redisReader *reader;
    redisReplyObjectFunctions objects;
    size_t unread; /* bytes of the answer that has begun to come */
    struct buf out;
    struct redis_pending {
        redis_fn fn; /* NULL = nobody wants the answer */
        void *ctx;
        uint64_t until_ms;
    } pending[REDIS_PENDING]; /* a ring: answers come in the order of commands */
    size_t first, npending;
    uint32_t pause_ms;        /* before the next attempt to connect */
    struct alarm_clock clock; /* when it is next connected, or the first answer is too late */
};

/* PATH, EVENTS and CTX are borrowed. Nothing happens before redis_start(). The library is loaded. */
void redis_init(struct redis *r, struct loop *loop, unsigned kind, const char *path, const struct redis_events *events,
                void *ctx);

/* Begins to connect. */
void redis_start(struct redis *r);

/* Ends the connection; what is pending is answered with NULL. */
void redis_stop(struct redis *r);

/*
 * Sends a command. FN is called once, later. ERR_CLOSED: the server is away; ERR_LIMIT: too much is under way; ERR_NOMEM: in
 * all three it is not called.
 */
MUST_CHECK int redis_send(struct redis *r, const struct span *words, size_t n, redis_fn fn, void *ctx);

/* From UP() on, instead of all commands: the connection receives CHANNEL, and nothing else. As redis_send(). */
MUST_CHECK int redis_subscribe(struct redis *r, const char *channel);

/* What the server refuses, in the words of an operator, or NULL when REPLY is no error. Valid as long as REPLY. */
const char *redis_error_of(const redisReply *reply);
