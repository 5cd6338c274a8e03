/*
 * Record protection for one direction: framing, nonces, inner content type, padding, sequence numbers and key limits.
 * No I/O, no messages, no policy about what a record may contain: that is record_layer.h.
 *
 * Everything happens in place. To seal, the caller leaves record_prefix() bytes before and RECORD_SUFFIX_MAX bytes behind the
 * plain bytes; to open, plain bytes come back inside the record's own memory.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "tls/engine.h"
#include "tls/suite.h"

#define RECORD_HEADER_LEN   5
#define RECORD_PLAIN_MAX    16384
#define RECORD_PREFIX_MAX   13 /* header, TLS 1.2 explicit nonce */
#define RECORD_SUFFIX_MAX   17 /* inner content type, tag */
#define RECORD_OVERHEAD_MAX (RECORD_PREFIX_MAX + RECORD_SUFFIX_MAX)
#define RECORD_WIRE_MAX     (RECORD_HEADER_LEN + RECORD_PLAIN_MAX + 256) /* RFC 8446 5.2 */

enum content_type {
    CONTENT_CHANGE_CIPHER_SPEC = 20,
    CONTENT_ALERT = 21,
    CONTENT_HANDSHAKE = 22,
    CONTENT_APPLICATION_DATA = 23,
};

/* The state of one direction: plain data. Raw keys only. */
struct traffic_keys {
    uint64_t seq;                 /* of the next record; under the present key in 1.3, of the connection in 1.2 */
    uint64_t explicit_nonce;      /* TLS 1.2 AES-GCM, sealing: explicit nonce of the next record; only ever counts up */
    uint8_t secret[HASH_LEN_MAX]; /* TLS 1.3 traffic secret; zero in 1.2 */
    uint8_t key[AEAD_KEY_MAX];
    uint8_t iv[AEAD_NONCE_LEN];
};

/* A batch of records of one direction under one key: the key is loaded once. Borrows all it points at. */
struct record_run {
    struct traffic_keys *keys;
    const struct suite *suite;
    const struct engine *engine;
    void *ctx;
};

/* Loads the direction's present key into a working context. To be begun again after every change of key. ERR_CRYPTO. */
MUST_CHECK int record_run_begin(struct record_run *run, struct engine_contexts *contexts, const struct suite *suite,
                                struct traffic_keys *keys, bool seal);

/* Bytes before the plain bytes of a sealed record: 5, or 13 with an explicit nonce. */
size_t record_prefix(const struct suite *suite);

/*
 * Seals PLAIN_LEN bytes (0 to RECORD_PLAIN_MAX, MUST) at REC + record_prefix(); *ret_len is the whole record's
 * length. ERR_KEY_LIMIT when this key has sealed all it may, ERR_CRYPTO. Nothing is consumed on failure.
 */
MUST_CHECK int record_seal(struct record_run *run, enum content_type type, uint8_t *rec, size_t plain_len, size_t *ret_len);

/* Records this direction may still seal under its present key. */
uint64_t record_seals_left(const struct suite *suite, const struct traffic_keys *keys);

/*
 * Whether a record with this header may be part of a handshake: LEN is the header's, of which protection takes
 * EXPANSION bytes (0 = none). ERR_RECORD_OVERFLOW: more than 2^14 bytes of content (RFC 8446 5.1, 5.2, 5.4; RFC 5246 6.2).
 * ERR_RECORD_TYPE: an empty alert, or nothing of a handshake message. In 1.3 the inside has yet to be looked at.
 */
MUST_CHECK int record_judge(uint8_t type, size_t len, size_t expansion);

/* RFC 8446 5: the content of the only ChangeCipherSpec that a handshake of 1.3 passes over. */
static inline bool record_is_dummy_ccs(struct span content) {
    return content.len == 1 && content.p[0] == 1;
}

/*
 * The length of the whole record at the front of IN, from its header alone: 0 when fewer than 5 bytes are there,
 * ERR_RECORD_OVERFLOW, ERR_RECORD_VERSION (not 0x03xx), ERR_RECORD_TYPE (no content type of TLS).
 */
MUST_CHECK int record_frame(const struct suite *suite, const uint8_t *in, size_t in_len);

/*
 * Opens the whole record REC of REC_LEN bytes (its header checked by record_frame()). The plain bytes come back as *ret_plain,
 * inside REC. A TLS 1.3 outer type other than application_data is ERR_RECORD_TYPE; an inner plaintext over 2^14 + 1 bytes
 * ERR_RECORD_OVERFLOW; no inner type ERR_RECORD_TYPE; ERR_BAD_MAC.
 */
MUST_CHECK int record_open(struct record_run *run, uint8_t *rec, size_t rec_len, enum content_type *ret_type,
                           struct span *ret_plain);
