/* The names of CAs that clients are sent, so that they can choose among their certificates (RFC 8446 4.2.4, RFC 5246 7.4.4). */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/span.h"

#define CA_NAMES_MAX       64
#define CA_NAMES_BYTES_MAX (16 * 1024)

struct ca_names {
    struct buf vector; /* of names in DER, each behind its length; without an outer length */
    unsigned n;
    bool left_out; /* they are too many or too long: none is sent, since a client without its CA's among them sends no
                      certificate */
};

void ca_names_init(struct ca_names *c);
void ca_names_fini(struct ca_names *c);

/* The subject of CA, unless it is there already. ERR_FORMAT, ERR_NOMEM. */
MUST_CHECK int ca_names_add(struct ca_names *c, const X509 *ca);

/* Empty = none is sent. Borrows C. */
struct span ca_names_sent(const struct ca_names *c);
