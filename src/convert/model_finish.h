/* What services have, and whether they are written: for what looks at all of them. */
#pragma once

#include "convert/model_parts.h"

/* The key when it has values; NULL = it has none. */
struct model_key *model_key_in(const struct model_service *s, const char *table, const char *key);
/* A service that has keys. */
bool model_is_service(const struct model_service *s);
/* It cannot be written, or must not. */
bool model_is_omitted(const struct model_service *s);
