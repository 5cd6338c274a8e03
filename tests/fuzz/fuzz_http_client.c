/* Heads of HTTP answers, as the command line reads them from the process that listens at the admin socket's path. */
#include "cli/http_client.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct http_head h, again;
    int whole = http_head_parse(span_of(data, size), &h);
    if (whole != 1)
        return 0;
    if (h.len > size || h.status < 200 || h.status > 999 || (h.body_len != SIZE_MAX && h.body_len > HTTP_CLIENT_BODY_MAX))
        abort();
    /* the head ends where it says: not a byte earlier, and what follows does not matter */
    if (http_head_parse(span_of(data, h.len - 1), &again) != 0 || http_head_parse(span_of(data, h.len), &again) != 1)
        abort();
    return 0;
}
