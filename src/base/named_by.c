#include "base/named_by.h"

#include <string.h>

static const char *const names[NAMED_BY_COUNT] = {"", "dns", "uri", "cn", "ou", "spki-sha256"};

const char *named_by_text(unsigned named_by) {
    return named_by < NAMED_BY_COUNT ? names[named_by] : "";
}

enum named_by named_by_prefix(const char *text, const char **ret_rest) {
    for (unsigned i = NAMED_BY_DNS; i < NAMED_BY_COUNT; i++) {
        size_t n = strlen(names[i]);
        if (strncmp(text, names[i], n) == 0 && text[n] == ':') {
            *ret_rest = text + n + 1;
            return (enum named_by)i;
        }
    }
    return NAMED_BY_NOTHING;
}
