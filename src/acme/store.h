/*
 * What the acme role remembers over its own end, by name: jobs and accounts. Files of its own directory; this file alone knows
 * that, so that another place can be put behind the same four functions.
 */
#pragma once

#include "acme/ca.h"
#include "acme/job.h"
#include "base/defs.h"

struct store {
    char directory[1024];
};

/* ERR_LIMIT: the name is too long. */
MUST_CHECK int store_init(struct store *s, const char *directory);

/* On the disk when it returns. ERR_SYSTEM (errno), ERR_LIMIT; what was there before stays then. */
MUST_CHECK int store_put_job(const struct store *s, const struct job *j);
MUST_CHECK int store_put_account(const struct store *s, const struct ca *c);

/* What is there and can be understood; else nothing is changed. */
void store_get_job(const struct store *s, struct job *j, int64_t now);
void store_get_account(const struct store *s, struct ca *c);
