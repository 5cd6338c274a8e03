/* Services that claim the same clients or addresses: what the other program settles by its order, so that `tls-off check` finds
 * nothing to settle. */
#pragma once

#include "convert/model.h"

/* No two services have the same clients, or differ in what holds for the whole address that they share; no two addresses
 * overlap, but those of a family beside ":PORT". */
void model_settle_claims(struct model *m);
