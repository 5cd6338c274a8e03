/* Files that a configuration names and that belong to it: included parts, lists of certificates, maps. */
#pragma once

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"
#include "convert/model.h"

/* A line number names its file, too: each file has so many to itself, the one that is converted the first ones. */
#define NAMED_FILE_LINES (1u << 21)
#define NAMED_FILES_MAX  256

/*
 * The bytes of the file PATH, at most 1 MiB, read once, which live as long as the model. RET_LINE is the number of its first
 * line. ERR_SYSTEM, ERR_FORMAT, ERR_LIMIT when there are too many, with the reason in WHY.
 */
MUST_CHECK int named_file_read(struct model *m, const char *path, struct span *ret, unsigned *ret_line, struct text *why);

/* The file of a line, whose number within it goes to RET_LINE. */
const char *named_file_of(const struct model *m, unsigned line, unsigned *ret_line);

void named_file_free(struct model *m);
