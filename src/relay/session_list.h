/* The relay's sessions, listed for the observer (wire/listing.h). */
#pragma once

#include "base/defs.h"

struct relay;
struct control_peer;

/* No observer yet. */
void session_list_init(struct relay *r);

/* The link to an observer (process/role.h). ERR_SYSTEM when it cannot be watched. */
MUST_CHECK int session_list_take_link(void *ctx, const struct control_peer *peer, int fd);
