/* The client's Certificate and CertificateVerify (RFC 8446 4.4.2, 4.4.3). */
#pragma once

#include "tls/hs13_state.h"

/* The body of Certificate: the chain is judged by the service's rules. One of the ERR_CLIENT_ reasons, ERR_RECORD_DECODE. */
MUST_CHECK int hs13_take_certificate(struct hs13 *h, struct span body);

/* The body of CertificateVerify. ERR_RECORD_DECODE, ERR_RECORD_ILLEGAL (scheme), ERR_CLIENT_CERT_PROOF. */
MUST_CHECK int hs13_take_certificate_verify(struct hs13 *h, struct span body);

/* Before the session: rules that changed meanwhile. One of the ERR_CLIENT_ reasons. */
MUST_CHECK int hs13_settle_client(struct hs13 *h);

/* Keeps the DER of the client's certificate where backends get it. ERR_NOMEM. */
MUST_CHECK int hs13_keep_certificate(struct hs13 *h, struct span der);

/* What CertificateVerify signs, of the server or the client; bytes written. */
size_t hs13_signed_content(bool server, struct span digest, uint8_t to[static HANDSHAKE_TBS_MAX]);
