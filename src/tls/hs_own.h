/*
 * Our own TLS 1.3 handshake (hs13.h) behind handshake.h: which services have it, who signs, and records that were read before.
 * Inside of tls/ only. Signatures are waited for; a signer that does not answer is ERR_SIGNER_TIMEOUT, as on libssl's path.
 */
#pragma once

#include "tls/handshake.h"

struct hs_own;

/* Whether the client of HELLO gets it: by service and version alone, never by what else it offers. */
bool hs_own_takes(const struct tls_server *s, const struct hello *hello);

/* ERR_NOMEM. OUT is kept. */
MUST_CHECK int hs_own_new(const struct tls_server *s, const struct hello *hello, struct buf *out, struct hs_own **ret);
void hs_own_free(struct hs_own *o);
size_t hs_own_bytes(const struct hs_own *o);

/* As handshake.h has them. */
enum step hs_own_step(struct hs_own *o, struct span *in);
int hs_own_error(const struct hs_own *o, uint8_t *ret_alert);
const char *hs_own_detail(const struct hs_own *o);
const char *hs_own_waiting_for(const struct hs_own *o);
void hs_own_alert(struct hs_own *o, int err);
MUST_CHECK int hs_own_finish(struct hs_own *o, struct handshake_result *ret);
