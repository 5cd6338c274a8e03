/* Events in, what decide() says out: the one place where the supervisor's decisions are carried out. */
#pragma once

#include "supervisor/decide.h"

struct super;

/* E has happened: does all that follows from it now. */
void actions_take(struct super *s, const struct decide_event *e);

/* After every turn of the loop. */
void actions_turn(struct super *s);

/* The time of the present stage is over. */
void actions_stage_late(struct super *s);

/* An operator's command, whose result is in the process table. */
void actions_command(struct super *s, const struct control_command *c);
