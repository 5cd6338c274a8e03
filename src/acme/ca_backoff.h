/*
 * How long an issuer that is away, overloaded, or that limits us is left alone by all certificates. Each certificate has pauses
 * of its own; a thousand of them together would still be a thousand requests. While a backoff is on none begins, and behind it
 * one at a time, until one shows that the issuer works.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CA_BACKOFF_MAX_S 3600

/* Begins zeroed: none. */
struct ca_backoff {
    uint32_t pause_s;  /* the last one of ours; 0 = it works */
    uint64_t until_ms; /* monotonic */
};

/* After a failure that is the issuer's: 1 minute, 2, 4 .. an hour, or what it says (RETRY_AFTER in seconds, -1 = nothing) up to
 * an hour, as a limit may be one of a single name. A failure within a backoff does not make the next one longer. */
void ca_backoff_begin(struct ca_backoff *b, uint64_t now_ms, int64_t retry_after);

/* The issuer works. */
void ca_backoff_end(struct ca_backoff *b);

bool ca_backoff_is_on(const struct ca_backoff *b, uint64_t now_ms);

/* The backoff, or the one before, has not been followed by a success: one attempt at a time. */
bool ca_backoff_tries_one(const struct ca_backoff *b);
