/* Clients over a bound, in the form that a firewall of the operator's takes: `tls-off clients --over rate=10MB --format nft`.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/defs.h"

struct over {
    const char *measure; /* "rate", "bytes", "sessions", "handshakes", "failed"; NULL = everybody is */
    double bound;
};

/* "rate=10MB", "sessions=100". False: nothing is said. */
MUST_CHECK bool over_read(const char *text, struct over *ret);

/* What /clients.json sorts by so that those who are over the bound come first; NULL = it cannot. */
const char *over_sort(const struct over *o);

/* The objects of /clients.json that are over it; a new list, NULL without memory. */
json_t *over_select(const json_t *clients, const struct over *o);

/* As input of `nft -f`: two sets, and in them the addresses of LIST. Those that are no address, or this machine's, are
 * comments. */
void over_print_nft(const json_t *list, const struct over *o);
