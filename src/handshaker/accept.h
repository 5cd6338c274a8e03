/* Accepts connections: a bounded number per turn, paused while descriptors run out, refused where a client is over its limits.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct handshaker;
struct wtimer;
struct conn;

void accept_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);
void accept_start(struct handshaker *h);

/* Accepts all that is in the backlog queues now: no one may serve these addresses after us. */
void accept_backlog(struct handshaker *h);

/* Accepts some of the backlog of a socket whose own handshaker does not answer. FD is owned from here. */
void accept_for_other(struct handshaker *h, int fd, uint16_t listener);
void accept_stop(struct handshaker *h); /* for good: closes the listening sockets */

/* Out of descriptors: stops accepting until h->resume fires. */
void accept_pause(struct handshaker *h);

void accept_resume(void *ctx, struct wtimer *t); /* it has */

/* Whether the peer of a PROXY listener may name clients: 0 or ERR_PROXY_UNTRUSTED. */
int accept_peer(const struct handshaker *h, const struct conn *c);

/* The client's address is known: counts it. 0, or the list or limit that refuses it whatever service it wants. */
int accept_client(struct handshaker *h, struct conn *c);

/* The client's certificate was refused, which cost more than a handshake: it counts as one more. */
void accept_charge(struct handshaker *h, const struct conn *c);

/* The service is known: counts it. 0, or the list or limit that refuses it. */
int accept_service(struct handshaker *h, struct conn *c);
