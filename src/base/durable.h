/* Files that survive a crash: readers see all of the old bytes or all of the new ones, also after the power has failed. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/defs.h"
#include "base/span.h"

/* Replaces the file: written beside it as PATH.new, synced, renamed over it. ERR_SYSTEM (errno); the old one is there then. */
MUST_CHECK int durable_write(const char *path, mode_t mode, struct span bytes);

/*
 * The same by a new file of the caller's, open as FD under the name TEMPORARY in the directory of PATH. FD is closed, and the
 * new file is gone where that fails.
 */
MUST_CHECK int durable_replace(const char *path, const char *temporary, int fd, mode_t mode, struct span bytes);

/* What was changed in the directory is on the disk. ERR_SYSTEM (errno). */
MUST_CHECK int durable_sync_dir(const char *dir);
