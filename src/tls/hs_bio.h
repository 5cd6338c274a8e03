/*
 * The BIO through which libssl sees a connection during the handshake: it is fed one whole record at a time, and what it
 * writes is parsed far enough to count its records, because their number is where our record layer continues.
 */
#pragma once

#include <openssl/bio.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/span.h"

struct hs_bio {
    struct span in;  /* what is left of the record being fed; borrowed */
    struct buf *out; /* where written bytes go; borrowed */
    bool overflow;   /* OUT was full */

    uint32_t out_since_feed; /* records written since the last record was fed */
    uint32_t out_protected;  /* records written after a ChangeCipherSpec */
    uint32_t in_protected;   /* records fed after a ChangeCipherSpec */
    bool out_ccs, in_ccs;
    uint64_t out_first8; /* first 8 bytes of the last record written: the explicit nonce of TLS 1.2 AES-GCM */

    uint8_t header[5]; /* of the record now being written */
    uint8_t header_len;
    uint32_t body_left;
    uint8_t body_seen; /* bytes of it seen, up to 8 */
};

/* A BIO that works on H, which is kept and must outlive it. NULL when out of memory. */
BIO *hs_bio_new(struct hs_bio *h);

/* Gives libssl whole records, headers included: one, or all of a hello. What was given before MUST have been taken. */
void hs_bio_feed(struct hs_bio *h, struct span record);
