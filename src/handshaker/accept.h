/* Accepts connections: a bounded number per turn, paused while descriptors run out. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct handshaker;
struct wtimer;

void accept_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);
void accept_start(struct handshaker *h);

/* Accepts all that is in the backlog queues now: no one may serve these addresses after us. */
void accept_backlog(struct handshaker *h);

/* Accepts some of the backlog of a socket whose own handshaker does not answer. FD is owned from here. */
void accept_for_other(struct handshaker *h, int fd, uint16_t listener);
void accept_stop(struct handshaker *h); /* for good: closes the listening sockets */

void accept_resume(void *ctx, struct wtimer *t); /* the pause is over: h->resume has fired */
