/* The relay's sessions, listed for the observer (wire/listing.h). */
#pragma once

#include "relay/session.h"

/* Takes over the link to an observer, and owns FD in every case. False when it cannot be watched (errno). */
MUST_CHECK bool listing_take_link(struct relay *r, int fd);

/* A handler of the loop. */
void listing_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);
