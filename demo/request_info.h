/* What the demo application knows of a connection and of a request, as JSON: shown raw at /info and as a page elsewhere. */
#pragma once

#include <jansson.h>

#include "base/span.h"
#include "handshaker/proxy_in.h"

struct MHD_Connection;

/* A PROXY header that proxy_in_read() found complete: addresses, and for version 2 its TLVs. Null when out of memory. */
json_t *info_of_header(struct span header, const struct proxy_in *in);

/* The request as received; PROXY (may be NULL) is borrowed. */
json_t *info_of_request(struct MHD_Connection *c, const char *method, const char *path, const char *version, json_t *proxy);
