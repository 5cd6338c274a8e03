/*
 * A record layer on its way to another process: the bytes that a session carries along (docs/session-format.md, "Record
 * layer"). What is in them is known here alone; code that passes them on sees a span.
 */
#pragma once

#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "tls/record_layer.h"

#define RECORD_LAYER_PACKED_MAX 256

/* Packs P into TO, which the caller wipes: the keys are in it. */
struct span record_layer_pack(const struct record_layer *p, uint8_t to[static RECORD_LAYER_PACKED_MAX]);

/*
 * Reads what was packed by a process that writes MINOR of the hand-over format; NEWER: one that this build does not know, so
 * that more may follow. Only what makes sense is taken (record_layer_valid(), and numbers far from their end). ERR_FORMAT:
 * *ret is wiped.
 */
MUST_CHECK int record_layer_unpack(struct span packed, uint8_t minor, bool newer, struct record_layer *ret);
