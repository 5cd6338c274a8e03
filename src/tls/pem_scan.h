/*
 * The blocks of a PEM file (RFC 7468), in their order. libcrypto's reader passes over whatever it does not take for a block, so
 * that a certificate behind a lost dash is not missed; here all that looks like the begin or end of a block is one, or an error
 * with the number of the block and of its line. Other text between blocks is ignored, as are lines that begin
 * with '#'.
 *
 * Lines may end by LF, CR LF or CR; a byte order mark of UTF-8, and blanks around a line, are passed over.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/step.h"
#include "base/text.h"

struct pem_scan {
    const char *file; /* borrowed, as the text is */
    struct span left;
    unsigned line; /* of what was read last */
    unsigned n;    /* blocks so far */
};

/* By its label. */
enum pem_kind {
    PEM_CERTIFICATE,
    PEM_TRUSTED,    /* a certificate with OpenSSL's trust settings behind it */
    PEM_KEY,        /* private, of whatever form */
    PEM_PARAMETERS, /* of an EC key */
    PEM_CRL,
    PEM_OTHER,
};

struct pem_block {
    enum pem_kind kind;
    unsigned n, line; /* both from 1; the line is that of its begin */
    struct span label, body;
};

struct pem_scan pem_scan_of(struct span text, const char *file);

/* STEP_DONE: *RET, which borrows the text. STEP_EOF: there are no more. STEP_FAILED: a message in WHY. */
enum step pem_scan_next(struct pem_scan *s, struct pem_block *ret, struct text *why);

/* The bytes of a block into TO, which has room for body.len. ERR_FORMAT (no base64, or headers), with a message in WHY. */
MUST_CHECK int pem_block_decode(const struct pem_block *b, const char *file, uint8_t *to, size_t *ret_len, struct text *why);

/* The block as libcrypto's reader takes it, into TO of PEM_TEXT_CAP(b) bytes; its length. */
#define PEM_TEXT_CAP(b) ((b)->body.len + 2 * (b)->label.len + 64)
size_t pem_block_text(const struct pem_block *b, char *to);

/* "block 2 (line 31), X509 CRL, is not used": for blocks that are not used. */
void pem_block_unused(const struct pem_block *b, const char *file, struct text *to);

/* Whether BYTES hold a block of KIND; false too where they are no PEM. */
bool pem_scan_has(struct span bytes, enum pem_kind kind);
