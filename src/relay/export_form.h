/* Between a session and the format in which it travels. */
#pragma once

#include <stdbool.h>

#include "base/defs.h"
#include "base/pool.h"
#include "wire/export.h"
#include "wire/export_link.h"

struct relay;
struct session;

/* The session as it is now, but for its waiting bytes and its record layer. TO is all zero; it borrows S. */
void export_fill(struct relay *r, const struct session *s, struct export_session *to);

/* Builds a frozen session of X with these descriptors (BACKEND_FD -1 = none). On failure they are still the
 * caller's, and *ret_why has a few words on what was wrong. */
enum export_result import_session(struct relay *r, const struct export_session *x, int client_fd, int backend_fd,
                                  struct chain ahead[static EXPORT_PARTS], struct session **ret, const char **ret_why);

/* Activates an imported session, counted from now on. LATE: events may have passed unseen since it was built. */
void import_activate(struct relay *r, struct session *s, bool late);

/* Forgets a session that was not taken: neither peer notices, for the other relay continues it. */
void import_drop(struct relay *r, struct session *s);
