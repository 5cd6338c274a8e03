/* Where the fleet meets ("state" of [acme]), and what else has to be said then. */
#pragma once

#include "conf/loader.h"

struct reading;

/* After all keys are read: what belongs together. */
void check_store(struct load *l);
void read_acme_state(struct reading *r, const struct toml_node *node);
