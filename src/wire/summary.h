/*
 * What an instance of a fleet reports to the others of its clients, once a second: the busiest ones, by sessions, handshakes
 * and bytes. It comes from another machine, through a store: all of it is bounded, and each number could be true
 * (PEERS_COUNT_MAX) or the entry is skipped, so nonsense denies nobody.
 *
 * An IPv6 network is there with what its parts beside it have not: who reads it adds an entry to all networks around it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/defs.h"
#include "base/rd.h"
#include "base/span.h"
#include "base/wr.h"
#include "shm/sketch.h"

#define SUMMARY_CLIENTS  1000 /* at the most */
#define SUMMARY_NETS     256  /* more of either length: what those that are not among the clients have */
#define SUMMARY_NAMES    100  /* verified ones, for people to look at */
#define SUMMARY_ENTRIES  (SUMMARY_CLIENTS + 2 * SUMMARY_NETS + SUMMARY_NAMES)
#define SUMMARY_NAME_MAX 64            /* of an instance */
#define SUMMARY_SPANS    2             /* rates of the last 1 and 10 s */
#define SUMMARY_MAX      (128u * 1024) /* bytes: more than the numbers of the busiest machine take */

/* As it travels: the instance in 8 bytes, and the summary sealed (observer/summary_seal.h). */
#define SUMMARY_SEALED_AT  8
#define SUMMARY_SEALED_MAX (SUMMARY_MAX + SUMMARY_SEALED_AT + 32)

enum summary_kind { SUMMARY_IPV4, SUMMARY_IPV6_64, SUMMARY_IPV6_56, SUMMARY_IPV6_48, SUMMARY_VERIFIED, SUMMARY_KINDS };

/* The first three are what limits look at, and all that a network has; rates are a second's. */
enum summary_value {
    SUMMARY_SESSIONS, /* connections that are no session yet included */
    SUMMARY_LET_IN,   /* handshakes a second, under a limit */
    SUMMARY_LIMITED,  /* bytes a second, under a limit */
    SUMMARY_OF_NETS,
    SUMMARY_ESTABLISHED = SUMMARY_OF_NETS,
    SUMMARY_BYTES_IN,
    SUMMARY_BYTES_OUT,
    SUMMARY_IN_1S,
    SUMMARY_IN_10S,
    SUMMARY_OUT_1S,
    SUMMARY_OUT_10S,
    SUMMARY_HANDSHAKES,
    SUMMARY_FULL,
    SUMMARY_RESUMED,
    SUMMARY_FAILED,
    SUMMARY_VALUES,
};

struct summary_entry {
    enum summary_kind kind;
    uint8_t key[SKETCH_KEY_MAX]; /* of an address or network 16 bytes as in base/addr.h; else a name */
    uint8_t key_len;
    uint64_t values[SUMMARY_VALUES];
};

/* SEQ grows with each summary of an instance; FLOOR is what the reader has of those that are not in it. */
struct summary_head {
    uint64_t instance;
    uint64_t seq;
    uint64_t time_s;                 /* 1970, when it was made */
    struct span name;                /* printable ASCII */
    uint64_t floor[SUMMARY_OF_NETS]; /* the most that a client has which is not in it */
};

/* The order in which entries come; none comes twice. */
int summary_order(const struct summary_entry *a, const struct summary_entry *b);

/* Writes a head, then entries in their order. False: it does not fit, and is not there. */
MUST_CHECK bool summary_write_head(struct wr *w, const struct summary_head *head);
MUST_CHECK bool summary_write_entry(struct wr *w, const struct summary_entry *e);

/*
 * Reads one: the head, then entry by entry, until there is none. What is between is checked as it is read: ERR_FORMAT at the
 * first fault, and then nothing of it is to be used. 1 = an entry, 0 = the end. An entry whose numbers cannot be true is
 * skipped and counted.
 */
struct summary_reader {
    struct rd r;
    struct summary_entry last;
    size_t n, skipped;
};
MUST_CHECK int summary_begin(struct summary_reader *s, struct span bytes, struct summary_head *ret);
MUST_CHECK int summary_next(struct summary_reader *s, const struct summary_entry **ret);

/* Reads all of it for its own sake. */
MUST_CHECK int summary_check(struct span bytes, struct summary_head *ret, size_t *ret_entries, size_t *ret_skipped);

/* The networks in which an entry counts, the narrowest first; 0 = it is a name. */
size_t summary_nets(const struct summary_entry *e, struct addr_net ret[static ADDR_NETS]);
