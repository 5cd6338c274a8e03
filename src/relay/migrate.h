/*
 * Live sessions to and from another relay (wire/export_link.h): what the relay's turn asks of the two sides.
 *
 * A migrating session is frozen (WAITS_MIGRATION): the exporter does nothing with it from the moment its state is read until
 * the importer has answered or can never answer; the importer does nothing with it before its answer has been sent. So two
 * relays never relay bytes of one session, and at every moment one owns it.
 */
#pragma once

#include "relay/session.h"
#include "wire/control_export.h"
#include "wire/export.h"
#include "wire/export_link.h"

#define MIGRATE_STALL_MS 3000 /* an importer that does not answer for so long is given up */

/* migrate_out.c: gives sessions away over LINK (owned from here on). */
void migrate_out_begin(struct relay *r, const struct control_export *what, int link);

/* A share of work at the end of a turn. True when there is more that can be done at once. */
bool migrate_out_turn(struct relay *r);

/* A session came or came back: there may be one to give away. */
void migrate_out_wake(struct relay *r);

/* Takes back what was not acknowledged, without a report to the supervisor; nothing when there is no export. */
void migrate_out_stop(struct relay *r);
void migrate_out_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);

/* Everything that still comes is exported as well. */
bool migrate_out_of_all(const struct relay *r);

/* T is the timer of the export: looks again at a link that takes or answers nothing. */
void migrate_out_timer(void *ctx, struct wtimer *t);

/* migrate_in.c: takes sessions from LINK (owned from here on). */
void migrate_in_begin(struct relay *r, int link);

/* Ends all imports: what was not acknowledged is dropped. */
void migrate_in_end_all(struct relay *r);
void migrate_in_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);
void migrate_in_liveness_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);
void migrate_in_timer(void *ctx, struct wtimer *t);

/* export_form.c: the session as it is now, but for its waiting bytes and its record layer. TO is all zero; it borrows S. */
void export_fill(struct relay *r, const struct session *s, struct export_session *to);

/* export_form.c: builds a frozen session of X with these descriptors (BACKEND_FD -1 = none). On failure they are still the
 * caller's, and *ret_why has a few words on what was wrong. */
enum export_result import_session(struct relay *r, const struct export_session *x, int client_fd, int backend_fd,
                                  struct chain ahead[static EXPORT_PARTS], struct session **ret, const char **ret_why);

/* The record layer of a session with TLS. False: it makes no sense, or is of another version of TLS than the session. */
MUST_CHECK bool import_record_layer(struct session *s, const struct export_session *x);

/* Activates an imported session, counted from now on. LATE: events may have passed unseen since it was built. */
void import_activate(struct relay *r, struct session *s, bool late);

/* Forgets a session that was not taken: neither peer notices, for the other relay continues it. */
void import_drop(struct relay *r, struct session *s);

/* Watches both sides again: all that has happened since is reported again. False (errno) when that is not possible. */
MUST_CHECK bool migrate_watch_again(struct relay *r, struct session *s);
