/*
 * Options of TCP sockets that more than one role sets. All of them are inherited by connections that a listening socket
 * accepts, so that clients' sockets cost no system call for them. None is needed for a session to work: failures are not
 * reported.
 */
#pragma once

#include <stdint.h>

#define TCP_KEEPALIVE_PROBES 5
#define TCP_KEEPALIVE_MAX_S  32767 /* the kernel's */

/*
 * A peer that is silent for QUIET_MS is probed, and given up when it has not answered for as long again.
 * UINT64_MAX = no probes. Times are rounded to seconds, one at least.
 */
void tcp_keepalive(int fd, uint64_t quiet_ms);

/*
 * Bytes that may wait in the kernel before they are sent for the first time. What is on its way is not among them, so that long
 * paths are filled as ever; but a peer that does not read keeps little memory of ours.
 */
void tcp_bound_unsent(int fd);
