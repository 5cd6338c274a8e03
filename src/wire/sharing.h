/*
 * Between the fleet role and others, over SOCK_SEQPACKET links: whether the store of the fleet can be used, sent when that
 * changes and to a new listener; and what instances report to each other about their clients (wire/summary.h), as sealed
 * memory.
 *
 * The acme role asks for objects of the fleet, and is notified which of them change. An object has a name, a version and bytes.
 * It is written by the one that holds the lease that the request names, which the store itself compares with the fence: the
 * number that the lease was given out with, higher than all before. Versions only grow. Leases that are taken together have one
 * fence.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/ipc.h"
#include "base/span.h"
#include "wire/server_state.h"

enum sharing_type {
    SHARING_STATE = 1, /* from the fleet role: struct server_state */
    SHARING_SUMMARY,   /* from the observer: this instance's own, for the store; once a second */
    SHARING_SUMMARIES, /* to it, for each of those: how many there are in 4 bytes, and others' behind 4 bytes of length each */
    SHARING_REQUEST,   /* from the acme role */
    SHARING_ANSWER,    /* to it */
    SHARING_NEWS,      /* to it: the name of an object that has changed; empty = any may have */
};

#define SHARING_SUMMARIES_MAX (8u * 1024 * 1024) /* bytes of an answer */

#define SHARING_NAME_MAX   255
#define SHARING_DATA_MAX   (56 * 1024)
#define SHARING_LEASE_MS   60000
#define SHARING_OFFER_MS   600000
#define SHARING_CALL_LIMIT 128 /* requests under way */

enum sharing_op {
    SHARING_LEASE, /* takes the leases that DATA names, with blanks between: all or none; OK with their fence, or HELD (DATA) */
    SHARING_RENEW, /* the same for another SHARING_LEASE_MS; OK or LOST */
    SHARING_GIVE,  /* the same back; OK, also when they are somebody else's by now */
    SHARING_GET,   /* an object newer than VERSION; OK, or NONE with the version that there is */
    SHARING_PUT,   /* DATA as VERSION; OK, LOST, or OLD with the version that there is */
    SHARING_OFFER, /* DATA, for SHARING_OFFER_MS; OK or LOST */
    SHARING_FIND,  /* what was offered, by anybody; OK or NONE */
    SHARING_OPS
};

enum sharing_result {
    SHARING_OK,
    SHARING_NONE,
    SHARING_HELD,
    SHARING_LOST,
    SHARING_OLD,
    SHARING_AWAY, /* DATA: why it cannot be answered */
    SHARING_RESULTS
};

struct sharing_request {
    uint32_t number; /* the asker's; 0 = no answer is wanted */
    enum sharing_op op;
    uint64_t fence, version;
    struct span lease, name; /* printable, without blanks */
    struct span data;
};

struct sharing_answer {
    uint32_t number;
    enum sharing_result result;
    uint64_t fence, version;
    struct span data;
};

extern const struct ipc_rule sharing_to_observer[];
extern const struct ipc_rule sharing_from_observer[];
extern const struct ipc_rule sharing_to_acme[];
extern const struct ipc_rule sharing_to_fleet[];

/* As ipc_send(). */
MUST_CHECK int sharing_send_request(int fd, const struct sharing_request *q);
MUST_CHECK int sharing_send_answer(int fd, const struct sharing_answer *a);
MUST_CHECK int sharing_send_news(int fd, struct span name);

/* BYTES as sealed memory, of that type: with one descriptor and no body. As ipc_send(). */
MUST_CHECK int sharing_send_bytes(int fd, enum sharing_type type, struct span bytes);

/* ERR_FORMAT. Spans borrow the message. */
MUST_CHECK int sharing_read_request(const struct ipc_msg *m, struct sharing_request *ret);
MUST_CHECK int sharing_read_answer(const struct ipc_msg *m, struct sharing_answer *ret);
/* Printable, without blanks, and no longer than SHARING_NAME_MAX: names become parts of keys. */
bool sharing_is_name(struct span s);

MUST_CHECK int sharing_read_news(const struct ipc_msg *m, struct span *ret_name);
