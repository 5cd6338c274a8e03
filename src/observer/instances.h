/*
 * The other instances of the fleet, as their summaries describe them: bounded in number and size, each forgotten when nothing
 * new has come from it for PEERS_VALID_MS. Their sums go to the table that handshakers and relays look at (shm/peers.h).
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/log_pause.h"
#include "shm/scoreboard.h"
#include "wire/summary.h"

#define INSTANCES_MOST 512 /* at the most; more are counted, and not looked at */

struct exposition;
struct log;
struct stats_view;
struct summary_seal;

struct instance {
    uint64_t instance, seq;
    uint64_t news_ms; /* when SEQ was new */
    struct buf bytes; /* the summary, checked; empty = it is silent */
    size_t entries;
    char name[SUMMARY_NAME_MAX + 1];
};

struct instances {
    const struct summary_seal *seal;
    struct instance own; /* this instance's, as the others have it */
    struct instance others[INSTANCES_MOST];
    size_t n;           /* those that are silent included */
    uint64_t beyond;    /* further ones that the store knows, beyond the most that it gives or that are kept */
    uint64_t answer_ms; /* of the store's last answer */
    bool local;         /* no answer for too long */
    bool logged_local;
    struct log_pause local_log;
    uint64_t refused, skipped; /* summaries that break the form; entries */
    struct refusals {
        uint64_t n, logged;
        struct log_pause log;
    } foreign, old;    /* summaries that are not sealed by the fleet; that were made at another time */
    uint64_t all;      /* instances that the store knows */
    uint64_t networks; /* in the table */
    uint64_t no_room;  /* more that it had no place for */
};

/* INSTANCE is the same for all processes of one supervisor, whatever its generation. SEAL is borrowed. */
void instances_init(struct instances *p, uint64_t instance, const struct summary_seal *seal);
void instances_fini(struct instances *p);

/* A summary of our own for the others, to be sealed, or NULL when out of memory; owned by P. */
const struct buf *instances_write_own(struct instances *p, const struct stats_view *f, uint64_t now_ms);

/*
 * What the store has, as in SHARING_SUMMARIES. What they say of themselves is not believed further than it can
 * be checked. Forgets who is silent and, with a SCOREBOARD, replaces the table there.
 */
void instances_answer(struct instances *p, struct span answer, const struct stats_view *f, const struct scoreboard *scoreboard,
                      uint64_t now_ms);

/* Once a second: limits are local as long as there is no answer; a change is logged, at most every 10 s, and what was refused,
 * at most every minute. */
void instances_second(struct instances *p, struct log *log, uint64_t now_ms);

void instances_metrics(const struct instances *p, struct exposition *x);
json_t *instances_status(const struct instances *p, uint64_t now_ms);
