/* Datagrams to a daemon's Unix socket. Nothing waits for a daemon that does not read, and one that comes back is found again.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"

/* Sends one, connecting *FD (-1 = not connected) where that is needed. False with errno when it did not arrive. */
bool datagram_send(int *fd, const char *path, struct span datagram);

/* Takes -1. */
void datagram_close(int *fd);
