/*
 * Metrics that roles share, in one shared page area made by the supervisor: one writer a row, any number of readers,
 * no locks. A reader may see a value a moment old, never a torn one.
 *
 * Each handshaker and relay has a row of metrics and tables of its clients and server names (sessions or handshakes now,
 * buckets of handshakes let in). Limits over all processes are sums over rows, so a role that dies takes its own counts with
 * it: scoreboard_row_reset(). A generation and the next have rows of their own in it, so that limits hold while sessions
 * migrate from one to the other. Behind the rows is a table of what clients have at other instances of a fleet (shm/peers.h),
 * which the observer writes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/defs.h"
#include "base/span.h"
#include "shm/peers.h"
#include "shm/roles.h"

struct scoreboard_shared;

struct scoreboard {
    struct scoreboard_shared *shared;
    uint16_t workers;
    uint16_t services;
    uint16_t parities; /* generations that have rows in it, 1 or 2 */
    uint16_t parity;   /* which of these rows are our generation's */
    uint32_t most;     /* sessions or handshakes of one process: more cannot be, and do not count */
    size_t size;
};

/* A sealed-size memfd for that many workers and services, all zero, with a random key for client tables. ERR_SYSTEM. */
MUST_CHECK int scoreboard_create(uint16_t workers, uint16_t services, int *ret_fd);

/* All of it to be read, for who belongs to (or asks about) GENERATION; rows that are to be written are opened with
 * scoreboard_open_row(). FD may be closed then. ERR_FORMAT, ERR_SYSTEM. */
MUST_CHECK int scoreboard_map(int fd, uint32_t generation, struct scoreboard *ret);

/* Whether the next generation can have rows in it. */
bool scoreboard_has_room_for_next(int fd);

/* Zeroes all rows of a generation whose processes have ended, in good order or not. */
void scoreboard_forget(int fd, uint32_t generation);

/* The one row that this process may write; that of a role and index that have one (scoreboard_row()). ERR_SYSTEM. */
MUST_CHECK int scoreboard_open_row(struct scoreboard *b, int fd, enum role role, uint16_t index);

/* The table of the other instances, for the observer to write. ERR_SYSTEM. */
MUST_CHECK int scoreboard_open_peers(struct scoreboard *b, int fd);
void scoreboard_unmap(struct scoreboard *b);

/* One process' row: the sole writer. ROLE_RELAY or ROLE_HANDSHAKER, index below workers (MUST). */
struct scoreboard_row {
    struct scoreboard *scoreboard;
    struct scoreboard_row_shared *shared;
};
struct scoreboard_row scoreboard_row(struct scoreboard *b, enum role role, uint16_t index);

/* Zeroes the row and its clients: by its new writer at start. */
void scoreboard_row_reset(struct scoreboard_row *r);

/*
 * A session (relay) or connection in handshake (handshaker) of this service and client begins or ends. A client counts in all
 * its networks (addr_nets()); one whose address is not known counts in none.
 */
void scoreboard_session(struct scoreboard_row *r, uint16_t service, const struct addr *client, int change);

/* Only the service's part of it: once a handshaker knows the service. */
void scoreboard_service(struct scoreboard_row *r, uint16_t service, int change);

/* Only the client's part of it. */
void scoreboard_client(struct scoreboard_row *r, const struct addr *client, int change);

/* One of this server name of a service, as the client said it ("" = none), where names are limited. */
void scoreboard_name(struct scoreboard_row *r, uint16_t service, struct span name, int change);

/* A limit of a client. FLEET: what it has at other instances counts, too. 0 = none. */
struct scoreboard_limit {
    uint64_t most;
    bool fleet;
};

/*
 * Lets in one handshake of this client, of LIMIT a second (more than 0) over all handshakers: a token bucket that holds a
 * second's worth. False when it is empty; that costs the client nothing. Two handshakers that ask at the very same moment may
 * both take the same one: there are no locks and no atomic changes. Different limits are different buckets,
 * and so is the same limit in this instance and in the fleet.
 */
MUST_CHECK bool scoreboard_handshake(struct scoreboard_row *r, const struct addr *client, struct scoreboard_limit limit,
                                     uint64_t now_ms);

/* The same for a server name of a service, and for a service. */
MUST_CHECK bool scoreboard_name_handshake(struct scoreboard_row *r, uint16_t service, struct span name, uint64_t limit,
                                          uint64_t now_ms);
MUST_CHECK bool scoreboard_service_handshake(struct scoreboard_row *r, uint16_t service, uint64_t limit, uint64_t now_ms);

/* Over all rows, of both generations: sessions and connections in handshake of a service, of a client, of a server name of a
 * service. */
uint64_t scoreboard_service_sessions(const struct scoreboard *b, uint16_t service);
uint64_t scoreboard_client_sessions(const struct scoreboard *b, const struct addr *client);
uint64_t scoreboard_name_sessions(const struct scoreboard *b, uint16_t service, struct span name);

/* Over the relays' rows alone: what is established. */
uint64_t scoreboard_service_established(const struct scoreboard *b, uint16_t service);
uint64_t scoreboard_name_established(const struct scoreboard *b, uint16_t service, struct span name);

/* Whether the client, or a network that it is in, has more than LIMIT a client allows: over all rows, or what is established
 * here. */
bool scoreboard_client_over(const struct scoreboard *b, const struct addr *client, struct scoreboard_limit limit,
                            uint64_t now_ms);
bool scoreboard_client_established_over(const struct scoreboard *b, const struct addr *client, uint64_t limit);

/* A network as the table of the other instances knows it, and a client's part of a byte rate there (peers_share()). */
uint64_t scoreboard_net_tag(const struct scoreboard *b, const struct addr_net *net);
uint64_t scoreboard_client_rate(const struct scoreboard *b, uint64_t tag, uint64_t rate, uint64_t now_ms);

/* The table itself: for its writer, and for who reports what is in it. */
struct peers_table *scoreboard_peers(const struct scoreboard *b);

/* Sessions of one relay of our generation now. */
uint32_t scoreboard_relay_sessions(const struct scoreboard *b, uint16_t index);

/*
 * Sessions a relay holds at the most with that many descriptors: two each, some kept for itself. Handshakers ask the same
 * question, because all roles run under the same limit.
 */
static inline uint32_t scoreboard_relay_cap(uint64_t descriptors, uint16_t workers) {
    uint64_t own = 16u + workers + descriptors / 64;
    uint64_t cap = descriptors > own + 1 ? (descriptors - own) / 2 : 1;
    return cap < 1u << 20 ? (uint32_t)cap : 1u << 20;
}
