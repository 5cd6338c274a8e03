/* The queues of finished connections that wait for a relay. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct handshaker;
struct wtimer;
struct conn;

void handoff_queue_add(struct handshaker *h, struct conn *c);
void handoff_queue_link(struct handshaker *h, uint16_t relay, int fd);
void handoff_queue_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);

/* Sends what is queued, as far as the relays take it. */
void handoff_queue_flush(struct handshaker *h);

/* The same for a few sessions, and only to relays that have read all that was sent before. False: nothing was sent. */
bool handoff_queue_send_few(struct handshaker *h);

/* Whether sessions are queued that could be sent now. Arms h->retry for those that still are by then. */
bool handoff_queue_waits(struct handshaker *h);

/* C has waited too long: one more try, with any relay. */
void handoff_queue_last_try(struct handshaker *h, struct conn *c);

/* h->retry has fired: tries full links again, and reroutes what waits for stalled relays. */
void handoff_queue_retry(void *ctx, struct wtimer *t);
