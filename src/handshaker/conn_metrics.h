/* What connections add to this handshaker's counters until they are sessions. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shm/stats.h"

struct handshaker;
struct wtimer;
struct conn;

/* It was accepted; its ClientHello has been read. For trace points only. */
void conn_metrics_accepted(struct handshaker *h, const struct conn *c);
void conn_metrics_hello(struct handshaker *h, const struct conn *c);

/* It was handed to a relay. */
void conn_metrics_handed_over(struct handshaker *h, const struct conn *c, uint16_t relay);

/* Its client is known. */
void conn_metrics_client(struct handshaker *h, struct conn *c);

/* It was let in by a limit of handshakes. */
void conn_metrics_let_in(struct handshaker *h, const struct conn *c);

/* Its service is known. */
void conn_metrics_service(struct handshaker *h, struct conn *c);

/* The handshake (in passthrough mode: the ClientHello) has led to a session. A verified name counts from here. */
void conn_metrics_done(struct handshaker *h, struct conn *c);

/* It failed: c->reason. */
void conn_metrics_failed(struct handshaker *h, struct conn *c);

/* The access lists judged its client: the list BY decided. */
void conn_metrics_access(struct handshaker *h, const struct conn *c, const char *by, bool admitted);

/* It is no longer a handshake. */
void conn_metrics_leave(struct handshaker *h, struct conn *c);

/* About once a second while something happens: h->stats_timer fired, and the end of a turn. */
void conn_metrics_publish(void *ctx, struct wtimer *t);
void conn_metrics_turn(struct handshaker *h);
