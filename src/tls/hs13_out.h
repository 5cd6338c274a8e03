/*
 * The one builder of messages: bodies of known length, put piece by piece into records of the size the client takes, protected
 * once the handshake's keys are there. Errors are kept until hs13_out_flush().
 */
#pragma once

#include "base/err.h"
#include "tls/hs13_state.h"

/* A message of BODY_LEN bytes, that hs13_out_put() will bring. One that does not fit behind the others begins a record. */
void hs13_out_begin(struct hs13 *h, uint8_t type, size_t body_len);
void hs13_out_put(struct hs13 *h, struct span part);

/* The same for a whole body. */
void hs13_out_message(struct hs13 *h, uint8_t type, struct span body);

/* Ends the record begun: before a change of keys, and at a step's end. The first error since. ERR_NOMEM, ERR_LIMIT, ... */
MUST_CHECK int hs13_out_flush(struct hs13 *h);

/* A plain ChangeCipherSpec, for middleboxes (RFC 8446 D.4). */
void hs13_out_ccs(struct hs13 *h);

/* A fatal alert under the present keys, instead of what is not in a record yet. */
void hs13_out_alert(struct hs13 *h, enum alert alert);
