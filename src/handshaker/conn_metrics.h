/* What connections add to this handshaker's counters until they are sessions. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/stats.h"

struct hand;
struct conn;

/* It begins: accepted, or its ClientHello has been read. Only for who traces. */
void conn_metrics_accepted(struct hand *h, const struct conn *c);
void conn_metrics_hello(struct hand *h, const struct conn *c);

/* A relay has it. */
void conn_metrics_handed_over(struct hand *h, const struct conn *c, uint16_t relay);

/* Its client is known. */
void conn_metrics_client(struct hand *h, struct conn *c);

/* Its service is known. */
void conn_metrics_service(struct hand *h, struct conn *c);

/* As what the client of a finished handshake was served: name and certificate. */
struct conn_info;
void conn_metrics_served(const struct hand *h, const struct conn *c, struct conn_info *ret);

/* The handshake (in passthrough mode: the ClientHello) has led to a session. A verified name counts from here. */
void conn_metrics_done(struct hand *h, struct conn *c);

/* It came to nothing: c->reason. */
void conn_metrics_failed(struct hand *h, struct conn *c);

/* It is a handshake no more. */
void conn_metrics_leave(struct hand *h, struct conn *c);

/* About once a second while something happens: h->stats_timer fired, and the end of a turn. */
void conn_metrics_publish(struct hand *h);
void conn_metrics_turn(struct hand *h);
