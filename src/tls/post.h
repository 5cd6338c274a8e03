/*
 * What may still arrive besides data after the handshake: alerts, KeyUpdate, and attempts to renegotiate. Inside of
 * record_layer.h; not for others.
 */
#pragma once

#include <stdbool.h>

#include "base/defs.h"
#include "base/span.h"
#include "tls/record_layer.h"

/*
 * One alert record's content. STEP_DONE: of no consequence. STEP_EOF: close_notify, noted. STEP_FAILED: *ret_err.
 */
enum step post_alert(struct record_layer *p, const struct suite *suite, struct span body, int *ret_err);

/*
 * One handshake record's content: the whole or a part of one message. *ret_rekeyed is set when the key for opening is another
 * now. ERR_RECORD_TYPE, ERR_RECORD_DECODE, ERR_RECORD_ILLEGAL, ERR_RECORD_FLOOD, ERR_CRYPTO.
 */
MUST_CHECK int post_handshake(struct record_layer *p, const struct suite *suite, struct span body, bool *ret_rekeyed);

/* Counts a record that carried no data. ERR_RECORD_FLOOD. */
MUST_CHECK int post_count_idle(struct record_layer *p);

/* Moves a direction to the next traffic secret (RFC 8446 7.2), its key and number 0. ERR_CRYPTO; the direction is unchanged
 * then. */
MUST_CHECK int post_next_key(const struct suite *suite, struct traffic_keys *keys);
