/* Keys against each other. */
#pragma once

struct load;

void check_keys(struct load *l);
