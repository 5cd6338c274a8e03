/* The file of the key log, opened by the supervisor for handshakers, which have no right to any file. */
#pragma once

#include "base/defs.h"
#include "base/text.h"
#include "conf/conf.h"

/*
 * The file of C, for appending, created with mode 0600 when missing; *RET_FD -1 when nothing is to be written now. ERR_SYSTEM
 * with a sentence in WHY: it cannot be opened, or is not what a key log may be.
 */
MUST_CHECK int keylog_open(const struct conf *c, int *ret_fd, struct text *why);
