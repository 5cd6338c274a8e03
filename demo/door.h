/*
 * The door of the demo application: a listening Unix socket whose connections may begin with a PROXY header. Reads the header,
 * to the byte, and hands the connection over with the info of the header; the first byte behind it is still in the socket.
 *
 * One thread, one poll() over the callers whose header is not complete yet: bounded in number, in bytes and in time.
 */
#pragma once

#include <jansson.h>

#include "base/defs.h"

/* Takes the descriptor and CONN_INFO (NULL: the connection began without a PROXY header). */
typedef void (*door_fn)(void *ctx, int fd, json_t *conn_info);

/* A listening socket at PATH; a stale socket file is replaced. Negative on failure (errno). */
MUST_CHECK int door_open(const char *path);

/* Serves until STOP_FD (a signalfd) is readable. */
void door_serve(int listen_fd, int stop_fd, door_fn fn, void *ctx);
