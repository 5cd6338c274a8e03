/*
 * The exporter: live sessions to another relay (wire/export_link.h), as the relay's turn asks for them.
 *
 * A migrating session is frozen (WAITS_MIGRATION): the exporter does nothing with it from the moment its state is read until
 * the importer has answered or can never answer; the importer does nothing with it before its answer has been sent. So two
 * relays never relay bytes of one session, and at every moment one owns it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"

#define MIGRATE_STALL_MS 3000 /* an importer that does not answer for so long is given up */

struct relay;
struct session;
struct control_export;
struct wtimer;

/* Gives sessions away over LINK (owned from here on). */
void migrate_out_begin(struct relay *r, const struct control_export *what, int link);

/* A share of work at the end of a turn. True when there is more that can be done at once. */
bool migrate_out_turn(struct relay *r);

/* Takes back what was not acknowledged, without a report to the supervisor; nothing when there is no export. */
void migrate_out_stop(struct relay *r);
void migrate_out_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);

/* Everything that still comes is exported as well. */
bool migrate_out_of_all(const struct relay *r);

/* T is the timer of the export: looks again at a link that takes or answers nothing. */
void migrate_out_timer(void *ctx, struct wtimer *t);
