/* A number that only grows, in a file: the newest version of an object of the fleet that was taken. */
#pragma once

#include <stdint.h>

#include "base/defs.h"

/* 0 = there is none. */
uint64_t version_file_read(const char *path);

/* On the disk when it returns. ERR_SYSTEM (errno). */
MUST_CHECK int version_file_write(const char *path, uint64_t version);
