/* For the targets that are daemons: one datagram an entry to their Unix socket, s->path. A daemon that comes back is found
 * again. */
#pragma once

#include "observer/sink.h"

/* Hands on the entry in S's batch, if there is one. It stays there while the daemon does not read; without a daemon it is lost.
 */
void datagram_flush(struct sink *s);

/* An entry that is still there is lost. */
void datagram_end(struct sink *s);
