/* JA4, the TLS client fingerprint published by FoxIO (github.com/FoxIO-LLC/ja4, technical_details/JA4.md). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"

#define JA4_LEN 36 /* "t13d1516h2_8daaf6152771_e5627efa2ab1" */

/* What a fingerprint is made of, GREASE included. Borrows all it points at. */
struct ja4_conn_info {
    uint16_t legacy_version;
    struct span versions; /* supported_versions, u16 each; empty = none sent */
    struct span suites;   /* u16 each; at most JA4_LIST_MAX */
    struct span sigalgs;  /* u16 each */
    struct span alpn;     /* ProtocolName vectors; empty = none sent */
    const uint16_t *extensions;
    size_t nextensions; /* at most JA4_LIST_MAX */
};

#define JA4_LIST_MAX 32768

/* Writes the fingerprint with its zero. */
void ja4_write(const struct ja4_conn_info *f, char ret[static JA4_LEN + 1]);
