/*
 * Who holds the memory for bytes that wait, and who has to let go of it when the budget is used up.
 *
 * Nothing ever waits for memory: a read may always keep what its sink does not take, so a partial record can be finished, an
 * end is seen, and a session whose peers read is served whatever others hold. The cost is on the clients that make us hold
 * bytes. Their sessions are accounted to their client (an IPv4 address or an IPv6 /64), and when more is held than
 * `buffer_memory` allows, the session without progress for longest among the clients that hold most ends with `no_buffers`.
 *
 * A session that holds nothing has no place here but a pointer.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/list.h"
#include "base/log_pause.h"
#include "base/slab.h"

#define HOLD_CLASSES 48 /* clients that hold 2^n bytes and more, less than twice that */

struct relay;
struct session;
struct hold;

/* Part of a relay. */
struct holders {
    struct slab holds;               /* one a session that holds bytes */
    struct slab clients;             /* one a client with such sessions */
    struct hold_client **chains;     /* of clients, by address */
    struct list class[HOLD_CLASSES]; /* of clients, by what they hold */
    struct log_pause eviction_log;
};

/* Before anything else, once. False without memory. */
MUST_CHECK bool hold_init(struct relay *r);
void hold_fini(struct relay *r);

/* After each piece of work on a session: what it holds now, and since when, is put down. */
void hold_settle(struct relay *r, struct session *s);

/* It holds nothing any more. May be called at any time. */
void hold_release(struct relay *r, struct session *s);

/* While more is held than may be: the session that is to end for it, a settled one that is not frozen. NULL: none. */
struct session *hold_choose(struct relay *r);

/* How much may be read at once, WANT at the most: less from half of the budget on, least for the clients that hold most. */
size_t hold_chunk(const struct relay *r, const struct session *s, size_t want);

/* The time for the rest of a record begins again: it was we who did not read. */
void hold_excuse(const struct relay *r, const struct session *s);

/* Since when (loop time) the client owes us the rest of a record; 0 = it does not. */
uint64_t hold_record_ms(const struct session *s);
