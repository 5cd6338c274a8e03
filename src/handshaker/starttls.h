/*
 * What a client says before TLS (prelude/), on its connection: the pause before a greeting, the bytes in and out, and the rule
 * that nothing said in clear is left when TLS begins.
 */
#pragma once

#include <stdbool.h>

#include "handshaker/conn.h"

/* The state for a client of whom no TLS is known yet: behind a PROXY header, or at once. Sets up its prelude. */
enum conn_state starttls_first_state(const struct handshaker *h, struct conn *c);

/* The client has not begun with TLS while the pause lasted: it waits for the greeting. */
void starttls_greet(struct handshaker *h, struct conn *c);

/* Goes on with the bytes that wait. False when nothing more can be done now. */
bool starttls_talk(struct handshaker *h, struct conn *c);

/*
 * In CONN_GO_AHEAD: something has happened, or there may be room for the go-ahead. True when all of it is with the kernel: the
 * client's next byte is TLS.
 */
bool starttls_go_on(struct handshaker *h, struct conn *c);

/* The protocol's own words, before the end for REASON. */
void starttls_last_words(struct conn *c, int reason);
