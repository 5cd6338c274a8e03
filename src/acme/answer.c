#include "acme/answer.h"

#include <string.h>

#include "base/defs.h"

#define PREFIX "urn:ietf:params:acme:error:"

const char *answer_problem(const char *type) {
    return type && strncmp(type, PREFIX, sizeof(PREFIX) - 1) == 0 ? type + sizeof(PREFIX) - 1 : "";
}

enum fault answer_fault(const char *problem, unsigned status) {
    static const char *const about_names[] = {
        "caa", "connection", "dns", "incorrectResponse", "rejectedIdentifier", "tls", "unauthorized", "unsupportedIdentifier"};
    for (size_t i = 0; i < ARRAY_LEN(about_names); i++)
        if (strcmp(problem, about_names[i]) == 0)
            return FAULT_NAMES;
    return problem[0] || status >= 400 ? FAULT_ISSUER : FAULT_NONE;
}
