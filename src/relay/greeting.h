/*
 * The greeting of a backend, judged by its first bytes: does it welcome the client, and where does it end? A pure function of
 * the bytes so far; it keeps nothing and reads nothing.
 */
#pragma once

#include <stddef.h>

#include "base/span.h"
#include "base/step.h"
#include "wire/greeting_kind.h"

#define GREETING_MAX 2048 /* bytes of a greeting, the end of its last line included */

struct greeting_end {
    size_t len; /* bytes of the greeting; 0 = none that the client may see */
    int err;    /* for STEP_FAILED */
};

/*
 * BYTES: the first that the backend sent; more than GREETING_MAX are not looked at. KIND is not GREETING_NONE.
 * STEP_DONE: the backend welcomes the client; LEN bytes are its greeting, what follows is the client's.
 * STEP_WANT_READ: not whole yet. *RET is untouched.
 * STEP_FAILED: ERR_GREETING_REFUSED (LEN bytes say to the client why), ERR_GREETING_PREAUTH (RFC 3501 7.1.4),
 * ERR_GREETING_FORMAT, ERR_GREETING_TOO_LONG.
 */
enum step greeting_read(enum greeting kind, struct span bytes, struct greeting_end *ret);
