/* What speaks in clear where TLS is expected, by its first bytes: for the people who read the log, and for nothing else. */
#pragma once

#include "prelude/prelude.h"

struct plain_kind {
    const char *name;
    enum starttls starttls; /* that takes such clients; STARTTLS_NONE = none does */
};

/* NULL when it is not known. Borrows static memory. */
const struct plain_kind *plain_kind(struct span first_bytes);
