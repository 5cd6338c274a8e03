/*
 * What the second of two ClientHellos owes the first, on either path of a handshake (RFC 8446 4.1.2). All is decided by the
 * first; the second brings the share that was asked for, and tickets. What the decision used must be the same, and nothing else
 * is compared: clients may change other parts.
 */
#pragma once

#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "tls/hello.h"

#define HELLO_PIN_LEN 32

/* A digest of what a second hello must not change. */
void hello_pin(const struct hello *first, uint8_t ret[static HELLO_PIN_LEN]);

/*
 * Judges the second hello by the pin of the first: ERR_HELLO_CHANGED when something else is in it, more or fewer shares than
 * one, or early data. The share borrows the hello; whether it is of the group that was asked for is the caller's to see.
 */
MUST_CHECK int hello_judge_second(const struct hello *second, const uint8_t pin[static HELLO_PIN_LEN], uint16_t *ret_group,
                                  struct span *ret_share);
