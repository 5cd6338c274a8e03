/*
 * The files behind client authentication: CA certificates (PEM, or one in DER) and CRLs (PEM, or one in DER). Outside bytes:
 * bounded, and every way in which they can be wrong is reported in a sentence that names the file, what was found and what was
 * expected.
 */
#pragma once

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"

#define CLIENT_CA_FILE_MAX  (4 * 1024 * 1024)
#define CLIENT_CRL_FILE_MAX (16 * 1024 * 1024)
#define CLIENT_CA_MAX       1024 /* certificates, and CRLs, of a file */

/* Who takes what was read, one after the other: 0, or an error that ends the reading. DER is lent. WARN takes a line. */
struct client_sink {
    int (*put)(void *ctx, struct span der);
    void *ctx;
    void (*warn)(void *ctx, const char *line);
    void *warn_ctx;
};

/*
 * Reads a file of CA certificates, or of CRLs. Refused: a file without any, what looks like a PEM block and is none, a
 * certificate that is of no CA or has OpenSSL's settings of trust, a delta CRL. Warned of: what has expired or is out of date,
 * blocks and CRLs that are not used. ERR_FORMAT, ERR_SYSTEM, ERR_NOMEM, or the sink's error.
 */
MUST_CHECK int client_files_ca(const char *file, const struct client_sink *sink, struct text *why);
MUST_CHECK int client_files_crl(const char *file, const struct client_sink *sink, struct text *why);
