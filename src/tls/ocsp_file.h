/*
 * An OCSP response (RFC 6960) from a file beside a certificate, checked before any client sees it: it must parse, be about this
 * certificate, be signed by its issuer (or whom the issuer named for it), say "good", and not be over.
 *
 * For a certificate in x.pem or x.crt the response is x.ocsp; for any name, NAME.ocsp is looked for too.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"
#include "tls/cert_chain.h"

struct ocsp_file {
    struct pem_file bytes; /* DER; none = there is no such file */
    int64_t from, until;   /* seconds since 1970; UNTIL may be CREDS_NEVER */
};

/*
 * Looks for the response of chain C. 0 also when there is no file. Otherwise refused with a message in WHY that names the file,
 * what was found and what was expected. NOW: seconds since 1970. ERR_FORMAT, ERR_SYSTEM, ERR_NOMEM.
 */
MUST_CHECK int ocsp_file_load(const struct cert_chain *c, int64_t now, struct ocsp_file *ret, struct text *why);

/*
 * The same for the response that the acme role has fetched for the chain whose leaf is LEAF (DER), in DIR; there it is known by
 * what the leaf is, not by a name.
 */
MUST_CHECK int ocsp_file_load_fetched(const struct cert_chain *c, struct span leaf, const char *dir, int64_t now,
                                      struct ocsp_file *ret, struct text *why);
void ocsp_file_fini(struct ocsp_file *o);
