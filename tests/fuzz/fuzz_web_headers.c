/* Headers of browsers: what they take (the first line, Accept-Encoding), and what they have (the rest, If-None-Match). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "observer/dashboard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* of its own size, so that one byte too many is seen */
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    char *second = strchr(text, '\n');
    if (second)
        *second++ = 0;
    bool takes = dashboard_takes_gzip(text);
    MUST(!takes || strpbrk(text, "*gG")); /* nothing else can mean gzip */
    bool has = dashboard_tag_matches(second, "\"0123456789abcdef01234567\"");
    MUST(!has || strchr(second, '*') || strstr(second, "\"0123456789abcdef01234567\""));
    free(text);
    return 0;
}
