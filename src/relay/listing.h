/* The relay's sessions, listed for the observer (wire/listing.h). */
#pragma once

#include "relay/session.h"

/* The link to an observer (process/role.h). ERR_SYSTEM when it cannot be watched. */
MUST_CHECK int listing_take_link(void *ctx, const struct control_peer *peer, int fd);

/* A handler of the loop. */
void listing_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);
