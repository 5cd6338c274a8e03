/*
 * The supervisor's state for its successor in the same process: what it knows, and the numbers of the descriptors it holds, in
 * a sealed memfd. Written only while just one generation exists, so there is no transition to describe.
 *
 * STATE_VERSION is raised with every change of the layout. A successor that cannot read it says so in the dry run, before
 * anything depends on it (reexec.h).
 */
#pragma once

#include <stddef.h>

#include "base/defs.h"

#define STATE_VERSION 5
#define STATE_MAX     (1024 * 1024)

struct super;

/* The descriptors that must stay open over exec. */
struct state_fds {
    int *list;
    size_t n;
};

/* A sealed memfd; *RET_FDS is the caller's to free(). ERR_LIMIT, ERR_NOMEM, ERR_SYSTEM (errno). */
MUST_CHECK int state_write(struct super *s, int *ret_fd, struct state_fds *ret_fds);

/*
 * Fills S, which must be all zero. ERR_UNSUPPORTED: another version; ERR_FORMAT, ERR_SYSTEM (errno). Descriptors are numbers
 * only: state_inherit() checks them.
 */
MUST_CHECK int state_read(struct super *s, int fd);

/* Takes over the descriptors of a state just read, close-on-exec again. ERR_FORMAT when one is missing. */
MUST_CHECK int state_inherit(struct super *s);
