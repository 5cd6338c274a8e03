/* Which of several chains an issuer offers is the one that is wanted. */
#pragma once

#include <stdbool.h>

#include "base/span.h"

/* Whether the last certificate in PEM was issued by a CA of this common name. */
bool chain_is_by(struct span pem, const char *name);
