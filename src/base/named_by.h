/* By which part of its certificate a client is let in: a word of the configuration, of the log and of the rules. */
#pragma once

#include <stddef.h>

/* Numbers are part of packed messages: new ones go at the end. */
enum named_by {
    NAMED_BY_NOTHING, /* any certificate of the CA is let in, and this one holds no name */
    NAMED_BY_DNS,
    NAMED_BY_URI,
    NAMED_BY_CN,
    NAMED_BY_OU,
    NAMED_BY_SPKI,
    NAMED_BY_COUNT,
};

/* "dns", "uri", "cn", "ou", "spki-sha256"; "" for nothing and for a number out of range. Static storage. */
const char *named_by_text(unsigned named_by);

/* The kind in front of "dns:*.example.org"; *RET_REST is what follows its colon. NAMED_BY_NOTHING when there is none. */
enum named_by named_by_prefix(const char *text, const char **ret_rest);
