/* Clients as the observer sees them: merged over all processes. */
#pragma once

#include "shm/stats_read.h"

/* A client, added up over all processes: by address, or by verified name. */
struct stats_client {
    char name[SKETCH_KEY_MAX + 8];  /* "192.0.2.7", "2001:db8::/64", "uid:1000", or the verified name */
    uint8_t key[16];                /* of an address, as by addr_client_key() */
    bool verified;                  /* it is a verified name */
    uint64_t since_wall_us;         /* of the process that has tracked it longest */
    uint64_t error;                 /* bytes it may have relayed beyond what is counted, at the most */
    uint64_t error_handshakes;      /* the same of handshakes: begun, or of any one outcome */
    uint64_t handshaking;           /* connections now that are no session yet */
    uint64_t let_in;                /* connections, by a limit of handshakes */
    uint64_t values[SKETCH_VALUES]; /* SKETCH_LIMITED: bytes */
};

struct stats_clients {
    struct stats_client *rows; /* most bytes first */
    size_t n, cap;
    uint64_t floor;   /* a client that is not in the list has relayed no more bytes than this */
    uint64_t evicted; /* times an entry was reassigned */
};

/* Zero-initialised is empty; as with stats_sums. ERR_NOMEM. */
MUST_CHECK int stats_clients_read(const struct stats_reader *r, struct stats_clients *to);
void stats_clients_free(struct stats_clients *c);
