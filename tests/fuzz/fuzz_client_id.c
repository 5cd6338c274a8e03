/* What a ticket says of a client: sealed by us, but read like any outsider's bytes. */
#include <stdlib.h>
#include <string.h>

#include "tls/client_id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct client_id id;
    uint8_t packed[CLIENT_ID_PACKED];
    if (client_id_unpack(span_of(data, size), &id) < 0)
        return 0;
    size_t len = client_id_pack(&id, packed);
    if (len != size || memcmp(packed, data, len) != 0) /* one form only */
        abort();
    return 0;
}
