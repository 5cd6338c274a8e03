/* What connections add to this handshaker's counters until they are sessions. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/stats.h"

struct hand;
struct conn;

/* It begins: accepted, or its ClientHello has been read. Only for who traces. */
void tally_accepted(struct hand *h, const struct conn *c);
void tally_hello(struct hand *h, const struct conn *c);

/* A relay has it. */
void tally_handed_over(struct hand *h, const struct conn *c, uint16_t relay);

/* Its client is known. */
void tally_client(struct hand *h, struct conn *c);

/* Its service is known. */
void tally_service(struct hand *h, struct conn *c);

/* As what the client of a finished handshake was served: name and certificate. */
struct facts;
void tally_served(const struct hand *h, const struct conn *c, struct facts *ret);

/* The handshake (in passthrough mode: the ClientHello) has led to a session. A verified name counts from here. */
void tally_done(struct hand *h, struct conn *c);

/* It came to nothing: c->reason. */
void tally_failed(struct hand *h, struct conn *c);

/* It is a handshake no more. */
void tally_leave(struct hand *h, struct conn *c);

/* About once a second while something happens: h->stats_timer fired, and the end of a turn. */
void tally_publish(struct hand *h);
void tally_turn(struct hand *h);
