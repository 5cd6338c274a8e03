/* The names of a client's certificate, and the rules that let them in. */
#pragma once

#include <openssl/x509.h>
#include <stddef.h>

#include "base/defs.h"
#include "base/text.h"
#include "creds/client_rule.h"
#include "tls/client_id.h"

/*
 * Fills in who the client is: serial, fingerprint, common name, and the name by which the first rule lets it in; without rules
 * the first of its URI, DNS, CN and OU. CERT was verified. 0, ERR_CLIENT_NOT_ALLOWED, ERR_CLIENT_CERT_LARGE (more names, or
 * longer ones, than we take), ERR_CLIENT_CERT_BAD.
 */
MUST_CHECK int client_names_judge(X509 *cert, const struct client_rule *rules, size_t nrules, struct client_id *ret);

/* Adds one line for the log: subject, issuer and serial. DEPTH counts from the client's own certificate. */
void client_names_describe(X509 *cert, int depth, struct text *to);
