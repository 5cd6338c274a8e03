/*
 * What connections that are no session yet may hold of this process, shared out between clients.
 *
 * Memory and descriptors are one currency: each connection is charged the bytes it holds, but at least its share of the
 * descriptors (bytes of the budget / descriptors), and four times as much before its PROXY header, so that those that may send
 * one never hold more than a quarter. When the budget is used up, the oldest connection of the client that holds most gives
 * way. A client here is one network: an IPv4 address or an IPv6 /48.
 *
 * Giving way needs no memory: a client's place in the order was made when its first connection came.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/hash.h"
#include "base/list.h"

#define BUDGET_CHAINS 4096

struct handshaker;
struct wtimer;
struct conn;
struct holder;

struct budget {
    uint64_t max;
    uint64_t used;
    uint64_t least; /* a connection is charged */
    uint64_t peak;  /* of USED since memory was last given back */
    struct hash_key key;
    struct holder *chains[BUDGET_CHAINS];
    struct holder **heap; /* the holder of most is first */
    size_t nheap, cap;
};

/* MAX bytes, DESCRIPTORS for connections (at least 1). */
void budget_init(struct budget *b, uint64_t max, uint64_t descriptors);

/* C, which is new or of another client than before, counts for c->client from now on. ERR_NOMEM: for none. */
MUST_CHECK int budget_enter(struct handshaker *h, struct conn *c);

/* C has grown or shrunk. Closes connections while the budget is exceeded; C may be dead afterwards. */
void budget_charge(struct handshaker *h, struct conn *c);

/* C has ended. */
void budget_leave(struct handshaker *h, struct conn *c);

/*
 * Whether one more connection may be accepted. Without room, evicts the next connection if that had its time; else accepting
 * waits, since that one may soon be done, and connections in the kernel's queue are not lost.
 */
bool budget_admits(struct handshaker *h);

/* h->trim_timer has fired. */
void budget_trim(void *ctx, struct wtimer *t);
