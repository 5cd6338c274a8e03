/*
 * What a ticket is good for. It is resumed by the service it came from alone, for the server name it came from alone, and only
 * under the rules it was issued under: a client that a full handshake refuses cannot resume by a ticket.
 *
 * The binding is libssl's session id context, set for each connection before libssl sees a byte of it. libssl keeps it in
 * the sealed ticket and compares it in 1.2 and in 1.3; what differs means a full handshake. Its own checks do not do: its
 * session id context is that of a whole SSL_CTX, and it resumes under another server name than the session's (1.2 merely does
 * not acknowledge the name, 1.3 does not look).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

#define TICKET_BIND_LEN 32

struct tls_policy;

/* Of a service: its name, versions and suites. */
void ticket_bind_service(const struct tls_policy *p, uint8_t ret[static TICKET_BIND_LEN]);

/* The same under RULES, a digest of those for clients' certificates (empty: none are requested). */
void ticket_bind_rules(const uint8_t service[static TICKET_BIND_LEN], struct span rules, uint8_t ret[static TICKET_BIND_LEN]);

/* Of a connection: what its service is bound to, and the requested server name ("" = none). */
void ticket_bind_name(const uint8_t service[static TICKET_BIND_LEN], const char *sni, uint8_t ret[static TICKET_BIND_LEN]);
