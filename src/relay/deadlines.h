/* When a session's time is over: one lazy timer a session. */
#pragma once

#include <stdint.h>

struct relay;
struct session;
struct wtimer;

/*
 * Sets the state's deadline, IN_MS from now (CONF_NEVER = none), and the session's timer for it. The timer is lazy: it may come
 * early, and session_timeout() finds out what is due, and when to look again. session_look_at() makes it come at that time, if
 * it is not to come before.
 */
void session_arm(struct relay *r, struct session *s, uint64_t in_ms);
void session_look_at(struct relay *r, struct session *s, uint64_t at_ms);
void session_timeout(void *ctx, struct wtimer *t);

/* After each piece of work on a session of which one direction is over (session_half_closed()). */
void session_look_half_closed(struct relay *r, struct session *s);
