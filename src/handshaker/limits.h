/* Who may connect at all, and how often: what is asked of a client when its address is known, and when its service is. */
#pragma once

struct handshaker;
struct conn;

/* Whether the peer of a PROXY listener may name clients: 0 or ERR_PROXY_UNTRUSTED. */
int limits_peer(const struct handshaker *h, const struct conn *c);

/* The client's address is known: counts it. 0, or the list or limit that refuses it whatever service it wants. */
int limits_client(struct handshaker *h, struct conn *c);

/* The client's certificate was refused, which cost more than a handshake: it counts as one more. */
void limits_charge(struct handshaker *h, const struct conn *c);

/* The service is known: counts it. 0, or the list or limit that refuses it. */
int limits_service(struct handshaker *h, struct conn *c);
