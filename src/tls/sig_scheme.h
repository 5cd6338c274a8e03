/* Signature schemes: IANA registry "TLS SignatureScheme". */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* "rsa_pss_rsae_sha256", as libssl's lists take it, too; NULL when it is none of ours. Static storage. */
const char *sig_scheme_name(uint16_t id);

/* All of ours in our order of preference, for our signatures and for clients'; 0 past the end. */
uint16_t sig_scheme_at(size_t i);
