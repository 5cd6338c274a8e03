/* The part of its certificate by which a client is admitted: a name in the configuration, the log and the rules. */
#pragma once

#include <stddef.h>

/* Numbers are part of packed messages: new ones go at the end. */
enum identity_source {
    IDENTITY_NOTHING, /* any certificate of the CA is let in, and this one holds no name */
    IDENTITY_DNS,
    IDENTITY_URI,
    IDENTITY_CN,
    IDENTITY_OU,
    IDENTITY_SPKI,
    IDENTITY_COUNT,
};

/* "dns", "uri", "cn", "ou", "spki-sha256"; "" for nothing and for a number out of range. Static storage. */
const char *identity_source_text(unsigned identity_source);

/* The kind in front of "dns:*.example.org"; *RET_REST is what follows its colon. IDENTITY_NOTHING when there is none. */
enum identity_source identity_source_prefix(const char *text, const char **ret_rest);
