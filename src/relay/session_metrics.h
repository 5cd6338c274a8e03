/*
 * What sessions add to this relay's counters. A session remembers its places in them as small numbers, so that relayed bytes
 * are a handful of plain additions; looking up happens when it begins, connects or ends.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shm/stats.h"
#include "wire/conn_info.h"

struct relay;
struct wtimer;
struct session;

enum session_count { COUNT_SERVICE, COUNT_BACKEND, COUNT_NAME, COUNT_CERT, COUNT_SUITE, SESSION_METRICS };

/* Part of a session. */
struct session_metrics {
    struct sketch_ref client, verified; /* none while the client is not tracked */
    bool verified_too;                  /* its certificate gives its name */
    uint16_t at[SESSION_METRICS];       /* blocks; 0 = none */
};

/* A session of F begins here. MIGRATED: from another relay, which has counted it already. */
void session_metrics_begin(struct relay *r, struct session *s, const struct conn_info *f, bool migrated);

/* It is here no more. MIGRATED: it goes on in another relay. */
void session_metrics_end(struct relay *r, struct session *s, bool migrated);

/* Adds to all that the session belongs to: service, backend, name, certificate, suite. */
void session_metrics_add(struct relay *r, const struct session *s, enum stats_value v, uint64_t by);

/* Plain bytes of the client (STATS_BYTES_IN) or for it (STATS_BYTES_OUT). */
void session_metrics_bytes(struct relay *r, struct session *s, enum stats_value v, uint64_t bytes);

/* So many bytes were read under a byte rate of the client. */
void session_metrics_limited(struct relay *r, const struct session *s, uint64_t bytes);

/* Takes place on backend s->chosen, or leaves it. */
void session_metrics_on_backend(struct relay *r, struct session *s, bool on);

/* Of the present backend and its service. */
void session_metrics_backend(struct relay *r, const struct session *s, enum stats_value v);
void session_metrics_connected(struct relay *r, const struct session *s);
void session_metrics_first_byte(struct relay *r, struct session *s); /* keeps the time in it */

/* The process as a whole. */
static inline void session_metrics_process(struct stats_page *p, enum stats_process v) {
    stats_process_add(p, v, 1);
}

/* About once a second while something happens: r->stats_timer fired, and the end of a turn. */
void session_metrics_publish(void *ctx, struct wtimer *t);
void session_metrics_turn(struct relay *r);
