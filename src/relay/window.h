/*
 * How much a peer may have under way to us: the receive memory of TCP sockets, while bytes move.
 *
 * Left to itself the kernel lets it grow up to tcp_rmem[2] as soon as bytes move fast, and a session whose sink then stops
 * holds all of that. Memory in the kernel is in no budget of ours. So it is what the path needs: twice what the flow moves in
 * one round trip, WINDOW_MIN at least, and as ever not more than the host allows. See docs/decisions/049-receive-windows.md.
 */
#pragma once

#include <stdint.h>

#define WINDOW_MIN  (512 * 1024) /* bytes; the kernel takes up to twice as much memory for them */
#define WINDOW_LOOK (256 * 1024) /* bytes relayed between two looks */

/*
 * The flow that reads from FD has relayed BYTES in all, BEFORE of them before this read. *MARK_US: the flow's, 0 at first. Does
 * nothing on a Unix socket, which its sender's buffer bounds.
 */
void window_moved(int fd, uint64_t before, uint64_t bytes, uint32_t *mark_us);
