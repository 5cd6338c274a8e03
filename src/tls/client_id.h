/*
 * What is known of a client whose certificate was verified; and the same as bytes, which travel in its session ticket and come
 * back when it resumes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "creds/identity_source.h"

#define CLIENT_NAME_MAX   512
#define CLIENT_CN_MAX     255
#define CLIENT_SERIAL_MAX 32
#define CLIENT_CERT_MAX   8192 /* DER, of the certificate sent to backends */
#define CLIENT_ID_PACKED  (CLIENT_NAME_MAX + CLIENT_CN_MAX + CLIENT_SERIAL_MAX + 32 + 32)

struct client_id {
    bool verified;           /* false: no certificate was requested, or none was sent */
    int64_t verified_s;      /* when, seconds since 1970; a resumed session keeps it */
    int64_t expires_s;       /* the end of the first certificate of its chain to end */
    uint8_t identity_source; /* enum identity_source */
    uint8_t fingerprint[32];
    uint16_t name_len;
    uint8_t cn_len, serial_len;
    uint8_t name[CLIENT_NAME_MAX];
    uint8_t cn[CLIENT_CN_MAX];
    uint8_t serial[CLIENT_SERIAL_MAX];
};

/* Bytes written to TO. */
size_t client_id_pack(const struct client_id *id, uint8_t to[static CLIENT_ID_PACKED]);

/* ERR_FORMAT. */
MUST_CHECK int client_id_unpack(struct span packed, struct client_id *ret);
