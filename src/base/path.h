/* Names of files below a directory. */
#pragma once

#include <limits.h>

#include "base/defs.h"

/* TO becomes DIR/NAME and is returned; where that is too long it becomes "", which names nothing: opening it fails. */
const char *path_join(char to[static PATH_MAX], const char *dir, const char *name);
