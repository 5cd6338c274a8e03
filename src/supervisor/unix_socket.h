/*
 * Listening Unix sockets. Their files are made for us alone and then given the rights configured, so that nobody connects in
 * between; replaced when stale; removed when they are still ours. An abstract name has no file and no rights.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/defs.h"
#include "conf/conf.h"

struct unix_socket {
    char path[CONF_SOCKET_PATH_MAX + 2]; /* absolute, or '@' and an abstract name; "" = no Unix socket */
    dev_t dev;                           /* of the file that we made: only that one is given rights, or removed */
    ino_t ino;
};

/*
 * A socket bound to PATH, into RET what it is. It listens already when it has a file, or another process would take that for
 * stale. A stale file, at which nothing answers, is replaced; no other one is touched. MAKE_DIR: its directory is created. -1
 * (errno; EADDRINUSE: another process serves there).
 */
MUST_CHECK int unix_socket_open(const char *path, bool make_dir, int backlog, struct unix_socket *ret);

/* Who may connect from now on; queued connections stay. False (errno; EEXIST: something else is in its place). */
MUST_CHECK bool unix_socket_give(const struct unix_socket *f, const struct socket_rights *rights);

/* Whether nothing has its name any more: nobody reaches it. */
bool unix_socket_is_gone(const struct unix_socket *f);

void unix_socket_remove(const struct unix_socket *f);

/* "another process serves there", "found another file in its place", or what ERROR is otherwise. */
const char *unix_socket_fault(int error);
