/* All child processes: started, wired, reaped, restarted with a growing pause. */
#pragma once

#include <stdbool.h>

#include "base/defs.h"

struct super;
struct worker;
struct generation;

/* Starts and wires all processes of G and sends them GO. False: errno. */
MUST_CHECK bool workers_start(struct super *s, struct generation *g);

/* Its timer: a restart is due, or it has not stopped in time. */
void worker_timer(struct super *s, struct worker *w);

/* Reaps every child that has ended. */
void workers_reap(struct super *s);
