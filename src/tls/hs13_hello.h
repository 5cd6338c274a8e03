/* What a ClientHello is answered with: the choices, the resumption, and our flight up to the signature. */
#pragma once

#include "tls/hs13_state.h"

/*
 * The first ClientHello, and the one that a HelloRetryRequest asked for. 0: the state says what comes next.
 * ERR_HELLO_LACKS, ERR_RECORD_ILLEGAL, ERR_NO_GROUP, ERR_KEY_SHARE, ERR_HELLO_CHANGED, ERR_BINDER, ERR_NO_SIGALG, ...
 */
MUST_CHECK int hs13_hello_first(struct hs13 *h, const struct hello *hello, struct span message);
MUST_CHECK int hs13_hello_second(struct hs13 *h, struct span message);

/* The rest of our flight: the signature (none when resumed) and Finished; the keys of the session. */
MUST_CHECK int hs13_end_flight(struct hs13 *h, struct span signature);
