/* The bytes of a session, from one side to the other. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct relay;
struct session;
struct flow;

/* A share of work for F, one of the two of S: what waits leaves, then one read goes through. */
void flow_pump(struct relay *r, struct session *s, struct flow *f);

/* Sends what waits. False when something still waits or the sink is gone. */
bool flow_flush(struct relay *r, struct session *s, struct flow *f);

/* The next N bytes of the backend, which are known to be there, to the client: N is small. */
void flow_pass_down(struct relay *r, struct session *s, size_t n);

/* An alert to the client, behind what waits. Nothing in passthrough mode or after close_notify. */
void flow_put_alert(struct relay *r, struct session *s, enum alert alert);

/* The client's socket is broken; the backend's is. */
void flow_client_reset(struct relay *r, struct session *s);
void flow_backend_reset(struct relay *r, struct session *s);
