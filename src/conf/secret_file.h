/* A file with random bytes that an operator has made: the right owner, mode and size, and no placeholder. */
#pragma once

#include <stdint.h>

#include "base/defs.h"
#include "base/file.h"
#include "base/text.h"

#define SECRET_FILE_MIN  32
#define SECRET_FILE_MAX  4096
#define SECRET_FILE_ROOM (SECRET_FILE_MAX + 1) /* a byte more shows that it has grown */

/*
 * The bytes of FILE into TO; their number. HARM: what somebody can do who reads it ("who reads it can ..."). ERR_FORMAT and
 * ERR_SYSTEM (errno), with a sentence in WHY.
 */
MUST_CHECK int secret_file_read(const char *file, const char *harm, uint8_t to[static SECRET_FILE_ROOM], struct text *why);

/* Owner and mode of an open file alone, for secrets of another form. ERR_FORMAT, with a sentence in WHY. */
MUST_CHECK int secret_file_rights(const struct file *f, const char *harm, struct text *why);

/* The same for its own sake: nothing is kept. */
MUST_CHECK int secret_file_check(const char *file, const char *harm, struct text *why);
