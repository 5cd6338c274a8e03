/*
 * The supervisor takes up its own new code: it execs the binary of the generation that serves, in place, so that its pid and
 * its children stay. First a child of that binary rehearses it: it reads the state, and only when it says that it could go on
 * from there, the step is made. Otherwise the old supervisor stays with the new generation, and says so.
 */
#pragma once

#include <stdbool.h>

/* In the environment of the process that was just begun: the number of the state's descriptor. */
#define REEXEC_VARIABLE "TLS_OFF_STATE"

struct super;

/* Starts the rehearsal. False, with a line in the log, when that cannot be. */
bool reexec_dry_run(struct super *s);

/* Whether it has an answer. */
bool reexec_dry_run_done(const struct super *s);

/* Execs, when the answer was good. Returns when it was not, or when exec fails. */
void reexec_exec(struct super *s);
