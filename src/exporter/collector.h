/*
 * How the collector stands, as the observer shows it and as the log has it. How fast the collector changes its mind or its
 * words is its own business: each kind of line comes at most once in ten seconds, and one that had to wait has what holds then.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/log_pause.h"
#include "exporter/delivery.h"
#include "wire/event.h"
#include "wire/server_state.h"

#define COLLECTOR_SHOWN_MAX 256 /* of the endpoint, in lines */

enum collector_line { COLLECTOR_TAKES, COLLECTOR_TAKES_NOT, COLLECTOR_COMPLAINS, COLLECTOR_DROPS, COLLECTOR_LINES };

struct collector {
    struct log *log;
    char shown[COLLECTOR_SHOWN_MAX]; /* the endpoint without its query, which may be a secret */
    bool known;                      /* what follows has been found out */
    bool up;
    int cause; /* of its being away, as in struct delivery_result; 0 = it is not */
    int64_t since_s;
    uint64_t since_ms;
    char why[SERVER_WHY_MAX + 1];
    bool logged; /* the log has a state, with these two: */
    bool logged_up;
    int logged_cause;
    uint64_t unreported; /* spans dropped since that was logged */
    struct log_pause pauses[COLLECTOR_LINES];
};

/* LOG is kept. */
void collector_init(struct collector *c, struct log *log, const char *endpoint);

/* The end of a request. True: what collector_state() gives is another one. */
MUST_CHECK bool collector_answered(struct collector *c, const struct delivery_result *r, uint64_t now_ms);

void collector_dropped(struct collector *c, uint32_t spans);

/* The lines that are due; once a turn, and with END when no turn follows: nothing waits then. */
void collector_log(struct collector *c, uint64_t now_ms, bool end);

/* False: nothing is known yet. RET borrows C. */
MUST_CHECK bool collector_state(const struct collector *c, struct server_state *ret);
