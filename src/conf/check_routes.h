/* Services and names that no client can reach. */
#pragma once

struct load;

/* After the files, which have the names. */
void check_routes(struct load *l);
