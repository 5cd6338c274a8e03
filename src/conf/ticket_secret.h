/*
 * The secret behind the keys of session tickets: read from a file, or random, and kept in a sealed memfd of its own (see
 * docs/decisions/004). Nothing is kept in ordinary memory.
 */
#pragma once

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"
#include "conf/conf.h"
#include "conf/secret_file.h"

#define TICKET_SECRET_MAX SECRET_FILE_MAX
#define TICKET_SECRET_NEW 64 /* bytes of one that we make */

/* Whether FILE can be used: a file of the right size that others can neither read nor change. A sentence in WHY otherwise. */
MUST_CHECK int ticket_secret_check(const char *file, struct text *why);

/*
 * A sealed memfd with the bytes of the files, in their order, or with random ones when there are no files. ERR_FORMAT and
 * ERR_SYSTEM (errno), with a sentence in WHY where it is a file's fault.
 */
MUST_CHECK int ticket_secrets_memfd(const char **files, size_t n, int *ret_fd, struct text *why);

/* What such a memfd holds; borrows BYTES. The number of secrets, 0 when the bytes are no such thing. */
#define TICKET_SECRETS_LEN_MAX (CONF_SECRETS_MAX * (2 + TICKET_SECRET_MAX))
size_t ticket_secrets_of(struct span bytes, struct span ret[static CONF_SECRETS_MAX]);

/* Makes FILE, mode 0600, with random bytes. Never overwrites. ERR_SYSTEM (errno). */
MUST_CHECK int ticket_secret_new(const char *file);
