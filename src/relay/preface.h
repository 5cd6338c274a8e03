/*
 * What passes between us and a backend that has taken a session before bytes of the client do: our PROXY header, and the
 * backend's greeting, which is swallowed when the client has been greeted already.
 *
 * A greeting that is not whole stays in the kernel: it is looked at, and taken out when its end is there. So a session in this
 * state holds nothing, migrates to another relay like any other, and what the backend said behind its greeting is still there
 * to be relayed.
 */
#pragma once

#include <stdbool.h>

struct relay;
struct session;

/* A backend has just taken the session. */
void preface_begin(struct relay *r, struct session *s);

/* Something happened on the backend's socket. The session may be open or closing afterwards. */
void preface_step(struct relay *r, struct session *s);

/* There is something to do now. */
bool preface_has_work(const struct session *s);
void preface_timeout(struct relay *r, struct session *s);
