/* Keys and record numbers of a handshake, as libssl has them at this moment. For hs_libssl.c and hs_alert.c. */
#pragma once

#include "base/defs.h"
#include "tls/hs_libssl.h"

/* After the handshake: both directions as they go on. ERR_LEAVE, ERR_CRYPTO. */
MUST_CHECK int hs_keys_take(const struct hs_libssl *h, struct record_layer *p);

/* Whether what libssl sends is protected now, under keys that last (TLS 1.3: its flight is out). */
bool hs_keys_protect(const struct hs_libssl *h);

/* Then: suite and our direction, as for the next record. ERR_LEAVE, ERR_CRYPTO. */
MUST_CHECK int hs_keys_take_out(const struct hs_libssl *h, struct record_layer *p);

/* What protection adds to a record of this type that the client sends now: content type, explicit nonce, tag. */
size_t hs_keys_expansion(const struct hs_libssl *h, uint8_t type);
