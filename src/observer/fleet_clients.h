/* What clients have at all instances of the fleet that are seen together: a merge of their summaries, which are sorted. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "observer/instances.h"

struct admin;
struct http_request;
struct http_reply;

/* One client over all instances. */
struct fleet_client {
    struct summary_entry sum;
    uint16_t instances;                 /* that have it */
    uint16_t most;                      /* the one with most of it: 0 = our own, I = P's others[I - 1] */
    uint64_t most_sessions, most_bytes; /* there */
};

/* All of them, for free(); networks are skipped. NULL when out of memory. */
struct fleet_client *fleet_clients_merge(const struct instances *p, size_t *ret_n);

/* GET /fleet/clients.json */
void fleet_clients_answer(struct admin *a, const struct http_request *q, struct http_reply *r);
