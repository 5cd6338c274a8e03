/*
 * The supervisor's state for its successor in the same process: what it knows, and the numbers of the descriptors it holds, in
 * a sealed memfd. Written only while nothing but one generation exists, so there is no half-way state to carry.
 *
 * STATE_VERSION is raised with every change of the layout. A successor that cannot read what it is given says so in a
 * rehearsal, before anything depends on it (takeover.h).
 */
#pragma once

#include <stddef.h>

#include "base/defs.h"

#define STATE_VERSION 2
#define STATE_MAX     (1024 * 1024)

struct super;

/* The descriptors that must stay open over exec. */
struct state_fds {
    int *list;
    size_t n;
};

/* A sealed memfd; *RET_FDS is the caller's to free(). ERR_LIMIT, ERR_SYSTEM (errno). */
MUST_CHECK int state_write(struct super *s, int *ret_fd, struct state_fds *ret_fds);

/*
 * Fills S, which must be all zero. ERR_UNSUPPORTED: another version; ERR_FORMAT, ERR_SYSTEM (errno). Descriptors are numbers
 * only: whether they are there is looked at with state_adopt().
 */
MUST_CHECK int state_read(struct super *s, int fd);

/* The descriptors of a state just read become ours, close-on-exec again. ERR_FORMAT when one is not there. */
MUST_CHECK int state_adopt(struct super *s);
