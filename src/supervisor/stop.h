/* What is done in an ordered stop: the actions of decide.h, each when it is decided. */
#pragma once

struct super;

/*
 * A patient drain begins after a delay, in which the proxy serves as ever but says that it is not ready: those who send it
 * clients need that time to hear of it.
 */
void stop_announce(struct super *s);
void stop_begin(struct super *s);

/* Once more, or for the first time when sessions still migrated. */
void stop_drain_relays(struct super *s);
void stop_others(struct super *s);

/* The last one: all log lines are in. */
void stop_observer(struct super *s);
