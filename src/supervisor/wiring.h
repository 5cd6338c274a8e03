/* Which processes are linked, and what each receives. */
#pragma once

#include <stdbool.h>

#include "base/defs.h"

struct super;
struct worker;
struct generation;
struct control_export;

/* Sends W all it needs before GO. ERR_SYSTEM (errno). */
MUST_CHECK int wiring_introduce(struct super *s, struct worker *w);

/* The observer of the serving generation takes over the log: rings and admin sockets that the old one had. */
void wiring_take_log(struct super *s);

/* The acme role of the serving generation begins, when that of the one before has ended: two of them would order twice. */
void wiring_serve_acme(struct super *s);

/* Rings of the old generation have no writer left. */
void wiring_end_rings(struct super *s, const struct generation *g);

/* W, a handshaker, does not serve its sockets now: another one accepts some of their backlog. */
void wiring_cover(struct super *s, const struct worker *w);

/* Has an old relay send its sessions to a new one. False when there is none that could take them now. */
bool wiring_export(struct super *s, struct worker *old);

/* Has one relay send sessions to another. ERR_SYSTEM (errno), ERR_CLOSED, ERR_AGAIN. */
MUST_CHECK int wiring_migrate(const struct worker *from, const struct worker *to, const struct control_export *what);
