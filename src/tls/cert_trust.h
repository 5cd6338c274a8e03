/* Whether clients with the system's CA certificates would accept a chain, as its server shows it. */
#pragma once

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"

/*
 * DERS: N certificates, the leaf first. 0, or ERR_FORMAT with one line in WHY: what is wrong, as X509_verify_cert() says it,
 * and of which certificate. Time and purpose (TLS server) count; names do not.
 */
MUST_CHECK int cert_trust(const struct span *ders, size_t n, struct text *why);
