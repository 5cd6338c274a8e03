/*
 * What is odd about a chain that is good enough to be served, since only some clients stumble over it: certificates that are
 * missing, in the wrong order or not part of it, and a leaf that is not made for this use. No reason to refuse: clients may
 * have what is missing.
 */
#pragma once

#include "tls/cert_chain.h"

/* Begins zeroed. */
struct cert_roots {
    X509_STORE *store; /* the system's CAs, looked up when a chain first asks */
};
void cert_roots_fini(struct cert_roots *r);

/* STAPLED: there is an OCSP response for the leaf. */
void cert_warn(const struct cert_chain *c, bool stapled, struct cert_roots *roots, const struct cert_warning *w);
