/* Signature schemes by the names of the IANA registry "TLS SignatureScheme". */
#pragma once

#include <stdint.h>

/* "rsa_pss_rsae_sha256"; NULL when it is none of ours. Static storage. */
const char *sig_scheme_name(uint16_t id);
