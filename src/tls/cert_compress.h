/*
 * Compression of our Certificate message (RFC 8879) by the libraries that are there: brotli, zstd, zlib. Ours only: nothing of
 * a client's is ever decompressed. Inside of tls/ only.
 */
#pragma once

#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"

#define CERT_COMPRESS_WAYS 3

/* Opens the libraries; before the process closes itself in. Those that are not there are not used. */
void cert_compress_load(void);

/* The best way among those OFFERED (raw u16 list of the IANA registry "TLS Certificate Compression Algorithm IDs"); -1 = none.
 */
int cert_compress_choose(struct span offered);

/* The number of a way in that registry. */
uint16_t cert_compress_id(int way);

/* Compresses IN into TO, which has room for CAP bytes. The length; 0 when it would be longer, or fails. */
size_t cert_compress(int way, struct span in, uint8_t *to, size_t cap);
