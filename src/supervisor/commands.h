/* Commands of operators, by signal or by the observer; results are in the process table. */
#pragma once

#include <stdbool.h>

#include "shm/proctab.h"
#include "wire/control.h"

struct super;

/* It has arrived: a reload waits, others run, and in a stop a reload is refused. False: there is no place for it. */
MUST_CHECK bool command_open(struct super *s, const struct control_command *c);

/* Whether a reload is queued; command_run_reloads() starts all that are. */
bool command_reload_waits(const struct super *s);
void command_run_reloads(struct super *s);

/* Sets the result of all running commands of KIND. */
void command_end(struct super *s, enum command_kind kind, enum proctab_result result, const char *text);
