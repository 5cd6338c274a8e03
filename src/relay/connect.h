/* From a session to a backend: the choice, the attempts, and the queue of those for which none has room. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct relay;
struct session;
struct channel;
struct ipc_msg;

void connect_begin(struct relay *r, struct session *s);
void connect_event(struct relay *r, struct session *s, uint32_t events);
void connect_timeout(struct relay *r, struct session *s);
void connect_retry_waiters(struct relay *r);

/*
 * The backend serves: it has taken a connection, or greeted where the relay waits for that. It has not, for REASON: a failure
 * as of a connect, unless it knows who the client is, and may have refused that one.
 */
void connect_welcome(struct relay *r, struct session *s);
void connect_no_welcome(struct relay *r, struct session *s, int reason);

/* For a session that is on no backend, another relay's among them: one that it has not tried, or the queue of its service. */
void connect_try(struct relay *r, struct session *s);

/* The session no longer counts at its backend. May be called at any time. */
void connect_leave(struct relay *r, struct session *s);

/* A message of the resolver (base/channel.h); CTX is the relay. */
bool connect_resolved(void *ctx, struct channel *c, struct ipc_msg *m);
