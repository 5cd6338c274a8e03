#include "keymaker/version_file.h"

#include <stdio.h>

#include "base/durable.h"
#include "base/file.h"
#include "base/text.h"

uint64_t version_file_read(const char *path) {
    char line[32];
    uint64_t version = 0;
    line[file_read_own(path, line, sizeof(line) - 1).len] = 0;
    return text_parse_u64(line, INT64_MAX, &version) == 0 ? version : 0;
}

int version_file_write(const char *path, uint64_t version) {
    char line[32];
    int n = snprintf(line, sizeof(line), "%llu", (unsigned long long)version); /* has room for any */
    return durable_write(path, 0600, span_of(line, (size_t)n));
}
