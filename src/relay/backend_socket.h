/* Sockets to backends: their options, and the two things that TCP does that no backend means. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* A socket of AF_UNIX, AF_INET or AF_INET6 to connect with; -1 (errno). KEEPALIVE_MS: as tcp_keepalive() takes it. */
int backend_socket(sa_family_t family, uint64_t keepalive_ms);

/*
 * The connected socket is its own peer. A connect to a free port of this machine may be given that very port, and TCP then
 * joins the socket with itself (RFC 9293 3.5, simultaneous open): no backend has accepted the connection.
 */
bool backend_socket_is_itself(int fd);

/*
 * Closes *FD (-1 = there is none). With RESET the other side sees a reset; Unix sockets know none, there the close itself is
 * the sign. Without, nothing lingers: a process that shared the socket could have made close() wait for its bytes.
 */
void socket_close(int *fd, bool reset);
