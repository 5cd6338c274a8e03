/* When a session is to be looked at: one lazy timer a session. What becomes of it then: timeouts.h. */
#pragma once

#include <stdint.h>

struct relay;
struct session;

/*
 * Sets the state's deadline, IN_MS from now (CONF_NEVER = none), and the session's timer for it. The timer is lazy: it may come
 * early, and session_timeout() finds out what is due, and when to look again. session_look_at() makes it come at that time, if
 * it is not to come before.
 */
void session_arm(struct relay *r, struct session *s, uint64_t in_ms);
void session_look_at(struct relay *r, struct session *s, uint64_t at_ms);

/* After each piece of work on a session of which one direction is over (session_half_closed()). */
void session_look_half_closed(struct relay *r, struct session *s);

/* Its timer has fired: where it is such a one, when to look next. */
void session_look_again_half_closed(struct relay *r, struct session *s);
