/* Bytes as a credential store: it is refused, or all that it says can be read without leaving it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/creds_samples.h"
#include "base/defs.h"
#include "creds/creds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct creds c;
    /* its own allocation to the byte, so that the sanitizer sees the first one beyond it */
    uint8_t *copy = NULL;
    if (size == 0 || posix_memalign((void **)&copy, 8, size) != 0)
        return 0;
    memcpy(copy, data, size);
    if (creds_of(span_of(copy, size), &c) == 0 && sample_read(&c) == SIZE_MAX)
        abort();
    free(copy);
    return 0;
}
