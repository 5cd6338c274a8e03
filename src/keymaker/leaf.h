/* What a certificate says, against what was asked for. */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>

#include "base/defs.h"
#include "base/text.h"
#include "conf/conf_acme.h"
#include "tls/cert_chain.h"
#include "wire/keymaking.h"

/* Has all names of CERT and no other? */
bool leaf_names_are(X509 *leaf, const struct conf_managed *cert);

/* Every certificate is the issuer of the one before, and none is missing in between. */
bool leaf_chain_holds(const struct cert_chain *chain);

/* RFC 9773 4.1: base64url of the authority's key identifier, ".", that of the serial number. False: it has none. */
bool leaf_ari(X509 *leaf, struct text *to);
