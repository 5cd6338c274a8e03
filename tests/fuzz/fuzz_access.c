/* Bytes as an access table: it is refused, or all that it says can be read without leaving it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/access_samples.h"
#include "access/access.h"
#include "base/defs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct access a;
    /* its own allocation to the byte, so that the sanitizer sees the first one beyond it */
    uint8_t *copy = NULL;
    if (size == 0 || posix_memalign((void **)&copy, 64, size) != 0)
        return 0;
    memcpy(copy, data, size);
    if (access_of(span_of(copy, size), &a) == 0) {
        if (sample_access_read(&a) == SIZE_MAX)
            abort();
        access_unmap(&a);
    }
    free(copy);
    return 0;
}
