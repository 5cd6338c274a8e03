/*
 * The lists that access keys name, read into an access table (access/access.h): at the start together with the rest of the
 * configuration, later for themselves, from the configuration that runs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "access/access_write.h"
#include "conf/load.h"

#define CONF_ACCESS_BAD_SHOWN 5 /* bad lines of a list that are reported one by one */

/* IS_DENY, K: which entry of service I's keys the text is about. */
typedef void (*conf_access_fn)(void *ctx, size_t service, bool is_deny, size_t k, bool is_error, const char *text);

/* Service I, the next in order. OLD: the table in use, for lists that have not changed or cannot be read; NULL = none. */
void conf_access_service(const struct conf *c, size_t i, struct access_writer *w, const struct access *old,
                         conf_access_fn report, void *ctx);

/*
 * All services of a running configuration; what cannot be read keeps what it had in OLD, and only when there is nothing to keep
 * it is an error. True when there was none.
 */
bool conf_access_load(const struct conf *c, struct access_writer *w, const struct access *old, struct diagnostics *f);
