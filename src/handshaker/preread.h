/* The first bytes of a connection: from the PROXY header to a service and a handshake. */
#pragma once

#include <stdbool.h>

#include "base/defs.h"

struct handshaker;
struct conn;

/* Both return false when nothing more can be done now. */
bool preread_header(struct handshaker *h, struct conn *c);
bool preread_hello(struct handshaker *h, struct conn *c);

/* The service of a client that names none and sends no ClientHello. 0, or what refuses it. */
MUST_CHECK int preread_nameless(struct handshaker *h, struct conn *c);

/* The same ClientHello again, after the wait for the signer. */
bool preread_again(struct handshaker *h, struct conn *c);
