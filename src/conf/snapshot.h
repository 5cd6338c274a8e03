/*
 * The checked configuration as bytes in a sealed memfd, for the other roles. Read with the care due to any other process:
 * every count and range is checked again, so a broken snapshot is refused and never followed. The supervisor also reads those
 * of other builds, during an upgrade: keys go by name, so that builds with other keys understand each other.
 */
#pragma once

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"
#include "conf/conf.h"

#define SNAPSHOT_MAX (48 * 1024 * 1024)

/* A sealed, read-only memfd with C in it, which stays as it is. ERR_LIMIT, ERR_SYSTEM (errno). */
MUST_CHECK int snapshot_write(struct conf *c, int *ret_fd);

/*
 * ERR_FORMAT, ERR_LIMIT, ERR_SYSTEM (errno). ERR_UNSUPPORTED: another build has written what this one does not understand; WHY,
 * which may be NULL, then has the name of the entry, or nothing when the form is another one.
 */
MUST_CHECK int snapshot_read(int fd, struct conf **ret, struct text *why);

/* The same from bytes; what snapshot_read() and the fuzzer call. ERR_FORMAT, ERR_UNSUPPORTED. */
MUST_CHECK int snapshot_parse(struct span bytes, struct conf **ret, struct text *why);
