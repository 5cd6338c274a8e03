/*
 * A Unix socket that validators of issuers are led to, by handshakers and relays: few connections at a time, each with a
 * deadline; the oldest goes when there is no room, so none can make another wait. What is spoken there is the protocol's:
 * alpn_responder.h, http_responder.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/alarm_clock.h"
#include "base/defs.h"
#include "base/loop.h"
#include "base/text.h"

#define RESPONDER_CONNS 64

struct responder;
struct responder_conn;

enum responder_step { RESPONDER_READS, RESPONDER_WRITES, RESPONDER_WAITS, RESPONDER_DONE };

struct responder_protocol {
    size_t size;                                           /* of what it keeps of a connection, zeroed */
    bool (*begin)(struct responder_conn *c);               /* false: no memory */
    enum responder_step (*work)(struct responder_conn *c); /* as far as it goes without waiting */
    void (*end)(struct responder_conn *c);
};

struct responder_conn {
    struct responder *responder; /* NULL = free */
    int fd;
    uint64_t number; /* in the order in which they came */
    void *state;     /* the protocol's */
    bool ending;     /* all is said */
    bool waits;      /* for responder_wake() */
    struct alarm_clock deadline;
};

struct responder {
    struct loop *loop;
    unsigned kind; /* in the loop, of its connections and of the socket itself */
    int fd;        /* listens; -1 = not */
    char path[108];
    const struct responder_protocol *protocol;
    void *ctx; /* the protocol's */
    struct responder_conn conns[RESPONDER_CONNS];
    uint64_t numbers;
    bool serves; /* PATH leads here */
};

/* Makes the socket, under a name beside PATH that nobody knows, while rights allow it. ERR_SYSTEM; a sentence in WHY. */
MUST_CHECK int responder_open(struct responder *r, struct loop *loop, unsigned kind, const char *path,
                              const struct responder_protocol *protocol, void *ctx, struct text *why);

/* From now on it is the one that PATH leads to. ERR_SYSTEM (errno). */
MUST_CHECK int responder_serve(struct responder *r);

/* Who waits is worked on again. */
void responder_wake(struct responder *r);

void responder_close(struct responder *r);
