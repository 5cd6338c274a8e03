/* Where a service listens: one item of "listen", as text. */
#pragma once

#include <stdbool.h>

#include "base/defs.h"

struct load;
struct conf_listener;
struct text;

/* A listen item as an address; what was expected is added to WHY. ERR_FORMAT, ERR_LIMIT. */
MUST_CHECK int load_listen_address(struct load *l, const char *text, struct conf_listener *ret, struct text *why);

/* Whether two listeners are one and the same, port 0 included. */
bool load_same_listener(const struct conf_listener *a, const struct conf_listener *b);
