/* Where the fleet meets ("state" of [acme]), and what else has to be said then. */
#pragma once

#include "conf/loader.h"

/* After all keys are read: what belongs together. */
void check_store(struct load *l);
