#include "creds/identity_source.h"

#include <string.h>

static const char *const names[IDENTITY_COUNT] = {"", "dns", "uri", "cn", "ou", "spki-sha256"};

const char *identity_source_text(unsigned identity_source) {
    return identity_source < IDENTITY_COUNT ? names[identity_source] : "";
}

enum identity_source identity_source_prefix(const char *text, const char **ret_rest) {
    for (unsigned i = IDENTITY_DNS; i < IDENTITY_COUNT; i++) {
        size_t n = strlen(names[i]);
        if (strncmp(text, names[i], n) == 0 && text[n] == ':') {
            *ret_rest = text + n + 1;
            return (enum identity_source)i;
        }
    }
    return IDENTITY_NOTHING;
}
