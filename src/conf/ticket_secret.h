/*
 * The secret behind the keys of session tickets: read from a file, or random, and kept in a sealed memfd of its own (see
 * docs/decisions/004). Nothing is kept in ordinary memory.
 */
#pragma once

#include "base/defs.h"
#include "base/text.h"

#define TICKET_SECRET_MIN 32
#define TICKET_SECRET_MAX 4096
#define TICKET_SECRET_NEW 64 /* bytes of one that we make */

/* Whether FILE can be used: a file of the right size that others can neither read nor change. A sentence in WHY otherwise. */
MUST_CHECK int ticket_secret_check(const char *file, struct text *why);

/*
 * A sealed memfd with the bytes of FILE, or with random ones when FILE is NULL. ERR_FORMAT and ERR_SYSTEM (errno), with a
 * sentence in WHY where it is the file's fault.
 */
MUST_CHECK int ticket_secret_memfd(const char *file, int *ret_fd, struct text *why);

/* Makes FILE, mode 0600, with random bytes. Never overwrites. ERR_SYSTEM (errno). */
MUST_CHECK int ticket_secret_new(const char *file);
