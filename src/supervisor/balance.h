/*
 * When live sessions migrate between the relays of one generation, how many, and from which to which: a rule without any I/O,
 * asked at even intervals, with the measurements of the interval.
 *
 * New sessions already go to the least loaded relay; this is for what long-lived ones leave uneven: a relay that died and
 * restarted empty, workers whose sessions are busier than others'. Two values are compared, in this order: CPU time, when a
 * relay is busy; the number of sessions. Either must be uneven for BALANCE_STEADY intervals in a row. After one there is a
 * pause; when it has not helped (one heavy session cannot be divided), the pause before the next one doubles.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BALANCE_INTERVAL_MS 2000
#define BALANCE_STEADY      3    /* intervals */
#define BALANCE_PAUSE       5    /* intervals after a migration, at first, */
#define BALANCE_PAUSE_MAX   320  /* and at most: about ten minutes */
#define BALANCE_BUSY        500  /* per mille of a CPU: below that no process waits */
#define BALANCE_BUSY_GAP    250  /* per mille between two relays */
#define BALANCE_GAP         64   /* sessions; and one has half as many again as the other */
#define BALANCE_MIGRATE_MAX 2000 /* sessions at a time */

/* One relay in the last interval. */
struct balance_relay {
    bool there; /* serves, and did so for the whole interval */
    uint32_t sessions;
    uint32_t room; /* sessions at the most */
    uint32_t busy; /* per mille of a CPU */
};

enum balance_why { BALANCE_EVEN, BALANCE_BY_CPU, BALANCE_BY_SESSIONS };

/* Starts zero-initialized. */
struct balance_rule {
    enum balance_why why; /* what has been uneven so far */
    unsigned steady;      /* for so many intervals */
    unsigned pause, left; /* intervals: after the last migration; still to go */
    enum balance_why last_why;
    uint32_t last_gap; /* before the last migration; 0 = evaluated already */
};

struct balance_migration {
    uint16_t from, to;
    uint32_t count;
    enum balance_why why; /* BALANCE_BY_CPU: active sessions go first; BALANCE_BY_SESSIONS: idle ones */
};

/* Evaluates one interval. True when sessions are to migrate. */
bool balance_step(struct balance_rule *b, const struct balance_relay *relays, size_t n, struct balance_migration *ret);
